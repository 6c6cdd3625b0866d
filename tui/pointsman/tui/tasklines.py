"""The screen Tasks as text: cells of a row, tabs, what is held and what is filtered. Pure."""

from collections.abc import Sequence
from datetime import tzinfo

from pointsman.contracts.frames import Flow
from pointsman.contracts.lifecycle import Status
from pointsman.tui.format import UNKNOWN, clock, duration, number
from pointsman.tui.looks import STATUS_LOOKS, Look, Role
from pointsman.tui.ring import Tab, count_of
from pointsman.tui.sighting import Sighting

Piece = tuple[str, Role]
Cell = str | Piece
SHORT_ID = 8
RETRYING = Look("↻", "RETRY", Role.WARN)
DELAYED = Look("◔", "DELAYED", Role.DIM)
STATUSES = {
    Tab.QUEUED: "status:PENDING",
    Tab.DELAYED: "status:PENDING",
    Tab.RUNNING: "status:PROCESSING",
    Tab.DONE: "status:COMPLETED",
    Tab.FAILED: "status:FAILED,TIMEOUT",
    Tab.CANCELLED: "status:CANCELLED",
}


def short(task_id: str) -> str:
    """The end of an id, which differs; its beginning is the time."""
    return task_id[-SHORT_ID:]


def look_of(seen: Sighting) -> Look:
    if seen.status is Status.PENDING and seen.attempt:
        return RETRYING
    return DELAYED if seen.is_delayed else STATUS_LOOKS[seen.status]


def cells(seen: Sighting, zone: tzinfo | None) -> Sequence[Cell]:
    look = look_of(seen)
    tries = "/".join(str(one) for one in (seen.attempt, seen.max_attempts) if one) if seen.attempt else ""
    return (
        (short(seen.id), Role.ACCENT),
        (str(look), look.role),
        seen.type or UNKNOWN,
        tries,
        seen.server_id or "",
        _span(seen.waited_ms),
        _span(seen.ran_ms),
        clock(seen.at, zone),
        (seen.id, Role.DIM),
        (seen.error or "", Role.DIM),
    )


def version(seen: Sighting) -> tuple[object, ...]:
    """Differs when the cells do."""
    return (
        seen.at,
        seen.status,
        seen.type,
        seen.attempt,
        seen.max_attempts,
        seen.server_id,
        seen.waited_ms,
        seen.ran_ms,
        seen.error,
    )


def _span(ms: int | None) -> str:
    return "" if ms is None else duration(ms)


def tabs(active: Tab, flow: Flow) -> list[tuple[str, Role, str]]:
    """Text, role and action of each tab."""
    spans: list[tuple[str, Role, str]] = [(" ", Role.PLAIN, "")]
    for tab in Tab:
        count = count_of(tab, flow)
        text = tab if count is None else f"{tab} {number(count)}"
        is_active = tab is active
        shown = f"[{text}]" if is_active else f" {text} "
        spans.append((shown, Role.STRONG if is_active else Role.PLAIN, f"screen.show_tab('{tab}')"))
    return spans


def order_text(held: int, *, is_paused: bool, missed: int) -> Piece:
    if is_paused:
        return f"paused, {number(missed)} came since (p)", Role.WARN
    return f"newest first, {number(held)} held", Role.DIM


def source_text(shown: int, happened: int, *, is_tailing: bool, dropped: int) -> str:
    """Where the list comes from, and what it leaves out."""
    if is_tailing:
        return f"every change, {number(dropped)} dropped" if dropped else "every change"
    return f"sample, {number(shown)} of {number(happened)} shown" if happened else "sample"


def query_of(tab: Tab, text: str) -> str:
    """The same for the archive."""
    return " ".join(part for part in (STATUSES.get(tab, ""), text) if part)
