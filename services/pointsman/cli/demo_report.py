"""What the demo shows at the end: a table per server, and the totals stored against the totals counted here."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from rich.table import Column, Table

from pointsman.cli.demo_client import Finished
from pointsman.cli.demo_corpus import Counts

SHOWN_MAX = 10


@dataclass(frozen=True)
class Totals:
    """`longest` is (lines, function, module); `unparsed` counts the modules that are not valid Python."""

    modules: int
    lines: int
    tokens: int
    functions: int
    longest: tuple[int, str, str]
    unparsed: int


def totals(counts: Mapping[str, Counts]) -> Totals:
    return Totals(
        modules=len(counts),
        lines=sum(count.lines for count in counts.values()),
        tokens=sum(count.tokens for count in counts.values()),
        functions=sum(count.functions for count in counts.values()),
        longest=max(((*count.longest, name) for name, count in counts.items() if count.longest), default=(0, "", "")),
        unparsed=sum(count.syntax_error for count in counts.values()),
    )


def stored_counts(finished: Mapping[str, Finished]) -> tuple[dict[str, Counts], list[str]]:
    """The counts by module from the stored results, and a sentence for each task without one."""
    counts: dict[str, Counts] = {}
    wrong: list[str] = []
    for name, task in finished.items():
        if task.status != "COMPLETED":
            wrong.append(f"{name}: {task.id} is {task.status}: {task.error}")
            continue
        try:
            counts[name] = Counts.from_result(task.result)
        except ValueError as error:
            wrong.append(f"{name}: {task.id}: {error}")
    return counts, wrong


def differences(stored: Mapping[str, Counts], local: Mapping[str, Counts]) -> list[str]:
    """A sentence for each module whose stored counts are not the local ones."""
    return [
        f"{name}: stored {stored[name]}, counted here {local.get(name)}"
        for name in stored
        if stored[name] != local.get(name)
    ]


def server_table(finished: Iterable[Finished]) -> Table:
    tasks = list(finished)
    ran = Counter(task.server_id or "none" for task in tasks if task.status == "COMPLETED")
    retried = Counter(server for task in tasks for server in _caused_retry(task))
    table = Table("server", *(_right(name) for name in ("tasks", "share", "retries", "p50 ms", "p99 ms")))
    table.title = "Who ran them"
    for server in sorted(ran.keys() | retried.keys(), key=lambda server: -ran[server]):
        runs = sorted(_run_ms(tasks, server))
        share = f"{100 * ran[server] / len(tasks):.1f} %"
        table.add_row(
            server, str(ran[server]), share, str(retried[server]), _percentile(runs, 50), _percentile(runs, 99)
        )
    return table


def totals_table(stored: Totals, local: Totals) -> Table:
    table = Table("", _right("stored by Pointsman"), _right("counted here"), "", title="What came back")
    for name, here, there in _rows(stored, local):
        table.add_row(name, here, there, "equal" if here == there else "[red]differs[/red]")
    return table


def problem_lines(problems: Sequence[str]) -> list[str]:
    """The first ten, and how many more there are."""
    more = [f"and {len(problems) - SHOWN_MAX} more"] if len(problems) > SHOWN_MAX else []
    return [*problems[:SHOWN_MAX], *more]


def _rows(stored: Totals, local: Totals) -> list[tuple[str, str, str]]:
    names = ("modules", "lines", "tokens", "functions", "unparsed")
    rows = [(name, f"{getattr(stored, name):,}", f"{getattr(local, name):,}") for name in names]
    rows.insert(4, ("longest function", _longest(stored), _longest(local)))
    return rows


def _longest(side: Totals) -> str:
    lines, function, module = side.longest
    return f"{module}.{function}: {lines:,} lines"


def _caused_retry(task: Finished) -> list[str]:
    spent = task.attempts[:-1] if task.status == "COMPLETED" else task.attempts
    return [attempt.server_id for attempt in spent]


def _run_ms(tasks: Iterable[Finished], server: str) -> list[int]:
    last = (task.attempts[-1] for task in tasks if task.status == "COMPLETED" and task.attempts)
    return [attempt.run_ms for attempt in last if attempt.server_id == server and attempt.run_ms is not None]


def _percentile(ordered: Sequence[int], percent: int) -> str:
    """Nearest rank."""
    return f"{ordered[math.ceil(len(ordered) * percent / 100) - 1]:,}" if ordered else "-"


def _right(name: str) -> Column:
    return Column(name, justify="right", overflow="fold")
