"""What the task routes do beyond asking: waiting for the end, entity tags, idempotency keys."""

import msgspec

from pointsman.client.bus import Message
from pointsman.client.call import call
from pointsman.contracts.base import Request, encode
from pointsman.contracts.commands import CancelTask, RetryTask
from pointsman.contracts.errors import PointsmanError, from_validation
from pointsman.contracts.ids import new_task_id
from pointsman.contracts.lifecycle import Status, is_terminal
from pointsman.contracts.subjects import HEADER_IDEMPOTENCY_KEY, HEADER_REPLAYED, HEADER_REVISION, HEADER_TASK_ID, verb
from pointsman.contracts.task import WAIT_S_MAX, CancelRequest, RetryCommand
from pointsman.services.gateway.asking import answered, identified
from pointsman.services.gateway.conditions import etag, idempotency_key, is_fresh, wait_s
from pointsman.services.gateway.reply import Reply
from pointsman.services.gateway.route import Incoming, Ports

CREATE = verb("task", "create")
GET = verb("task", "get")
CANCEL = verb("task", "cancel")
RETRY = verb("task", "retry")


class TokenQuery(Request):
    """The token of an attempt, as `callback_url` carries it."""

    token: str | None = None


class _Head(msgspec.Struct):
    id: str
    status: Status


class _Manner(msgspec.Struct):
    is_async: bool = msgspec.field(name="async", default=True)


_HEAD = msgspec.json.Decoder(_Head)
_MANNER = msgspec.json.Decoder(_Manner)
_CANCEL = msgspec.json.Decoder(CancelRequest)
_RETRY = msgspec.json.Decoder(RetryCommand)


async def submit(ports: Ports, incoming: Incoming) -> Reply:
    """202 as soon as the task is safe; 200 with its end, if the client waits and it comes in time."""
    key = idempotency_key(incoming.headers)
    named = {HEADER_TASK_ID: new_task_id(ports.clock.now_ms())}
    answer = await call(
        ports.bus,
        CREATE,
        incoming.body,
        incoming.actor,
        headers=named | {HEADER_IDEMPOTENCY_KEY: key} if key else named,
    )
    head = answered(_HEAD, answer)
    headers = [(b"location", b"/api/task/" + head.id.encode())]
    if answer.headers.get(HEADER_REPLAYED):
        headers.append((b"idempotency-replayed", b"true"))
    preferred_s = wait_s(incoming.headers)
    if preferred_s is not None:
        headers.append(_applied(preferred_s))
    if patience_s := _patience_s(incoming, preferred_s):
        answer, head = await _awaited(ports, incoming, answer, head, patience_s)
        return Reply(200 if is_terminal(head.status) else 202, answer.data, headers + _tag(answer))
    return Reply(202, answer.data, headers + _tag(answer))


async def get(ports: Ports, incoming: Incoming) -> Reply:
    preferred_s = wait_s(incoming.headers)
    if preferred_s:
        incoming.waited = True
        answer = await ports.until_terminal(ports.bus, incoming.actor, incoming.id, preferred_s)
    else:
        answer = await call(ports.bus, GET, identified(incoming), incoming.actor)
    headers = _tag(answer)
    if preferred_s is not None:
        headers.append(_applied(preferred_s))
    if is_fresh(incoming.headers, answer.headers.get(HEADER_REVISION, "")):
        return Reply(304, b"", headers)
    return Reply(200, answer.data, headers)


async def cancel(ports: Ports, incoming: Incoming) -> Reply:
    """Also of DELETE, which has no body."""
    given = _strictly(_CANCEL, incoming.body) if incoming.body else CancelRequest()
    asked = CancelTask(id=incoming.id, reason=given.reason, generation=given.generation)
    answer = await call(ports.bus, CANCEL, encode(asked), incoming.actor)
    return Reply(200, answer.data)


async def retry(ports: Ports, incoming: Incoming) -> Reply:
    asked = RetryTask(id=incoming.id, generation=_strictly(_RETRY, incoming.body).generation)
    answer = await call(ports.bus, RETRY, encode(asked), incoming.actor)
    return Reply(202, answer.data)


def _patience_s(incoming: Incoming, preferred_s: int | None) -> int:
    """How long to wait: what the client prefers, else 30 s for a synchronous task, else not at all."""
    if preferred_s is not None:
        return preferred_s
    try:
        return 0 if _MANNER.decode(incoming.body).is_async else WAIT_S_MAX
    except msgspec.DecodeError:
        return 0


async def _awaited(
    ports: Ports, incoming: Incoming, accepted: Message, head: _Head, patience_s: int
) -> tuple[Message, _Head]:
    """The task's end or last state. It is safe already: whatever fails while waiting, its acceptance stands."""
    if is_terminal(head.status):
        return accepted, head
    incoming.waited = True
    try:
        answer = await ports.until_terminal(ports.bus, incoming.actor, head.id, patience_s)
    except PointsmanError:
        return accepted, head
    return answer, answered(_HEAD, answer)


def _strictly[T](decoder: msgspec.json.Decoder[T], body: bytes) -> T:
    try:
        return decoder.decode(body)
    except msgspec.DecodeError as error:
        raise from_validation(error) from None


def _tag(answer: Message) -> list[tuple[bytes, bytes]]:
    revision = answer.headers.get(HEADER_REVISION, "")
    return [(b"etag", etag(revision))] if revision else []


def _applied(seconds: int) -> tuple[bytes, bytes]:
    return b"preference-applied", b"wait=%d" % seconds
