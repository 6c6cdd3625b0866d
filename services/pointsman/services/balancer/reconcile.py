"""What the leader ends by itself: attempts past their deadline or held by nobody, tasks past theirs, lost leases."""

import structlog

from pointsman.client.bus import BusError
from pointsman.contracts.errors import PointsmanError
from pointsman.contracts.execution import attempt_key
from pointsman.contracts.ids import new_operation_id
from pointsman.contracts.record import CurrentAttempt, Lease
from pointsman.contracts.server import Wanted
from pointsman.services.balancer.attempts import abort_of
from pointsman.services.balancer.entry import Entry
from pointsman.services.balancer.executors import Executors
from pointsman.services.balancer.model import Model
from pointsman.services.runtime import outcomes
from pointsman.services.runtime.clock import Clock
from pointsman.services.runtime.kv import RevisionMoved
from pointsman.services.runtime.loop import gather_all
from pointsman.services.runtime.settling import Settler
from pointsman.services.runtime.task_store import StoredTask, TaskStore

log = structlog.get_logger()

ENFORCED_BY_EXECUTOR_MS = 1_000
AT_ONCE = 64
AGAIN_MS = 2_000


class Reconciler:
    def __init__(self, model: Model, executors: Executors, store: TaskStore, settler: Settler, clock: Clock) -> None:
        self._model = model
        self._executors = executors
        self._store = store
        self._settler = settler
        self._clock = clock
        self._led_since_s = 0.0

    def took_over(self) -> None:
        """Executors have had no chance yet to be heard by the new leader."""
        self._led_since_s = self._clock.monotonic_s()

    async def step(self) -> None:
        now, now_s = self._clock.now_ms(), self._clock.monotonic_s()
        late = [
            entry for entry in self._model.due.attempts_overdue(now) if not self._leave_to_executor(entry, now, now_s)
        ]
        work = [self._reclaim(entry) if self._has_no_call(entry, now_s) else self._time_out(entry) for entry in late]
        work += [self._expire(entry) for entry in self._model.due.tasks_overdue(now)]
        work += [self._reclaim(entry) for entry in self._abandoned(now, now_s)]
        work += [self._evict(entry) for entry in self._evicted()]
        for start in range(0, len(work), AT_ONCE):
            await gather_all(work[start : start + AT_ONCE])
        self._executors.forget_silent(now_s)

    def _leave_to_executor(self, entry: Entry, now: int, now_s: float) -> bool:
        """A live executor ends its own call first; look again a second later."""
        current = _current(entry)
        if current.accepted or current.deadline + ENFORCED_BY_EXECUTOR_MS <= now:
            return False
        if not self._executors.is_alive(current.executor, now_s):
            return False
        self._model.due.watch_again(entry, current.deadline + ENFORCED_BY_EXECUTOR_MS)
        return True

    def _has_no_call(self, entry: Entry, now_s: float) -> bool:
        """Its hand-over was lost, perhaps with the leader that decided it: not the task's doing, however late it shows."""
        current = _current(entry)
        key = attempt_key(entry.id, entry.generation, current.number)
        return not current.accepted and self._executors.has_no_call(current.executor, key, current.start_by, now_s)

    def _abandoned(self, now: int, now_s: float) -> list[Entry]:
        led_s = now_s - self._led_since_s
        return [
            entry
            for entry in list(self._model.running.values())
            if not (current := _current(entry)).accepted
            and self._executors.abandoned(
                current.executor,
                attempt_key(entry.id, entry.generation, current.number),
                current.start_by,
                min(led_s, (now - current.started_at) / 1000),
                now_s,
            )
        ]

    def _evicted(self) -> list[Entry]:
        """What still runs on servers whose drain is over."""
        fleet = self._model.fleet
        gone = {server.id for server in fleet if server.admin.wanted in (Wanted.MAINTENANCE, Wanted.REMOVED)}
        return (
            [entry for entry in list(self._model.running.values()) if _current(entry).server_id in gone] if gone else []
        )

    async def _time_out(self, entry: Entry) -> None:
        await self._end(entry, outcomes.TimedOut(error="the attempt timed out"))

    async def _reclaim(self, entry: Entry) -> None:
        """An executor that lives and does not list the call surely has no call: its start-by has passed too."""
        current = _current(entry)
        log.warning("attempt reclaimed", task_id=entry.id, attempt=current.number, executor=current.executor)
        alive = self._executors.is_alive(current.executor, self._clock.monotonic_s())
        reason = "the hand-over was lost" if alive else "the executor went away"
        await self._end(entry, outcomes.Lost(reason=reason, may_still_run=not alive), unless_accepted=True)

    async def undelivered(self, entry: Entry) -> None:
        """The hand-over found no executor, so nothing was sent to the server."""
        await self._end(entry, outcomes.Lost(reason="the executor was gone"))

    async def _evict(self, entry: Entry) -> None:
        """Hand back without spending an attempt, and have the call ended."""
        current = _current(entry)
        await self._end(entry, outcomes.Lost(reason="the server went into maintenance", may_still_run=True))
        self._model.aborts.append((current.executor, abort_of(entry, current, "maintenance")))

    async def _end(self, entry: Entry, outcome: outcomes.Ended, *, unless_accepted: bool = False) -> None:
        attempt = _current(entry)
        try:
            task = await self._store.get(entry.id)
            if task is not None and not task.is_terminal and task.record.generation == entry.generation:
                if task.lease is None:
                    task = StoredTask(task.record, task.revision, entry.lease, task.lease_revision)
                if not (unless_accepted and _is_accepted(task)):
                    await self._settler.settle(task, attempt, outcome)
        except (PointsmanError, BusError) as error:
            log.warning("attempt not ended", task_id=entry.id, error=str(error))
        self._model.due.watch_again(entry, self._clock.now_ms() + AGAIN_MS)

    async def _expire(self, entry: Entry) -> None:
        """TIMEOUT for a task whose own deadline has passed."""
        now = self._clock.now_ms()
        try:
            task = await self._store.get(entry.id)
            if task is not None and not task.is_terminal and task.record.generation == entry.generation:
                record = outcomes.expire(task.record, task.lease, now)
                await self._store.finish(record, task.revision, new_operation_id())
        except (RevisionMoved, PointsmanError, BusError) as error:
            log.info("task not expired", task_id=entry.id, error=str(error))
        self._model.due.watch_again(entry, now + AGAIN_MS)

    async def write_again(self) -> None:
        """After a broker restart: what the relaxed bucket lost and memory still holds."""
        lost = self._model.unconfirmed()
        for start in range(0, len(lost), AT_ONCE):
            await gather_all([self._write_again(entry) for entry in lost[start : start + AT_ONCE]])
        if lost:
            log.warning("leases written again after a broker restart", count=len(lost))

    async def _write_again(self, entry: Entry) -> None:
        lease = entry.lease
        if lease is None:
            return
        try:
            revision = await self._store.put_lease(entry.id, lease, entry.lease_revision, new_operation_id())
            self._model.written_again(entry, revision)
        except RevisionMoved:
            await self._look_again(entry)
        except (PointsmanError, BusError) as error:
            log.warning("lease not written again", task_id=entry.id, error=str(error))

    async def _look_again(self, entry: Entry) -> None:
        lease, revision = await self._store.lease(entry.id, latest=True)
        if lease is not None:
            self._model.fold_lease(entry.id, lease, revision, self._clock.now_ms(), self._clock.monotonic_s())


def _is_accepted(task: StoredTask) -> bool:
    """Whether the server calls back, whoever held the call; the leader may not have seen it yet."""
    current = task.lease.current if task.lease is not None else None
    return current is not None and current.accepted


def _current(entry: Entry) -> CurrentAttempt:
    lease: Lease | None = entry.lease
    if lease is None or lease.current is None:
        raise ValueError(f"{entry.id} is not running")
    return lease.current
