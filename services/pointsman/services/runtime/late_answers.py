"""What a server says of an attempt that is over: refused, and kept with the task, or in the audit trail once that has ended."""

import structlog

from pointsman.client.bus import Bus, BusError
from pointsman.contracts.base import NULL
from pointsman.contracts.errors import PointsmanError
from pointsman.contracts.ids import new_operation_id
from pointsman.contracts.search import AuditEntry
from pointsman.services.runtime import audit, outcomes
from pointsman.services.runtime.clock import Clock
from pointsman.services.runtime.kv import RevisionMoved
from pointsman.services.runtime.task_store import StoredTask, TaskStore

log = structlog.get_logger()

ROUNDS_MAX = 5
WHAT = "task.late-answer"
SAID = outcomes.Succeeded | outcomes.Failed


class LateAnswers:
    """Evidence, not state: what cannot be kept is logged, and nobody waits for it but who was refused anyway."""

    def __init__(self, bus: Bus, store: TaskStore, clock: Clock) -> None:
        self._bus = bus
        self._store = store
        self._clock = clock

    async def keep(self, task_id: str, generation: int, number: int, server_id: str, outcome: outcomes.Outcome) -> None:
        """Of a backend's own word only; the same word again is nothing new."""
        if not isinstance(outcome, SAID):
            return
        try:
            for _ in range(ROUNDS_MAX):
                task = await self._store.get(task_id, latest=True)
                if task is None or task.record.generation != generation:
                    return
                if task.is_terminal:
                    await audit.keep(self._bus, _entry(task, number, server_id, outcome, self._clock.now_ms()))
                    return
                if await self._noted(task, number, server_id, outcome):
                    return
        except (PointsmanError, BusError) as error:
            log.warning("late answer not kept", task_id=task_id, error=str(error))

    async def _noted(self, task: StoredTask, number: int, server_id: str, outcome: SAID) -> bool:
        if task.lease is None:
            return True
        lease = outcomes.refuse(task.lease, number, server_id, outcome, self._clock.now_ms())
        if lease is None:
            return True
        try:
            await self._store.put_lease(task.record.id, lease, task.lease_revision, new_operation_id())
        except RevisionMoved:
            return False
        return True


def _entry(task: StoredTask, number: int, server_id: str, outcome: SAID, now: int) -> AuditEntry:
    """Its id is that of the answer, so that a server that repeats itself fills nothing."""
    said = "succeeded" if isinstance(outcome, outcomes.Succeeded) else "failed"
    record = task.record
    return AuditEntry(
        id=f"late-{record.id}-{record.generation}-{number}-{said}",
        at=now,
        who=server_id,
        roles=(),
        what=WHAT,
        target=record.id,
        outcome="failed",
        status=409,
        request_id=record.request_id,
        detail=f"{server_id} said {said} of attempt {number}, the task was {record.status}",
        before=NULL,
        after=NULL,
    )
