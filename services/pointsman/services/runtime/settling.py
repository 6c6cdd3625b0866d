"""Commit what an attempt led to, whoever saw it end: executor, callback or leader."""

from enum import Enum
from random import Random

import structlog

from pointsman.client.bus import Bus
from pointsman.contracts.ids import new_operation_id
from pointsman.contracts.record import CurrentAttempt, Lease, TaskRecord
from pointsman.services.runtime import outcomes
from pointsman.services.runtime.clock import Clock
from pointsman.services.runtime.kv import RevisionMoved
from pointsman.services.runtime.late_answers import LateAnswers
from pointsman.services.runtime.task_store import StoredTask, TaskStore

log = structlog.get_logger()

RECLAIM_MS = 4_000
ROUNDS_MAX = 20


class Settled(Enum):
    COMMITTED = "committed"
    STALE = "stale"


def same_attempt(lease: Lease | None, generation: int, attempt: CurrentAttempt) -> bool:
    """Whether this attempt is still the current one."""
    return (
        lease is not None
        and lease.generation == generation
        and lease.current is not None
        and lease.current.number == attempt.number
        and lease.current.server_id == attempt.server_id
        and lease.current.epoch == attempt.epoch
    )


class Settler:
    def __init__(self, bus: Bus, store: TaskStore, clock: Clock, rng: Random) -> None:
        self._store = store
        self._late = LateAnswers(bus, store, clock)
        self._clock = clock
        self._rng = rng

    async def settle(self, task: StoredTask, attempt: CurrentAttempt, outcome: outcomes.Outcome) -> Settled:
        """Commit the outcome of `attempt`; STALE when the task moved on, and then it is only noted."""
        for _ in range(ROUNDS_MAX):
            if not same_attempt(task.lease, task.record.generation, attempt):
                return await self._stale(task, attempt, outcome)
            try:
                return await self._commit(task, attempt, outcome)
            except RevisionMoved:
                moved = await self._store.get(task.record.id, latest=True)
                if moved is None or moved.is_terminal or moved.record.generation != task.record.generation:
                    return await self._stale(task, attempt, outcome)
                task = moved
        return await self._stale(task, attempt, outcome)

    async def _commit(self, task: StoredTask, attempt: CurrentAttempt, outcome: outcomes.Outcome) -> Settled:
        now, operation = self._clock.now_ms(), new_operation_id()
        assert task.lease is not None
        if isinstance(outcome, outcomes.Accepted):
            await self._store.put_lease(
                task.record.id, outcomes.accept(task.lease, now), task.lease_revision, operation
            )
            return Settled.COMMITTED
        decided = outcomes.settle(task.record, task.lease, outcome, now=now, rng=self._rng)
        if isinstance(decided, TaskRecord):
            await self._still_current(task, attempt, outcome, now)
            await self._store.finish(decided, task.revision, operation)
        else:
            await self._store.put_lease(task.record.id, decided, task.lease_revision, operation)
        return Settled.COMMITTED

    async def _still_current(
        self, task: StoredTask, attempt: CurrentAttempt, outcome: outcomes.Outcome, now: int
    ) -> None:
        """A terminal write is not fenced by the lease: look again, unless no leader can have given the task away yet."""
        if isinstance(outcome, outcomes.Succeeded) and now - attempt.started_at < RECLAIM_MS:
            return
        _, revision = await self._store.lease(task.record.id, latest=True)
        if revision not in (task.lease_revision, 0):
            raise RevisionMoved(task.record.id)

    async def _stale(self, task: StoredTask, attempt: CurrentAttempt, outcome: outcomes.Outcome) -> Settled:
        log.info(
            "late outcome refused",
            task_id=task.record.id,
            generation=task.record.generation,
            attempt=attempt.number,
            server=attempt.server_id,
            outcome=type(outcome).__name__,
        )
        await self._late.keep(task.record.id, task.record.generation, attempt.number, attempt.server_id, outcome)
        return Settled.STALE
