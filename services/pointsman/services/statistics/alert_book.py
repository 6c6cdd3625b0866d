"""The alerts that hold: each once, since when, the worst first, and for a while after its cause has gone. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from pointsman.contracts.alerts import AlertList, AlertMark, ListedAlert
from pointsman.contracts.frames import ALERTS_MAX, AlertRow, Severity
from pointsman.services.statistics.alert_rules import Cause

KEPT_MS = 10_000
RANKS = {Severity.CRITICAL: 0, Severity.WARNING: 1}

type Name = tuple[str, str]
"""Kind and subject."""


@dataclass(slots=True)
class Held:
    cause: Cause
    since: int
    first: int
    last: int


class AlertBook:
    """An alert stays for 10 s after its cause was last seen, so that none comes and goes with each look."""

    def __init__(self) -> None:
        self._held: dict[Name, Held] = {}

    def update(self, causes: Iterable[Cause], marks: Mapping[Name, AlertMark], now: int) -> None:
        """An alert that comes again after a restart is as old as its mark says."""
        for cause in causes:
            name = cause.kind, cause.subject
            held = self._held.get(name)
            if held is None:
                marked = marks.get(name)
                since = min(now if cause.since is None else cause.since, marked.since if marked else now)
                held = self._held[name] = Held(cause, since, now, now)
            held.cause, held.last = cause, now
            for kind in cause.replaces:
                replaced = self._held.get((kind, cause.subject))
                if replaced is not None and replaced.last < now:
                    del self._held[kind, cause.subject]
        for name in [name for name, held in self._held.items() if now - held.last >= KEPT_MS]:
            del self._held[name]

    def get(self, name: Name) -> Held | None:
        held = self._held.get(name)
        return held if held is not None and _is_shown(held) else None

    def __contains__(self, name: Name) -> bool:
        return name in self._held

    def rows(self, marks: Mapping[Name, AlertMark]) -> tuple[AlertRow, ...]:
        """Of very many the worst, and a last one that counts the rest."""
        shown = [held for held in self._held.values() if _is_shown(held)]
        shown.sort(key=_urgency)
        if len(shown) <= ALERTS_MAX:
            return tuple(row_of(held, marks) for held in shown)
        rest = shown[ALERTS_MAX - 1 :]
        more = AlertRow(
            severity=rest[0].cause.severity,
            kind="more",
            subject="",
            since=min(held.since for held in rest),
            detail=f"{len(rest)} more alerts",
        )
        return (*(row_of(held, marks) for held in shown[: ALERTS_MAX - 1]), more)


def listed(rows: Iterable[AlertRow], now: int) -> AlertList:
    return AlertList(alerts=tuple(as_listed(row) for row in rows), as_of=now)


def as_listed(row: AlertRow) -> ListedAlert:
    return ListedAlert(
        severity=row.severity,
        kind=row.kind,
        subject=row.subject,
        since=row.since,
        detail=row.detail,
        screen=row.screen,
        acknowledged_by=row.acknowledged_by,
        note=row.note,
    )


def _is_shown(held: Held) -> bool:
    """It has lasted long enough, or did before its cause went."""
    return held.last - held.first >= held.cause.after_ms


def _urgency(held: Held) -> tuple[int, int, str, str]:
    return RANKS[held.cause.severity], held.since, held.cause.kind, held.cause.subject


def row_of(held: Held, marks: Mapping[Name, AlertMark]) -> AlertRow:
    cause = held.cause
    mark = marks.get((cause.kind, cause.subject))
    return AlertRow(
        severity=cause.severity,
        kind=cause.kind,
        subject=cause.subject,
        since=held.since,
        detail=cause.detail,
        screen=cause.screen,
        acknowledged_by=mark.by if mark else None,
        note=(mark.note or None) if mark else None,
    )
