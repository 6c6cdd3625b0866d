"""The line of the whole cluster, left to right like a pipe: what comes in, waits, runs and is done, over the last 10 s."""

from collections.abc import Callable

from pointsman.contracts.frames import Flow
from pointsman.tui.format import bar, duration, number, percent, rate, short, trend
from pointsman.tui.looks import Role
from pointsman.tui.widgets.lines import Span, line

WIDE, MEDIUM = 104, 76
ARROW = " ─▶ "
BAR = 10


def flow_lines(flow: Flow, width: int) -> list[list[Span]]:
    """Three lines that fit into `width` from 58 on."""
    return _wide(flow) if width >= WIDE else _narrow(flow, width)


def _wide(flow: Flow) -> list[list[Span]]:
    used = None if flow.running is None or not flow.slots else flow.running / flow.slots
    return [
        line(
            " submitted ",
            (rate(flow.submitted), Role.STRONG),
            f"{ARROW}queued ",
            (number(flow.pending), Role.STRONG),
            f" (oldest {duration(flow.oldest_ms)}, {trend(flow)}){ARROW}running ",
            (f"{number(flow.running)}/{number(flow.slots)}", Role.STRONG),
            (f" {bar(used, BAR):<{BAR}}", Role.BAR),
            f"{ARROW}done ",
            (rate(flow.completed), Role.STRONG),
        ),
        line(
            f" delayed {number(flow.delayed)}   retry ↻ {rate(flow.retried)}   ",
            *_failed(flow),
            f"   timed out {rate(flow.timed_out)}   cancelled {rate(flow.cancelled)}",
        ),
        line(
            f" wait p50 {duration(flow.wait_p50)}  p95 {duration(flow.wait_p95)}"
            f"   run p50 {duration(flow.run_p50)}  p95 {duration(flow.run_p95)}",
            ("   percentiles: last 10 s, all servers", Role.DIM),
        ),
    ]


def _narrow(flow: Flow, width: int) -> list[list[Span]]:
    arrow = ARROW if width >= MEDIUM else " ▶ "
    last = line(
        f" oldest {duration(flow.oldest_ms)}  wait p95 {duration(flow.wait_p95)}  run p95 {duration(flow.run_p95)}",
    )
    if width >= MEDIUM:
        last.append(Span(f"  queue {trend(flow)}"))
    second = line(" ", *_failed(flow), f"  retry ↻ {rate(flow.retried)}")
    if width >= MEDIUM:
        second.append(Span(f"  cancelled {rate(flow.cancelled)}  delayed {number(flow.delayed)}"))
    exact = _pipe(flow, arrow, number, rate)
    fits = sum(len(span.text) for span in exact) <= width
    return [exact if fits else _pipe(flow, arrow, short, short_rate), second, last]


def _pipe(
    flow: Flow, arrow: str, count: Callable[[float | None], str], per_s: Callable[[float | None], str]
) -> list[Span]:
    return line(
        " in ",
        (per_s(flow.submitted), Role.STRONG),
        f"{arrow}queued ",
        (count(flow.pending), Role.STRONG),
        f"{arrow}run ",
        (f"{count(flow.running)}/{count(flow.slots)}", Role.STRONG),
        f"{arrow}done ",
        (per_s(flow.completed), Role.STRONG),
    )


def short_rate(value: float | None) -> str:
    return f"{short(value)}/s"


def _failed(flow: Flow) -> list[Span]:
    role = Role.WARN if flow.fail_rate and flow.fail_rate >= 0.01 else Role.PLAIN
    return line("failed ", (f"✗ {rate(flow.failed)} ({percent(flow.fail_rate)})", role))
