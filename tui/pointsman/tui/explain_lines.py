"""Why a task is where it is, as lines: the first gate that holds it, its place, and each server's reason. Pure."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime, tzinfo

from pointsman.contracts.explain import Explanation, Gate, ServerRefusal
from pointsman.contracts.lifecycle import is_terminal
from pointsman.tui.format import clock, duration, number
from pointsman.tui.looks import STATUS_LOOKS, Role
from pointsman.tui.trace import one_line
from pointsman.tui.trace_lines import Line, cut, wrapped

_MOMENT = re.compile(r"\b\d{4}-\d\d-\d\dT[\d:.]+Z")
"""A time in UTC within a text."""
GATES = {
    Gate.RUN_AT: "its time has not come",
    Gate.BACKOFF: "it waits after a failed try",
    Gate.LEADER: "no balancer leads",
    Gate.EXECUTOR: "no executor can take it",
    Gate.TYPE_LIMIT: "its type is at its limit",
    Gate.KEY_LIMIT: "its concurrency key is at its limit",
    Gate.POOL_LIMIT: "its pool is at its limit",
    Gate.BLOCKED: "a server sent its key away for a while",
    Gate.RETRY_BUDGET: "its pool has spent its retries",
    Gate.NO_SERVER: "no server can ever take it",
    Gate.AFFINITY: "the server of its affinity key is full",
    Gate.PROBATION: "its type is on probation where there is room",
    Gate.SERVER: "no matching server has a free slot",
    Gate.TURN: "others are before it",
}


def lines_of(
    shown: Explanation, *, now_ms: int, width: int, ascii_only: bool = False, zone: tzinfo | None = UTC
) -> list[Line]:
    """No line is wider than `width`."""
    lines = [*_head(shown, now_ms, width, zone), *_servers(shown, width, zone)]
    return [cut(line, width, ascii_only=ascii_only) for line in lines]


def _head(shown: Explanation, now_ms: int, width: int, zone: tzinfo | None) -> Iterator[Line]:
    look = STATUS_LOOKS[shown.status]
    yield ((f" task {shown.id}   ", Role.STRONG), (str(look), look.role))
    yield ()
    if shown.gate is not None:
        yield ((f" {GATES[shown.gate]}", Role.STRONG), (f"   gate {shown.gate}", Role.DIM))
    for part in wrapped(one_line(shown.detail), max(20, width - 2), 6):
        yield ((f" {part}", Role.PLAIN),)
    yield ()
    for name, text in _facts(shown, now_ms, zone):
        yield ((f" {name:<12}", Role.DIM), (text, Role.PLAIN))


def _facts(shown: Explanation, now_ms: int, zone: tzinfo | None) -> Iterator[tuple[str, str]]:
    if shown.pool:
        yield "pool", shown.pool
    if shown.position is not None:
        yield "position", f"{number(shown.position)} in its line"
    if is_terminal(shown.status):
        return
    for name, at in (("may start", shown.eta), ("due", shown.run_at), ("deadline", shown.deadline)):
        if at is not None:
            yield name, f"{_when(at, now_ms)}, at {clock(at, zone)}"
    if shown.gate is not None and shown.eta is None:
        yield "may start", "--   cannot be told"


def _when(at: int, now_ms: int) -> str:
    return f"in {duration(at - now_ms)}" if at >= now_ms else f"{duration(now_ms - at)} ago"


def _servers(shown: Explanation, width: int, zone: tzinfo | None) -> Iterator[Line]:
    if not shown.servers:
        return
    yield ()
    names = min(24, max(len(one.server_id) for one in shown.servers), max(8, width // 4))
    yield ((f" {'SERVER':<{names}}  {'RUN/LIMIT':>9}  {'ESTIMATE':>9}  WHY NOT", Role.STRONG),)
    for one in sorted(shown.servers, key=lambda one: (bool(one.reasons), one.server_id)):
        why, role = _why(one, zone)
        load = f"{one.active_tasks}/{one.effective_limit}"
        yield (
            (f" {one.server_id[:names]:<{names}}  {load:>9}  {duration(one.estimate_ms):>9}  ", Role.PLAIN),
            (why, role),
        )


def _why(one: ServerRefusal, zone: tzinfo | None) -> tuple[str, Role]:
    if one.reasons:
        told = one_line("; ".join(one.reasons))
        return _MOMENT.sub(lambda found: clock(_ms(found[0]), zone), told), Role.DIM
    return "could take it", Role.UP


def _ms(moment: str) -> int:
    return int(datetime.fromisoformat(moment).timestamp() * 1000)
