"""What the executors see of a server's health, told to the prober only when it is news."""

from dataclasses import dataclass

from pointsman.contracts.execution import Evidence
from pointsman.services.runtime.outcomes import Accepted, Failed, Lost, Outcome, Succeeded, TimedOut

REPEAT_MS = 1_000


def seen(server_id: str, outcome: Outcome, now: int) -> Evidence | None:
    """The evidence in an outcome; None when it says nothing about the server (our own refusals)."""
    match outcome:
        case Succeeded() | Accepted():
            return Evidence(server_id=server_id, good=True, at=now)
        case TimedOut():
            return Evidence(server_id=server_id, good=False, at=now, detail=outcome.error)
        case Failed():
            return Evidence(server_id=server_id, good=not outcome.server_fault, at=now, detail=outcome.error)
        case Lost() if outcome.server_fault:
            return Evidence(server_id=server_id, good=False, at=now, detail=outcome.reason)
        case Lost():
            return None


@dataclass(frozen=True, slots=True)
class _Told:
    good: bool
    at: int


class News:
    """Lets a change through at once, a repeated fault once a second, a repeated success never."""

    def __init__(self) -> None:
        self._told: dict[str, _Told] = {}

    def is_news(self, evidence: Evidence) -> bool:
        told = self._told.get(evidence.server_id, _Told(good=True, at=0))
        if evidence.good == told.good and (evidence.good or evidence.at - told.at < REPEAT_MS):
            return False
        self._told[evidence.server_id] = _Told(evidence.good, evidence.at)
        return True

    def forget(self, server_id: str) -> None:
        self._told.pop(server_id, None)
