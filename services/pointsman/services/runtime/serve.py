"""A service on the bus: bounded concurrency, errors as problems, a drain that answers everything it took."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

import msgspec
import structlog
from structlog.contextvars import bound_contextvars

from pointsman.client.bus import Bus, BusError, Endpoint, Message, Service
from pointsman.client.call import actor_of
from pointsman.contracts.actor import Actor
from pointsman.contracts.base import encode
from pointsman.contracts.errors import PointsmanError, from_validation, invalid, overloaded, unavailable
from pointsman.contracts.lifecycle import IllegalTransition
from pointsman.contracts.subjects import (
    HEADER_ERROR,
    HEADER_ERROR_CODE,
    HEADER_JOB,
    HEADER_OPERATION,
    HEADER_REQUEST_ID,
    QUEUE_GROUP,
    verb,
)
from pointsman.services.runtime.audit import Audited, Notes, entry_of, keep
from pointsman.services.runtime.clock import SystemClock

log = structlog.get_logger()

CONCURRENCY_MAX = 256
DRAIN_S = 10.0
SLOWEST_ANSWER_S = 60.0
OPERATION_LENGTH_MAX = 255


def decode[T](decoder: msgspec.json.Decoder[T], data: bytes) -> T:
    """Raises 400 also for what msgspec does not report as its own error."""
    try:
        return decoder.decode(data)
    except UnicodeDecodeError:
        raise invalid("body", "is not UTF-8") from None
    except RecursionError:
        raise invalid("body", "is nested too deeply") from None


@dataclass(frozen=True, slots=True)
class Call:
    """One request as a handler sees it."""

    actor: Actor
    data: bytes
    headers: dict[str, str]
    notes: Notes = field(default_factory=Notes)

    def decode[T](self, decoder: msgspec.json.Decoder[T]) -> T:
        return decode(decoder, self.data)

    @property
    def operation(self) -> str:
        """The caller's own name for this act, by which it is known again when it is sent twice; may be empty."""
        return self.headers.get(HEADER_OPERATION, "")[:OPERATION_LENGTH_MAX]


@dataclass(frozen=True, slots=True)
class Answer:
    data: bytes
    headers: dict[str, str] = field(default_factory=dict)


VerbHandler = Callable[[Call], Awaitable[Answer | msgspec.Struct]]


@dataclass(frozen=True, slots=True)
class Verb:
    """One verb of a service; at most `concurrency` requests run at once, the next is told 429.

    `audit`: every call leaves one entry in the audit trail, whether it was done, denied or failed.
    """

    name: str
    handle: VerbHandler
    concurrency: int = CONCURRENCY_MAX
    audit: Audited | None = None


class Serving:
    """The running endpoints of one service in this process."""

    def __init__(self, bus: Bus, service: Service, tasks: set[asyncio.Task[None]]) -> None:
        self._bus = bus
        self._service = service
        self._tasks = tasks

    async def drain(self) -> None:
        """Take no more requests, answer those already taken (nobody can hear them without a bus), leave discovery."""
        await self._service.drain()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=DRAIN_S if self._bus.is_connected else 0)
        await self._service.stop()


async def serve(bus: Bus, service: str, version: str, verbs: Sequence[Verb]) -> Serving:
    """Answer `pointsman.<service>.<verb>` as one of the replicas of the service."""
    tasks: set[asyncio.Task[None]] = set()
    endpoints = [
        Endpoint(v.name.replace(".", "-"), verb(service, v.name), _handler(bus, service, v, tasks)) for v in verbs
    ]
    handle = await bus.add_service(service, version, endpoints, queue=QUEUE_GROUP, metadata={"schema": "API.md"})
    return Serving(bus, handle, tasks)


def _handler(
    bus: Bus, service: str, verb: Verb, tasks: set[asyncio.Task[None]]
) -> Callable[[Message], Awaitable[None]]:
    mine: set[asyncio.Task[None]] = set()

    async def handle(message: Message) -> None:
        if len(mine) >= verb.concurrency:
            await _refuse(bus, message, overloaded(f"{verb.name}: {verb.concurrency} requests are running", 1))
            return
        task = asyncio.create_task(_run(bus, service, verb, message))
        for owned in (mine, tasks):
            owned.add(task)
            task.add_done_callback(owned.discard)

    return handle


async def _run(bus: Bus, service: str, verb: Verb, message: Message) -> None:
    with bound_contextvars(request_id=message.headers.get(HEADER_REQUEST_ID, "")):
        await _reply(bus, service, verb, message)


async def _reply(bus: Bus, service: str, verb: Verb, message: Message) -> None:
    try:
        answer = await _recorded(bus, service, verb, message)
        await bus.publish(message.reply, answer.data, answer.headers or None)
    except PointsmanError as error:
        await _refuse(bus, message, error)
    except BusError as error:
        log.warning("answer not sent", verb=verb.name, error=str(error))
    except Exception:
        log.exception("request failed", verb=verb.name)
        await _refuse(bus, message, PointsmanError(500, "internal error"))


async def _recorded(bus: Bus, service: str, verb: Verb, message: Message) -> Answer:
    """The answer, with the act in the audit trail before it is given. A step of a job was recorded with the job."""
    notes = Notes()
    if verb.audit is None or HEADER_JOB in message.headers:
        return await _answer(verb, message, notes)
    error: PointsmanError | None = PointsmanError(500, "internal error")
    try:
        answer = await _answer(verb, message, notes)
        error = None
    except PointsmanError as refusal:
        error = refusal
        raise
    finally:
        actor = _caller(message)
        if _is_told(verb.audit, actor, notes, error):
            now_ms = SystemClock().now_ms()
            await keep(bus, entry_of(f"{service}.{verb.name}", actor, message.data, notes, error, now_ms))
    return answer


def _is_told(audit: Audited, actor: Actor, notes: Notes, error: PointsmanError | None) -> bool:
    """A known caller who is denied is always written down."""
    if error is not None and error.status in (401, 403):
        return bool(actor.sub) or audit.when(actor)
    return audit.when(actor) and not notes.is_plan


def _caller(message: Message) -> Actor:
    try:
        return actor_of(message)
    except PointsmanError:
        return Actor(sub="")


async def _answer(verb: Verb, message: Message, notes: Notes) -> Answer:
    actor = actor_of(message)
    try:
        async with asyncio.timeout(SLOWEST_ANSWER_S):
            answer = await verb.handle(Call(actor, message.data, dict(message.headers), notes))
    except (msgspec.ValidationError, msgspec.DecodeError) as error:
        raise from_validation(error) from None
    except IllegalTransition as error:
        raise PointsmanError(409, str(error), slug="conflict") from None
    except (TimeoutError, BusError) as error:
        raise unavailable(f"{verb.name}: a dependency did not answer ({error or 'timeout'})") from error
    return answer if isinstance(answer, Answer) else Answer(encode(answer))


async def _refuse(bus: Bus, message: Message, error: PointsmanError) -> None:
    headers = {HEADER_ERROR_CODE: str(error.status), HEADER_ERROR: _one_line(error.detail)}
    try:
        await bus.publish(message.reply, encode(error.problem()), headers)
    except BusError as failure:
        log.warning("refusal not sent", error=str(failure))


def _one_line(text: str) -> str:
    return text.replace("\r", " ").replace("\n", " ").encode("ascii", "replace").decode()[:200]
