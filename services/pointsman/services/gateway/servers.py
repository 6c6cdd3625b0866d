"""What the server routes do beyond asking: registration's statuses, the credential of a heartbeat, drains."""

import msgspec

from pointsman.client.bus import Message
from pointsman.client.call import call
from pointsman.contracts.base import Request, encode
from pointsman.contracts.server import ServerId
from pointsman.contracts.subjects import HEADER_REVISION, HEADER_SERVER_CREDENTIAL, HEADER_STATUS, verb
from pointsman.services.gateway.asking import answered, call_unwrapped, call_within
from pointsman.services.gateway.conditions import etag, if_match, operation
from pointsman.services.gateway.intake import one_json_value
from pointsman.services.gateway.reply import Reply
from pointsman.services.gateway.route import Incoming, Ports

REGISTER = verb("registry", "register")
GET = verb("registry", "get")
HEARTBEAT = verb("registry", "heartbeat")
MAINTAIN = verb("registry", "maintenance")
MAINTAIN_MANY = verb("registry", "maintain-many")
CHANGE = verb("registry", "change")
UNREGISTER = verb("registry", "unregister")
METRICS = verb("registry", "metrics")


class DrainQuery(Request):
    drain: bool = False


class WindowQuery(Request):
    """A duration such as `5m` or `1h`."""

    window: str | None = None


class _Registered(msgspec.Struct, rename="camel"):
    server_id: str


_REGISTERED = msgspec.json.Decoder(_Registered)


async def register(ports: Ports, incoming: Incoming) -> Reply:
    """201 when the server is new, 200 when it was known; the registry says which."""
    revision = if_match(incoming.headers)
    data = b'{"server":%b,"ifMatch":%b}' % (
        one_json_value(incoming.body),
        b"null" if revision is None else str(revision).encode(),
    )
    answer = await call_unwrapped(ports, incoming, REGISTER, data, "server")
    registered = answered(_REGISTERED, answer)
    headers = [
        (b"location", b"/api/servers/" + registered.server_id.encode()),
        *_tag(answer.headers.get(HEADER_REVISION)),
    ]
    return Reply(_status(answer, 201), answer.data, headers)


async def get(ports: Ports, incoming: Incoming) -> Reply:
    answer = await call(ports.bus, GET, encode(ServerId(id=incoming.id)), incoming.actor)
    return Reply(200, answer.data, _tag(answer.headers.get(HEADER_REVISION)))


async def heartbeat(ports: Ports, incoming: Incoming) -> Reply:
    headers = {HEADER_SERVER_CREDENTIAL: incoming.credential} if incoming.credential else None
    answer = await call_within(ports, incoming, HEARTBEAT, "heartbeat", headers=headers)
    return Reply(200, answer.data)


async def maintain(ports: Ports, incoming: Incoming) -> Reply:
    answer = await _ask_guarded(ports, incoming, MAINTAIN, "maintenance")
    return Reply(200, answer.data)


async def maintain_many(ports: Ports, incoming: Incoming) -> Reply:
    headers = operation(incoming.headers)
    answer = await call(ports.bus, MAINTAIN_MANY, incoming.body, incoming.actor, headers=headers)
    return Reply(200, answer.data)


async def change(ports: Ports, incoming: Incoming) -> Reply:
    answer = await _ask_guarded(ports, incoming, CHANGE, "change")
    return Reply(200, answer.data, _tag(answer.headers.get(HEADER_REVISION)))


async def _ask_guarded(ports: Ports, incoming: Incoming, subject: str, field: str) -> Message:
    revision = if_match(incoming.headers)
    data = b'{"id":"%b","%b":%b,"ifMatch":%b}' % (
        incoming.id.encode(),
        field.encode(),
        one_json_value(incoming.body),
        b"null" if revision is None else str(revision).encode(),
    )
    return await call_unwrapped(ports, incoming, subject, data, field, headers=operation(incoming.headers))


async def unregister(ports: Ports, incoming: Incoming) -> Reply:
    """202 while the server still finishes what it runs."""
    assert isinstance(incoming.query, DrainQuery)
    argument = ServerId(id=incoming.id, drain=incoming.query.drain, if_match=if_match(incoming.headers))
    headers = operation(incoming.headers)
    answer = await call(ports.bus, UNREGISTER, encode(argument), incoming.actor, headers=headers)
    return Reply(_status(answer, 200), answer.data)


async def metrics(ports: Ports, incoming: Incoming) -> Reply:
    assert isinstance(incoming.query, WindowQuery)
    argument = ServerId(id=incoming.id, window=incoming.query.window)
    answer = await call(ports.bus, METRICS, encode(argument), incoming.actor)
    return Reply(200, answer.data)


def _tag(revision: str | None) -> list[tuple[bytes, bytes]]:
    return [(b"etag", etag(revision))] if revision else []


def _status(answer: Message, usual: int) -> int:
    """The success status that the service chose, where there is more than one."""
    return int(answer.headers.get(HEADER_STATUS, usual))
