"""Announces ended tasks whose submitter wants to be called: each goes into WEBHOOKS before its record leaves HISTORY.

Told by the republish of `tasks` too, which reaches further than the window of records that wait while Postgres is away.
What is told twice is told apart by what was announced lately, and by the stream.
"""

import asyncio
from dataclasses import dataclass, field

import msgspec
import structlog

from pointsman.client.bus import Bus, BusDown, BusTimeout, Message, NoResponders
from pointsman.contracts.base import encode
from pointsman.contracts.lifecycle import is_terminal
from pointsman.contracts.record import TaskRecord
from pointsman.contracts.subjects import HEADER_MESSAGE_ID, view_task, webhook
from pointsman.contracts.view import show
from pointsman.contracts.webhook import Completion, host_token
from pointsman.services.runtime.clock import Clock
from pointsman.services.runtime.loop import gather_all

log = structlog.get_logger()

MARK = b'"callbackUrl"'
QUEUE = "webhooks"
ABREAST = 32
HINTED_MAX = 10_000
REMEMBERED_MAX = 50_000
PUBLISH_S = 5.0
RETRY_S = 0.5
WARN_EVERY_S = 60.0
FULL = "maximum"

_RECORD = msgspec.json.Decoder(TaskRecord)


class _Error(msgspec.Struct):
    description: str = ""


class _Ack(msgspec.Struct):
    error: _Error | None = None


_ACK = msgspec.json.Decoder(_Ack)


@dataclass(frozen=True, slots=True, eq=False)
class _Waiting:
    key: str
    completion: Completion
    announced: asyncio.Event = field(default_factory=asyncio.Event)


class Announcer:
    def __init__(self, bus: Bus, clock: Clock) -> None:
        self._bus = bus
        self._clock = clock
        self._waiting: dict[str, _Waiting] = {}
        self._queue: asyncio.Queue[_Waiting] = asyncio.Queue()
        self._remembered: dict[str, None] = {}
        self._warned_s = float("-inf")
        self.refused = 0

    async def listen(self) -> None:
        """Hear of ends until cancelled; one replica hears each."""
        subscription = await self._bus.subscribe(view_task("*"), self._hint, queue=QUEUE)
        try:
            await asyncio.Event().wait()
        finally:
            await subscription.unsubscribe()

    def note(self, message: Message) -> _Waiting | None:
        """What is still to be announced of this record, if anything."""
        completion = completion_of(message.data, self._clock.now_ms())
        if completion is None:
            return None
        key = key_of(completion)
        if key in self._remembered:
            return None
        if key not in self._waiting:
            self._waiting[key] = waiting = _Waiting(key, completion)
            self._queue.put_nowait(waiting)
        return self._waiting[key]

    async def announced(self, messages: list[Message]) -> None:
        """Return when nothing of these is left to announce."""
        for waiting in [self.note(message) for message in messages]:
            if waiting is not None:
                await waiting.announced.wait()

    async def step(self) -> None:
        some = [await self._queue.get()]
        while len(some) < ABREAST and not self._queue.empty():
            some.append(self._queue.get_nowait())
        await gather_all([self._announce(waiting) for waiting in some])

    async def _hint(self, message: Message) -> None:
        if len(self._waiting) < HINTED_MAX:
            self.note(message)

    async def _announce(self, waiting: _Waiting) -> None:
        """Try until the stream has it, or says that it takes no more for this host."""
        while True:
            if await self._is_settled(waiting.key, waiting.completion):
                break
            await asyncio.sleep(RETRY_S)
        del self._waiting[waiting.key]
        self._remember(waiting.key)
        waiting.announced.set()

    async def _is_settled(self, key: str, completion: Completion) -> bool:
        try:
            error = await put(self._bus, key, completion)
        except (NoResponders, BusTimeout, BusDown):
            return False
        if error.startswith(FULL):
            self._refuse(completion, error)
        return not error or error.startswith(FULL)

    def _refuse(self, completion: Completion, why: str) -> None:
        self.refused += 1
        if self._clock.monotonic_s() - self._warned_s > WARN_EVERY_S:
            self._warned_s = self._clock.monotonic_s()
            log.warning("webhooks refused", task=completion.task_id, host=completion.host, why=why, ever=self.refused)

    def _remember(self, key: str) -> None:
        self._remembered[key] = None
        if len(self._remembered) > REMEMBERED_MAX:
            del self._remembered[next(iter(self._remembered))]


def key_of(completion: Completion) -> str:
    """What tells the stream that a completion is in it already."""
    return f"{completion.task_id}.{completion.generation}"


async def put(bus: Bus, key: str, completion: Completion) -> str:
    """Why the stream does not take it, empty when it does. Raises a BusError."""
    subject, headers = webhook(host_token(completion.url)), {HEADER_MESSAGE_ID: key}
    answer = await bus.request(subject, encode(completion), headers=headers, timeout_s=PUBLISH_S)
    error = _ACK.decode(answer.data).error
    return error.description or "an error without a reason" if error is not None else ""


def completion_of(data: bytes, now_ms: int) -> Completion | None:
    """What is to be told of a stored record: None while it lives, when nobody asked, when it or the URL cannot be read."""
    if MARK not in data:
        return None
    try:
        record = _RECORD.decode(data)
        if record.spec.callback_url is None or not is_terminal(record.status):
            return None
        host_token(record.spec.callback_url)
    except (msgspec.MsgspecError, ValueError):
        return None
    return Completion(
        task_id=record.id,
        generation=record.generation,
        owner=record.owner,
        url=record.spec.callback_url,
        announced_at=now_ms,
        body=msgspec.Raw(encode(show(record, None, with_payload=False))),
    )
