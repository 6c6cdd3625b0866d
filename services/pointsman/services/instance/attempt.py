"""One attempt, in its steps: load the record, check the time, call the backend, say what happened."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from random import Random

import aiohttp
import msgspec

from pointsman.contracts.base import NULL
from pointsman.contracts.execution import Handover, attempt_key
from pointsman.contracts.lifecycle import is_terminal
from pointsman.contracts.record import CurrentAttempt, TaskRecord
from pointsman.services.instance.answer import outcome_of
from pointsman.services.instance.backend import Backends, note_dialling
from pointsman.services.instance.faults import may_be_stale, outcome_of_fault
from pointsman.services.instance.fleet import Fleet, Target
from pointsman.services.instance.request import body_of, callback_url, headers_of
from pointsman.services.runtime.clock import Clock
from pointsman.services.runtime.outcomes import Lost, Outcome, TimedOut

Fetch = Callable[[str], Awaitable[TaskRecord | None]]
TokenOf = Callable[[Handover, CurrentAttempt], str]

_RECORD = msgspec.json.Decoder(TaskRecord)


@dataclass(slots=True)
class Call:
    """An attempt that runs here. `ending` is the outcome given to it from our side, None for an abort."""

    handover: Handover
    attempt: CurrentAttempt
    limit: asyncio.Timeout | None = None
    is_answered: bool = False
    is_ended: bool = False
    ending: Outcome | None = None

    @property
    def key(self) -> str:
        return attempt_key(self.handover.task_id, self.handover.lease.generation, self.attempt.number)

    def end(self, outcome: Outcome | None) -> bool:
        """Close the call with this outcome (None: aborted); False when its answer is already there."""
        if self.is_answered:
            return False
        self.is_ended, self.ending = True, outcome
        if self.limit is not None and not self.limit.expired():
            self.limit.reschedule(asyncio.get_running_loop().time())
        return True


class Attempts:
    def __init__(
        self,
        *,
        fleet: Fleet,
        backends: Backends,
        fetch: Fetch,
        token_of: TokenOf,
        base_url: str,
        final_statuses: frozenset[int],
        clock: Clock,
        rng: Random,
    ) -> None:
        self._fleet = fleet
        self._backends = backends
        self._fetch = fetch
        self._token_of = token_of
        self._base_url = base_url
        self._final_statuses = final_statuses
        self._clock = clock
        self._rng = rng

    async def load(self, handover: Handover) -> TaskRecord | None:
        """The record to run, from the hand-over or the bucket; None when the task is over or has moved on."""
        if handover.record == NULL:
            record = await self._fetch(handover.task_id)
        else:
            record = _RECORD.decode(handover.record)
        if record is None or is_terminal(record.status) or record.generation != handover.lease.generation:
            return None
        return record

    async def run(self, call: Call, record: TaskRecord) -> Outcome | None:
        """The outcome of the attempt; None when it was aborted."""
        target = self._fleet.target(call.attempt.server_id)
        if target is None:
            return Lost(reason=f"server {call.attempt.server_id} is not registered")
        now = self._clock.now_ms()
        if now >= call.attempt.deadline:
            return TimedOut(error="the attempt timed out before it was sent")
        if now > call.attempt.start_by:
            return Lost(reason="started too late")
        if call.is_ended:
            return call.ending
        return await self._within_deadline(call, record, target, now)

    async def _within_deadline(self, call: Call, record: TaskRecord, target: Target, now: int) -> Outcome | None:
        left_s = max(0, call.attempt.deadline - now) / 1000
        try:
            async with asyncio.timeout(left_s) as call.limit:
                return await self._exchange(call, record, target, now)
        except TimeoutError:
            return (
                call.ending
                if call.is_ended
                else TimedOut(error=f"no answer within {(call.attempt.deadline - call.attempt.started_at) / 1000:g} s")
            )
        finally:
            call.is_answered = True

    async def _exchange(self, call: Call, record: TaskRecord, target: Target, now: int) -> Outcome:
        token = self._token_of(call.handover, call.attempt)
        body = body_of(record, call.attempt, callback_url(self._base_url, record.id, token))
        headers = headers_of(target, record, call.attempt, token, body, now=now, rng=self._rng)
        dialled, started_s = note_dialling(), self._clock.monotonic_s()
        try:
            answer = await self._backends.ask("POST", target.predict, headers, body, tls=target.tls)
        except (aiohttp.ClientError, OSError) as error:
            elapsed_s = self._clock.monotonic_s() - started_s
            stale = may_be_stale(reused=not dialled.fresh, elapsed_s=elapsed_s, before=call.handover.lease.attempts)
            return outcome_of_fault(error, maybe_stale=stale)
        return outcome_of(answer, now=self._clock.now_ms(), final_statuses=self._final_statuses)
