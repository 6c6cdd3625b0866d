"""What an executor sees of servers, summed up: a message a second, and one at once when a server begins to fail."""

from pointsman.contracts.execution import Evidence, Results
from pointsman.services.runtime.outcomes import Accepted, Failed, Lost, Outcome, Succeeded, TimedOut

URGENT_GAP_MS = 200
ROWS_MAX = 4_000
DETAIL_LENGTH_MAX = 200


class _Row:
    __slots__ = ("accepted", "detail", "elapsed", "failed", "faults", "slowest", "succeeded")

    def __init__(self) -> None:
        self.succeeded = self.accepted = self.failed = self.faults = self.elapsed = self.slowest = 0
        self.detail = ""

    def answered(self, outcome: Outcome, elapsed_ms: int) -> None:
        match outcome:
            case Succeeded():
                self.succeeded += 1
                self.elapsed += elapsed_ms
                self.slowest = max(self.slowest, elapsed_ms)
            case Accepted():
                self.accepted += 1
            case _:
                self.failed += 1

    def faulted(self, detail: str) -> None:
        self.faults += 1
        self.detail = detail[:DETAIL_LENGTH_MAX]


class Tally:
    """Of one executor. What we refused ourselves, and backpressure, says nothing about a server's health."""

    def __init__(self, executor: str) -> None:
        self._executor = executor
        self._rows: dict[tuple[str, str], _Row] = {}
        self._runs: dict[str, int] = {}
        self._taken_at = 0

    def note(self, server_id: str, task_type: str, outcome: Outcome, *, elapsed_ms: int, now: int) -> bool:
        """Whether it should be told at once; `now` in ms since the epoch."""
        if isinstance(outcome, Lost) and not outcome.server_fault:
            return False
        row = self._rows.get((server_id, task_type))
        if row is None:
            row = self._rows[server_id, task_type] = _Row()
        fault = fault_of(outcome)
        if fault is None:
            self._runs.pop(server_id, None)
            row.answered(outcome, max(0, elapsed_ms))
            return len(self._rows) >= ROWS_MAX
        self._runs[server_id] = self._runs.get(server_id, 0) + 1
        row.faulted(fault)
        return now - self._taken_at >= URGENT_GAP_MS

    def take(self, now: int) -> Evidence | None:
        """What was seen since the last time; None when nothing was."""
        if not self._rows:
            return None
        results = tuple(self._told(server_id, task_type, row) for (server_id, task_type), row in self._rows.items())
        self._rows.clear()
        self._runs.clear()
        self._taken_at = now
        return Evidence(executor=self._executor, at=now, results=results)

    def _told(self, server_id: str, task_type: str, row: _Row) -> Results:
        return Results(
            server_id=server_id,
            type=task_type,
            succeeded=row.succeeded,
            accepted=row.accepted,
            failed=row.failed,
            faults=row.faults,
            run=self._runs.pop(server_id, 0),
            elapsed=row.elapsed,
            slowest=row.slowest,
            detail=row.detail,
        )


def fault_of(outcome: Outcome) -> str | None:
    """What the server did wrong; None when it answered. Errors of tasks are answers."""
    match outcome:
        case TimedOut():
            return outcome.error
        case Failed() if outcome.server_fault:
            return outcome.error
        case Lost():
            return outcome.reason
        case _:
            return None
