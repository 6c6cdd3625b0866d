"""The executor: takes attempts from the leader, runs each as one asyncio task, tells what happened."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

import msgspec
import structlog

from pointsman.client.bus import Bus, BusError, Message, Subscription
from pointsman.contracts import subjects
from pointsman.contracts.base import encode
from pointsman.contracts.errors import PointsmanError
from pointsman.contracts.execution import Abort, ExecutorBeat, Handover, Release, attempt_key
from pointsman.contracts.record import TaskRecord
from pointsman.services.instance.abort import Canceller
from pointsman.services.instance.attempt import Attempts, Call
from pointsman.services.instance.evidence import Tally
from pointsman.services.runtime.clock import Clock
from pointsman.services.runtime.loop import Background
from pointsman.services.runtime.outcomes import CONNECT_MS, Accepted, Lost, Outcome
from pointsman.services.runtime.settling import Settled

log = structlog.get_logger()

BEAT_S = 1.0
STOP_WAIT_S = 10.0
HAND_BACK_S = 5.0
SETTLE_BUDGET_S = 60.0
SETTLE_RETRY_S = 0.5
REFUSALS_MAX = 1_000

Settle = Callable[[Handover, TaskRecord, Outcome], Awaitable[Settled]]

_HANDOVER = msgspec.json.Decoder(Handover)
_ABORT = msgspec.json.Decoder(Abort)


class Executor:
    """`limit` bounds the open calls; what comes above it is handed back as lost."""

    def __init__(
        self,
        bus: Bus,
        name: str,
        *,
        attempts: Attempts,
        canceller: Canceller,
        settle: Settle,
        limit: int,
        clock: Clock,
    ) -> None:
        self._bus = bus
        self._name = name
        self._attempts = attempts
        self._canceller = canceller
        self._settle = settle
        self._limit = limit
        self._clock = clock
        self._calls: dict[str, Call] = {}
        self._tally = Tally(name)
        self._work = Background()
        self._beats = Background()
        self._subscriptions: list[Subscription] = []
        self._is_stopping = False
        self._is_idle = asyncio.Event()
        self._is_idle.set()

    async def start(self) -> None:
        self._subscriptions = [
            await self._bus.subscribe(subjects.execute(self._name), self._on_handover),
            await self._bus.subscribe(subjects.abort(self._name), self._on_abort),
        ]
        await self._bus.barrier()
        self._beats.every(BEAT_S, self._beat, "executor beat")

    async def stop(self) -> None:
        """Take no more, wait for what runs, hand the rest back without spending an attempt."""
        self._is_stopping = True
        await self._say(subjects.VIEW_EXECUTORS, self._beat_now())
        await self._until_idle(STOP_WAIT_S)
        for call in tuple(self._calls.values()):
            call.end(Lost(reason="the executor stopped", may_still_run=True))
        await self._until_idle(HAND_BACK_S)
        for subscription in self._subscriptions:
            await subscription.drain()
        await self._work.stop()
        await self._beats.stop()
        await self._say(subjects.VIEW_EXECUTORS, self._beat_now())

    async def _until_idle(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._is_idle.wait()

    async def _on_handover(self, message: Message) -> None:
        handover = _HANDOVER.decode(message.data)
        attempt = handover.lease.current
        if attempt is None or len(self._calls) >= self._limit + REFUSALS_MAX:
            log.warning("hand-over dropped", task_id=handover.task_id, running=len(self._calls))
            return
        call = Call(handover, attempt)
        if call.key not in self._calls:
            refusal = self._refusal()
            self._calls[call.key] = call
            self._is_idle.clear()
            self._work.run(self._run(call, refusal), call.key)

    def _refusal(self) -> Lost | None:
        if self._is_stopping:
            return Lost(reason="the executor is stopping")
        return Lost(reason="the executor is full") if len(self._calls) >= self._limit else None

    async def _run(self, call: Call, refusal: Lost | None) -> None:
        try:
            record = await self._attempts.load(call.handover)
            if record is None:
                await self._release(call)
                return
            outcome = refusal or await self._attempts.run(call, record)
            if outcome is not None:
                await self._conclude(call, record, outcome)
        finally:
            del self._calls[call.key]
            if not self._calls:
                self._is_idle.set()

    async def _conclude(self, call: Call, record: TaskRecord, outcome: Outcome) -> None:
        await self._note(call, record, outcome)
        settled = await self._settled(call, record, outcome)
        if await self._is_free(call, outcome, settled):
            await self._release(call)

    async def _is_free(self, call: Call, outcome: Outcome, settled: Settled) -> bool:
        """Whether the slot is free although the leader cannot read that in the record."""
        match outcome:
            case Lost() if outcome.may_still_run:
                return await self._canceller.is_over(_abort_of(call), call_was_open=True)
            case Accepted():
                stale = settled is Settled.STALE
                return stale and await self._canceller.is_over(_abort_of(call), call_was_open=False)
            case _:
                return settled is Settled.STALE

    async def _settled(self, call: Call, record: TaskRecord, outcome: Outcome) -> Settled:
        """Commit, over an outage of the bus too: an answer once got is not thrown away."""
        end = self._clock.monotonic_s() + SETTLE_BUDGET_S
        while True:
            try:
                return await self._settle(call.handover, record, outcome)
            except (PointsmanError, BusError) as error:
                if self._clock.monotonic_s() > end:
                    raise
                log.warning("outcome not committed yet", task_id=record.id, error=str(error))
            await asyncio.sleep(SETTLE_RETRY_S)

    async def _note(self, call: Call, record: TaskRecord, outcome: Outcome) -> None:
        now, attempt = self._clock.now_ms(), call.attempt
        elapsed_ms = now - attempt.started_at
        if self._tally.note(attempt.server_id, record.spec.type, outcome, elapsed_ms=elapsed_ms, now=now):
            await self._tell_evidence(now)

    async def _tell_evidence(self, now: int) -> None:
        if (evidence := self._tally.take(now)) is not None:
            await self._say(subjects.VIEW_EVIDENCE, evidence)

    async def _on_abort(self, message: Message) -> None:
        abort = _ABORT.decode(message.data)
        call = self._calls.get(attempt_key(abort.task_id, abort.generation, abort.number))
        call_was_open = call is not None and call.end(None)
        if call is None or call_was_open:
            self._work.run(self._cancel(abort, call_was_open=call_was_open), f"cancel {abort.task_id}")

    async def _cancel(self, abort: Abort, *, call_was_open: bool) -> None:
        """A call that is not here may be on its way to another executor: a server asked too early would know nothing."""
        if not call_was_open:
            await asyncio.sleep(max(0, abort.start_by + CONNECT_MS - self._clock.now_ms()) / 1000)
        if await self._canceller.is_over(abort, call_was_open=call_was_open):
            release = Release(task_id=abort.task_id, generation=abort.generation, number=abort.number)
            await self._say(subjects.VIEW_RELEASES, release)

    async def _release(self, call: Call) -> None:
        release = Release(
            task_id=call.handover.task_id, generation=call.handover.lease.generation, number=call.attempt.number
        )
        await self._say(subjects.VIEW_RELEASES, release)

    async def _beat(self) -> None:
        await self._say(subjects.VIEW_EXECUTORS, self._beat_now())
        await self._tell_evidence(self._clock.now_ms())

    def _beat_now(self) -> ExecutorBeat:
        return ExecutorBeat(
            executor=self._name,
            running=tuple(self._calls),
            limit=self._limit,
            at=self._clock.now_ms(),
            stopping=self._is_stopping,
        )

    async def _say(self, subject: str, message: msgspec.Struct) -> None:
        """A hint that may be lost: the leader has timeouts for each of them."""
        try:
            await self._bus.publish(subject, encode(message))
        except BusError as error:
            log.warning("hint not sent", subject=subject, error=str(error))


def _abort_of(call: Call) -> Abort:
    return Abort(
        task_id=call.handover.task_id,
        generation=call.handover.lease.generation,
        number=call.attempt.number,
        server_id=call.attempt.server_id,
        reason="the task moved on",
    )
