"""How the command line shows tasks: a table for people, JSON for programs."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

import click
import msgspec

from pointsman.contracts.base import encode
from pointsman.contracts.lifecycle import Status
from pointsman.contracts.task import Task

COLUMNS = (
    ("ID", 37),
    ("STATUS", 12),
    ("TYPE", 20),
    ("TRY", 5),
    ("SERVER", 16),
    ("WAITED", 8),
    ("RAN", 8),
    ("UPDATED (UTC)", 19),
)
MARKS = {
    Status.PENDING: "·",
    Status.PROCESSING: "▶",
    Status.COMPLETED: "✓",
    Status.FAILED: "✗",
    Status.TIMEOUT: "✗",
    Status.CANCELLED: "-",
}


class Printer:
    """One list over several pages."""

    def __init__(self, form: str) -> None:
        self._form = form
        self._count = 0
        if form == "table":
            click.echo(_line(name for name, _ in COLUMNS))

    def show(self, tasks: Sequence[Task]) -> None:
        for task in tasks:
            match self._form:
                case "table":
                    click.echo(row(task))
                case "jsonl":
                    click.echo(encode(task))
                case _:
                    click.echo(("," if self._count else "[") + encode(task).decode())
            self._count += 1

    def end(self, *, more: bool) -> None:
        if self._form == "json":
            click.echo("]" if self._count else "[]")
        elif self._form == "table" and more:
            click.echo("there are more; --limit shows them", err=True)


def show_one(task: Task) -> None:
    click.echo(msgspec.json.format(encode(task), indent=2))


def row(task: Task) -> str:
    began = max(task.created_at, task.run_at or 0)
    waited = None if task.started_at is None else max(0, task.started_at - began)
    ran = None if task.started_at is None or task.finished_at is None else task.finished_at - task.started_at
    updated = datetime.fromtimestamp(task.updated_at / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")
    tries = f"{task.attempt}/{task.max_attempts}"
    status = f"{MARKS[task.status]} {task.status}"
    return _line((task.id, status, task.type, tries, task.server_id or "", _span(waited), _span(ran), updated))


def _span(ms: int | None) -> str:
    if ms is None:
        return ""
    return f"{ms} ms" if ms < 10_000 else f"{ms / 1000:.1f} s"


def _line(texts: Iterable[str]) -> str:
    cells = (f"{text[:width]:{width}}" for text, (_, width) in zip(texts, COLUMNS, strict=True))
    return "  ".join(cells).rstrip()
