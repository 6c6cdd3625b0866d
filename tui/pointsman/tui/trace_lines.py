"""A trace as lines of any width, for the cockpit and for the command line: pieces of text, each with its role."""

import textwrap
from collections.abc import Iterator
from datetime import UTC, datetime, tzinfo

from pointsman.contracts.lifecycle import Status
from pointsman.contracts.task import Task
from pointsman.tui.format import clip, clock, duration, size
from pointsman.tui.looks import STATUS_LOOKS, Look, Role, plain
from pointsman.tui.trace import Bar, Phase, Span, Told, Trace, one_line, trace_of

Piece = tuple[str, Role]
Line = tuple[Piece, ...]

CELLS = {Phase.QUEUED: ("░", Role.DIM), Phase.BACKOFF: ("┄", Role.DIM), Phase.RUNNING: ("█", Role.BAR)}
LOOKS = {
    None: Look("▶", "RUNNING", Role.BUSY),
    "succeeded": Look("✓", "DONE", Role.UP),
    "failed": Look("✗", "FAILED", Role.DOWN),
    "timed-out": Look("✗", "TIMEOUT", Role.DOWN),
    "lost": Look("✗", "LOST", Role.WARN),
    "cancelled": Look("◌", "CANCELLED", Role.MAINT),
}
WIDTH_MIN, BAR_MIN = 20, 6
SERVER_MAX, SERVER_WIDE_MAX = 12, 20
LOOK_WIDTH = 11
REASON_LINES_MAX = 3
WHAT_WIDTH = 18
WIDE = 100


def lines_of(
    task: Task,
    *,
    now_ms: int,
    width: int,
    ascii_only: bool = False,
    zone: tzinfo | None = UTC,
    late: tuple[Told, ...] = (),
    has_keys: bool = False,
    marked: int | None = None,
) -> list[Line]:
    """Everything on one task; `late` is what came after its end, `has_keys` where keys open more, `marked` the number
    of an attempt that is pointed at.

    No line is wider than `width` (at least 20).
    """
    width = max(WIDTH_MIN, width)
    trace = trace_of(task, now_ms)
    lines = [
        *_head(task, trace, now_ms, width, zone, has_keys=has_keys),
        (),
        *_attempts(task, trace, now_ms, width, marked),
        (),
        *_events(trace, late, width, zone),
        (),
        *_input(task, width, has_keys=has_keys),
    ]
    return [cut(line, width, ascii_only=ascii_only) for line in lines]


def cut(line: Line, width: int, *, ascii_only: bool) -> Line:
    """At most so many columns."""
    pieces: list[Piece] = []
    for text, role in line:
        shown = plain(text) if ascii_only else text
        left = width - sum(len(done) for done, _ in pieces)
        if len(shown) > left:
            return (*pieces, (clip(shown, left, ascii_only=ascii_only), role))
        pieces.append((shown, role))
    return tuple(pieces)


def text_of(line: Line) -> str:
    return "".join(text for text, _ in line).rstrip()


def _head(task: Task, trace: Trace, now_ms: int, width: int, zone: tzinfo | None, *, has_keys: bool) -> Iterator[Line]:
    look = STATUS_LOOKS[task.status]
    tries = f"try {task.attempt} of {task.max_attempts}"
    if task.attempt > task.max_attempts:
        tries = f"try {task.attempt}, of which {task.max_attempts} may fail"
    again = f"   generation {task.generation}" if task.generation > 1 else ""
    name = ((f" task {task.id}   ", Role.STRONG), (f"{task.type}   ", Role.PLAIN))
    state = ((str(look), look.role), (f"   {tries}{again}", Role.PLAIN))
    if width >= WIDE:
        yield (*name, *state)
    else:
        yield name
        yield ((" ", Role.PLAIN), *state)
    if trace.next_at is not None and trace.next_at > now_ms:
        told = f" try {task.attempt + 1} in {duration(trace.next_at - now_ms)}, at {clock(trace.next_at, zone)}"
        yield ((told, Role.STRONG), (f"   {_waits(task)}", Role.DIM))
    elif task.status is Status.PENDING:
        yield ((f" {_waits(task)}", Role.STRONG), ("   e explains why" if has_keys else "", Role.DIM))
    pieces: list[Piece] = [(" timeline   ", Role.DIM)]
    for phase, (cell, role) in CELLS.items():
        pieces += [(cell, role), (f" {phase}   ", Role.DIM)]
    yield (*pieces, (f"   total {duration(trace.until - trace.start)}", Role.PLAIN))


def _waits(task: Task) -> str:
    """For what, or since what happened."""
    why = one_line(task.waiting_for or "its turn")
    return f"waits for {why}" if " " not in why or why == "its turn" else f"waits again: {why}"


def _attempts(task: Task, trace: Trace, now_ms: int, width: int, marked: int | None) -> Iterator[Line]:
    wide = SERVER_WIDE_MAX if width >= 100 else SERVER_MAX
    server_width = min(wide, max((len(bar.server_id) for bar in trace.bars), default=2))
    for bar in trace.bars:
        if trace.unkept and bar.number == trace.unkept[1] + 1:
            yield ((f"   attempts {trace.unkept[0]} to {trace.unkept[1]} are not kept", Role.DIM),)
        yield _attempt(bar, trace, server_width, width, "▸" if bar.number == marked else " ")
        for part in wrapped(bar.reason, max(WIDTH_MIN // 2, width - 8), REASON_LINES_MAX):
            yield ((f"       {part}", Role.DIM),)
    if trace.waiting:
        yield _wait(task.attempt + 1, trace, now_ms, server_width, width)


def wrapped(text: str, width: int, lines_max: int) -> list[str]:
    return textwrap.wrap(text, width, max_lines=lines_max, placeholder=" …", break_on_hyphens=False)


def _wait(number: int, trace: Trace, now_ms: int, server_width: int, width: int) -> Line:
    """The attempt to come."""
    start, look = f"{number:>4}  {'--':<{server_width}}  ", STATUS_LOOKS[Status.PENDING]
    since = f"  wait {duration(now_ms - trace.waiting[0].start):>7}"
    cells = _cells(trace.waiting, trace, max(BAR_MIN, width - len(start) - LOOK_WIDTH - 2 - len(since)))
    return ((start, Role.DIM), *cells, (f"  {look!s:<{LOOK_WIDTH}}", look.role), (since, Role.DIM))


def _attempt(bar: Bar, trace: Trace, server_width: int, width: int, mark: str) -> Line:
    look = LOOKS.get(bar.outcome) or Look("?", (bar.outcome or "").upper(), Role.PLAIN)
    start = f"{mark}{bar.number:>3}  {clip(bar.server_id, server_width):<{server_width}}  "
    times = [f"  wait {duration(bar.waited_ms):>7}", f"  ran {duration(bar.ran_ms):>7}"]
    left = width - len(start) - LOOK_WIDTH - 2
    while times and left - sum(map(len, times)) < 2 * BAR_MIN:
        times.pop(0)
    cells = _cells(bar.spans, trace, max(BAR_MIN, left - sum(map(len, times))))
    return ((start, Role.PLAIN), *cells, (f"  {look!s:<{LOOK_WIDTH}}", look.role), ("".join(times), Role.PLAIN))


def _cells(spans: tuple[Span, ...], trace: Trace, width: int) -> list[Piece]:
    """The spans on the axis of the trace, each at least one cell wide, in `width` columns."""
    pieces: list[Piece] = []
    at, scale = 0, width / max(1, trace.until - trace.start)
    for place, span in enumerate(spans):
        after = len(spans) - place - 1
        begin = min(max(at, int((span.start - trace.start) * scale)), width - after - 1)
        end = min(max(begin + 1, round((span.end - trace.start) * scale)), width - after)
        cell, role = CELLS[span.phase]
        pieces += [(" " * (begin - at), Role.PLAIN), (cell * (end - begin), role)]
        at = end
    return [*pieces, (" " * (width - at), Role.PLAIN)]


def _events(trace: Trace, late: tuple[Told, ...], width: int, zone: tzinfo | None) -> Iterator[Line]:
    yield ((f" events  {'UTC' if zone is UTC else 'local time'}, since start", Role.DIM),)
    yield ()
    for told in (*trace.events, *late):
        start = _start(told.at, trace, width, zone)
        left = max(WIDTH_MIN // 2, width - len(start) - WHAT_WIDTH)
        first, *others = wrapped(told.detail, left, 2) or [""]
        yield ((start, Role.DIM), (f"{told.what:<{WHAT_WIDTH}}", told.role), (first, Role.PLAIN))
        for part in others:
            yield ((" " * (len(start) + WHAT_WIDTH) + part, Role.PLAIN),)


def _start(at: int, trace: Trace, width: int, zone: tzinfo | None) -> str:
    since = f"{(at - trace.start) / 1000:,.3f} s"
    if width >= WIDE:
        return f"   {_moment(at, zone)}  {since:>11}  "
    return f" {_moment(at, zone)} {since:>10}  " if width >= 60 else f" {clock(at, zone)} "


def _moment(at: int, zone: tzinfo | None) -> str:
    return datetime.fromtimestamp(at / 1000, zone).strftime("%H:%M:%S.%f")[:-3]


def _input(task: Task, width: int, *, has_keys: bool) -> Iterator[Line]:
    payload = bytes(task.payload)
    told = f"   {size(len(payload))}{', i opens' if has_keys else ''}"
    shown = clip(one_line(payload[:1_000].decode(errors="replace")), max(10, width - 9 - len(told)))
    yield ((" input   ", Role.DIM), (shown, Role.PLAIN), (told, Role.DIM))
    yield ((f" same from the shell   pointsman task trace {task.id} --watch", Role.DIM),)
