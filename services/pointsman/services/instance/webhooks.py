"""Tells submitters at their `callbackUrl` that a task has ended: takes completions from WEBHOOKS, posts them, signed.

A completion stays in the stream until its receiver has taken it, so a crash of anything only tells it again.
"""

import asyncio
from collections.abc import Coroutine
from contextlib import suppress
from dataclasses import dataclass
from random import Random

import aiohttp
import msgspec
import structlog
from yarl import URL

from pointsman.client.bus import Bus, BusDown, Message
from pointsman.contracts.base import Message as Said
from pointsman.contracts.subjects import CONSUMER_WEBHOOKS, STREAM_WEBHOOKS
from pointsman.contracts.webhook import Completion, signing_key
from pointsman.services.instance.answer import HEADER_RETRY_AFTER, Answer, retry_after_ms
from pointsman.services.instance.backend import Backends
from pointsman.services.instance.faults import reason_of
from pointsman.services.instance.request import (
    HEADER_TASK_ID,
    WEBHOOK_ID,
    WEBHOOK_SIGNATURE,
    WEBHOOK_TIMESTAMP,
    signatures,
)
from pointsman.services.instance.webhook_rules import Again, Delivered, GivenUp, Lane, Verdict, after, deferral_ms
from pointsman.services.runtime.clock import Clock
from pointsman.services.runtime.loop import Background
from pointsman.services.runtime.puller import Puller

log = structlog.get_logger()

ANSWER_BYTES_MAX = 16 * 1024
ANSWER_S = 10.0
PULL_AGAIN_S = 1.0
TOO_MANY = 429
LANES_MAX = 10_000
ACK, TERM = b"+ACK", b"+TERM"
HANDED_BACK_MS = 1_000

_COMPLETION = msgspec.json.Decoder(Completion)


class WebhookStatus(Said):
    """Of this replica since its start; `held` is what it has in hand, `deferred` what came while its host was busy."""

    held: int
    delivered: int
    failed: int
    deferred: int
    given_up: int


@dataclass(frozen=True, slots=True)
class _Taken:
    message: Message
    completion: Completion


class Webhooks:
    def __init__(self, bus: Bus, backends: Backends, jwt_secret: str, clock: Clock, rng: Random) -> None:
        self._bus = bus
        self._backends = backends
        self._jwt_secret = jwt_secret
        self._clock = clock
        self._rng = rng
        self._lanes: dict[str, Lane[_Taken]] = {}
        self._calls = Background()
        self._pulling = Background()
        self._puller = Puller(bus, STREAM_WEBHOOKS, CONSUMER_WEBHOOKS, self._take, clock)
        self._delivered = self._failed = self._deferred = self._given_up = 0

    def start(self) -> None:
        self._pulling.every(PULL_AGAIN_S, self._puller.run, "webhook puller")

    async def stop(self) -> None:
        """What is under way goes back and is told again by another replica."""
        await self._pulling.stop()
        await self._calls.stop()
        for lane in self._lanes.values():
            for taken in lane.waiting:
                await self._answer(taken.message, nak(HANDED_BACK_MS))

    def status(self) -> WebhookStatus:
        return WebhookStatus(
            held=self._puller.held,
            delivered=self._delivered,
            failed=self._failed,
            deferred=self._deferred,
            given_up=self._given_up,
        )

    def _take(self, message: Message) -> None:
        try:
            taken = _Taken(message, _COMPLETION.decode(message.data))
        except msgspec.MsgspecError as error:
            log.error("not a completion", error=str(error))
            self._spawn(self._answer(message, TERM))
            return
        lane = self._lane(message.subject)
        if lane.starts():
            self._spawn(self._run(lane, taken))
        elif not lane.keeps(taken):
            self._spawn(self._defer(taken))

    def _lane(self, subject: str) -> Lane[_Taken]:
        if subject not in self._lanes and len(self._lanes) >= LANES_MAX:
            self._lanes = {name: lane for name, lane in self._lanes.items() if not lane.is_idle}
        return self._lanes.setdefault(subject, Lane())

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        self._calls.run(work, "webhook")

    async def _run(self, lane: Lane[_Taken], taken: _Taken) -> None:
        """One call after the other in one place of a lane."""
        following: _Taken | None = taken
        while following is not None:
            is_failing = await self._tell(following)
            for dropped in lane.ended(is_failing=is_failing):
                await self._defer(dropped)
            following = lane.next()
        if lane.is_idle and not lane.is_failing:
            self._lanes.pop(taken.message.subject, None)

    async def _tell(self, taken: _Taken) -> bool:
        """One try and its consequence; returns whether the host, rather than this URL, is in trouble."""
        word = nak(HANDED_BACK_MS)
        try:
            answer, why = await self._post(taken.completion)
            verdict = self._verdict(taken.completion, answer)
            word = self._word(taken.completion, verdict, why)
        finally:
            await self._answer(taken.message, word)
        return answer is None or answer.status >= 500 or answer.status == TOO_MANY

    async def _post(self, completion: Completion) -> tuple[Answer | None, str]:
        """The answer, and in words why it is none that was hoped for."""
        body = bytes(completion.body)
        headers = self._headers(completion, body)
        try:
            async with asyncio.timeout(ANSWER_S):
                url = URL(completion.url, encoded=True)
                answer = await self._backends.ask("POST", url, headers, body, limit=ANSWER_BYTES_MAX)
        except TimeoutError:
            return None, f"no answer within {ANSWER_S:g} s"
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return None, reason_of(error)
        return answer, f"HTTP {answer.status}"

    def _headers(self, completion: Completion, body: bytes) -> dict[str, str]:
        timestamp = str(self._clock.now_ms() // 1000)
        keys = (signing_key(self._jwt_secret, completion.owner),)
        return {
            "Content-Type": "application/json",
            HEADER_TASK_ID: completion.task_id,
            WEBHOOK_ID: completion.webhook_id,
            WEBHOOK_TIMESTAMP: timestamp,
            WEBHOOK_SIGNATURE: signatures(keys, completion.webhook_id, timestamp, body),
        }

    def _verdict(self, completion: Completion, answer: Answer | None) -> Verdict:
        now = self._clock.now_ms()
        wait = None if answer is None else retry_after_ms(answer.headers.get(HEADER_RETRY_AFTER), now)
        status = None if answer is None else answer.status
        return after(status, age_ms=now - completion.announced_at, retry_after_ms=wait, rng=self._rng)

    def _word(self, completion: Completion, verdict: Verdict, why: str) -> bytes:
        match verdict:
            case Delivered():
                self._delivered += 1
                return ACK
            case Again(delay_ms):
                self._failed += 1
                return nak(delay_ms)
            case GivenUp(reason):
                self._given_up += 1
                told = {"task": completion.task_id, "generation": completion.generation, "host": completion.host}
                log.warning("webhook given up", **told, reason=reason, last=why)
                return TERM

    async def _defer(self, taken: _Taken) -> None:
        self._deferred += 1
        age_ms = self._clock.now_ms() - taken.completion.announced_at
        await self._answer(taken.message, nak(deferral_ms(age_ms, self._rng)))

    async def _answer(self, message: Message, word: bytes) -> None:
        """A lost word only brings the message again, later."""
        self._puller.release(1, len(message.data))
        with suppress(BusDown):
            await self._bus.publish(message.reply, word)


def nak(delay_ms: int) -> bytes:
    return b'-NAK {"delay":%d}' % (delay_ms * 1_000_000)
