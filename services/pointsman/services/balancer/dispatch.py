"""Dispatch: decide, write the lease, hand the attempt over. Nothing is sent before its lease is written."""

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine
from random import Random

import msgspec
import structlog

from pointsman.client.bus import Bus, BusError, Message, Subscription
from pointsman.contracts.base import NULL, encode
from pointsman.contracts.errors import PointsmanError
from pointsman.contracts.execution import Abort, Handover
from pointsman.contracts.ids import new_operation_id
from pointsman.contracts.record import Lease
from pointsman.contracts.subjects import abort, execute
from pointsman.services.balancer.attempts import Decision
from pointsman.services.balancer.entry import Entry
from pointsman.services.balancer.executors import Executors
from pointsman.services.balancer.model import Model
from pointsman.services.runtime.clock import Clock
from pointsman.services.runtime.kv import RevisionMoved
from pointsman.services.runtime.loop import Background
from pointsman.services.runtime.outcomes import assign
from pointsman.services.runtime.task_store import TaskStore

log = structlog.get_logger()

COMMITS_MAX = 256
PAUSE_MS = 500
ALARM_MAX_MS = 1_000
ABORTS_KEPT_S = 30.0
ABORTS_MAX = 1_000


class Dispatcher:
    """`may_dispatch` says whether this process leads and knows everything; `epoch` is that of its term.

    `undelivered` ends the attempt of a hand-over that reached nobody.
    """

    def __init__(
        self,
        bus: Bus,
        model: Model,
        executors: Executors,
        store: TaskStore,
        clock: Clock,
        rng: Random,
        *,
        may_dispatch: Callable[[], bool],
        epoch: Callable[[], int],
        undelivered: Callable[[Entry], Coroutine[None, None, None]],
    ) -> None:
        self._bus = bus
        self._model = model
        self._executors = executors
        self._store = store
        self._clock = clock
        self._rng = rng
        self._may_dispatch = may_dispatch
        self._epoch = epoch
        self._undelivered = undelivered
        self._undelivered_at: Subscription | None = None
        self._inbox = bus.new_inbox()
        self._background = Background()
        self._scheduled = False
        self._paused_until = 0
        self._alarm: asyncio.TimerHandle | None = None
        self._aborted: deque[tuple[float, Abort]] = deque(maxlen=ABORTS_MAX)
        self.last_dispatch: int | None = None
        self.dispatched = 0

    def schedule(self) -> None:
        """Pump soon; many events in one turn of the loop cost one pump."""
        if not self._scheduled:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._pump)

    async def start(self) -> None:
        """Hear of hand-overs that found no executor: the server answers those itself."""
        self._undelivered_at = await self._bus.subscribe(f"{self._inbox}.*.*", self._on_undelivered)

    async def stop(self) -> None:
        if self._undelivered_at is not None:
            await self._undelivered_at.unsubscribe()
        if self._alarm is not None:
            self._alarm.cancel()
        await self._background.stop()

    async def _on_undelivered(self, message: Message) -> None:
        _, task_id, number = message.subject.rsplit(".", 2)
        entry = self._model.running.get(task_id)
        current = entry.lease.current if entry is not None and entry.lease is not None else None
        if entry is None or current is None or current.number != int(number):
            return
        self._executors.unreachable(current.executor)
        self._background.run(self._undelivered(entry), "hand back")

    def _pump(self) -> None:
        self._scheduled = False
        now, now_s = self._clock.now_ms(), self._clock.monotonic_s()
        self._model.tick(now, now_s)
        self._send_aborts(now_s)
        if self._may_dispatch() and now >= self._paused_until:
            self._decide(now, now_s)
        self._set_alarm(now)

    def _decide(self, now: int, now_s: float) -> None:
        while len(self._background) < COMMITS_MAX and self._model.pending.count:
            executor = self._executors.choose(self._model.by_executor, now_s)
            if executor is None:
                return
            decision = self._model.next_decision(now, now_s, self._rng)
            if decision is None:
                if self._model.pending.is_unsettled:
                    self.schedule()
                return
            self._count(executor, 1)
            self._background.run(self._commit(decision, executor, now), "commit")

    def _count(self, executor: str, by: int) -> None:
        """What is on its way to an executor counts as its own: a burst would all go to the one that is idle now."""
        self._model.by_executor[executor] = self._model.by_executor.get(executor, 0) + by

    async def _commit(self, decision: Decision, executor: str, now: int) -> None:
        """The slot is given back however this ends without a lease."""
        raw, revision = decision.entry.raw, None
        try:
            lease = self._assigned(decision, executor, now)
            revision = await self._written(decision, lease)
        finally:
            self._count(executor, -1)
            if revision is None:
                self._model.withdraw(decision, self._clock.now_ms())
        if revision is not None:
            await self._hand_over(decision, lease, revision, raw)
        self.schedule()

    def _assigned(self, decision: Decision, executor: str, now: int) -> Lease:
        entry = decision.entry
        return assign(
            decision.lease,
            entry.generation,
            server_id=decision.server_id,
            executor=executor,
            epoch=self._epoch(),
            now=now,
            deadline=min(now + entry.shape.timeout_ms, entry.deadline),
            choice=decision.choice,
        )

    async def _written(self, decision: Decision, lease: Lease) -> int | None:
        """The lease's revision; None when somebody else wrote it, or nobody can at the moment."""
        entry = decision.entry
        try:
            return await self._store.put_lease(entry.id, lease, decision.lease_revision, new_operation_id())
        except RevisionMoved:
            await self._heal(entry)
        except (PointsmanError, BusError) as error:
            log.warning("lease not written", task_id=entry.id, error=str(error))
            self._paused_until = self._clock.now_ms() + PAUSE_MS
        return None

    async def _hand_over(self, decision: Decision, lease: Lease, revision: int, raw: bytes | None) -> None:
        """Tell the executor, unless the task ended meanwhile or we are no longer sure to lead."""
        now = self._clock.now_ms()
        if not self._model.committed(decision, lease, revision, now) or not self._may_dispatch():
            return
        assert lease.current is not None
        handover = Handover(
            task_id=decision.entry.id,
            task_revision=decision.entry.revision,
            lease_revision=revision,
            lease=lease,
            record=msgspec.Raw(raw) if raw is not None else NULL,
        )
        try:
            reply = f"{self._inbox}.{handover.task_id}.{lease.current.number}"
            await self._bus.publish(execute(lease.current.executor), encode(handover), reply=reply)
        except BusError as error:
            log.warning("hand-over not sent", task_id=decision.entry.id, error=str(error))
            return
        self.last_dispatch = now
        self.dispatched += 1

    async def _heal(self, entry: Entry) -> None:
        """Somebody else wrote the lease, or it expired: read it from the stream leader and go on from there."""
        try:
            lease, revision = await self._store.lease(entry.id, latest=True)
        except BusError as error:
            log.warning("lease not readable", task_id=entry.id, error=str(error))
            return
        if lease is None:
            entry.lease_revision = 0
            return
        entry.lease_revision = min(entry.lease_revision, revision - 1)
        self._model.fold_lease(entry.id, lease, revision, self._clock.now_ms(), self._clock.monotonic_s())

    def recent_aborts(self) -> list[Abort]:
        """What servers should be told to cancel in their next heartbeats' answers."""
        since_s = self._clock.monotonic_s() - ABORTS_KEPT_S
        while self._aborted and self._aborted[0][0] < since_s:
            self._aborted.popleft()
        return [message for _, message in self._aborted]

    def _send_aborts(self, now_s: float) -> None:
        aborts, self._model.aborts = self._model.aborts, []
        self._aborted.extend((now_s, message) for _, message in aborts)
        if not self._may_dispatch():
            return
        for executor_id, message in aborts:
            alive = self._executors.is_alive(executor_id, now_s)
            target = executor_id if alive else self._executors.any_alive(now_s)
            if target is not None:
                self._background.run(self._publish(abort(target), encode(message)), "abort")

    async def _publish(self, subject: str, data: bytes) -> None:
        try:
            await self._bus.publish(subject, data)
        except BusError as error:
            log.warning("not sent", subject=subject, error=str(error))

    def _set_alarm(self, now: int) -> None:
        """Pump again when the next thing falls due."""
        times = [now + ALARM_MAX_MS]
        due = self._model.next_due()
        if due is not None:
            times.append(due)
        if self._model.pending.count:
            hold = self._model.fleet.earliest_hold(now)
            times += [hold] if hold is not None else []
            times += [self._paused_until] if self._paused_until > now else []
        if self._alarm is not None:
            self._alarm.cancel()
        wait_s = max(min(times) - now, 1) / 1000
        self._alarm = asyncio.get_running_loop().call_later(wait_s, self.schedule)
