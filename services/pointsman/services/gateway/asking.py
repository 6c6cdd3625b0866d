"""The plain action: ask one verb, hand its answer's bytes back; and the arguments that such a verb takes."""

from collections.abc import Callable

import msgspec

from pointsman.client.bus import Message
from pointsman.client.call import call
from pointsman.contracts.base import encode
from pointsman.contracts.errors import FieldError, PointsmanError
from pointsman.contracts.subjects import verb
from pointsman.services.gateway.intake import one_json_value
from pointsman.services.gateway.reply import Reply
from pointsman.services.gateway.route import Act, Incoming, Ports

Argument = Callable[[Incoming], bytes]


def ask(service: str, name: str, argument: Argument, *, status: int = 200) -> Act:
    subject = verb(service, name)

    async def act(ports: Ports, incoming: Incoming) -> Reply:
        answer = await call(ports.bus, subject, argument(incoming), incoming.actor)
        return Reply(status, answer.data)

    return act


def ask_within(service: str, name: str, field: str, *, status: int = 200) -> Act:
    """Ask a verb whose argument is the path's id and, under `field`, the body."""

    async def act(ports: Ports, incoming: Incoming) -> Reply:
        answer = await call_within(ports, incoming, verb(service, name), field)
        return Reply(status, answer.data)

    return act


async def call_within(
    ports: Ports, incoming: Incoming, subject: str, field: str, *, headers: dict[str, str] | None = None
) -> Message:
    data = b'{"id":"%b","%b":%b}' % (incoming.id.encode(), field.encode(), one_json_value(incoming.body))
    return await call_unwrapped(ports, incoming, subject, data, field, headers=headers)


async def call_unwrapped(
    ports: Ports, incoming: Incoming, subject: str, data: bytes, field: str, *, headers: dict[str, str] | None = None
) -> Message:
    """Ask with the body under `field`; a refusal names fields as the client wrote them, without that prefix."""
    try:
        return await call(ports.bus, subject, data, incoming.actor, headers=headers)
    except PointsmanError as error:
        raise _unwrapped(error, f"{field}.") from None


def body(incoming: Incoming) -> bytes:
    return incoming.body


def nothing(_incoming: Incoming) -> bytes:
    return b"{}"


def identified(incoming: Incoming) -> bytes:
    return b'{"id":"%b"}' % incoming.id.encode()


def queried(incoming: Incoming) -> bytes:
    """The query parameters as they are the verb's argument."""
    return encode(incoming.query) if incoming.query is not None else b"{}"


def _unwrapped(error: PointsmanError, prefix: str) -> PointsmanError:
    if not any(entry.field.startswith(prefix) for entry in error.errors):
        return error
    return PointsmanError(
        error.status,
        error.detail.removeprefix(prefix),
        slug=error.slug,
        errors=tuple(
            FieldError(field=entry.field.removeprefix(prefix), message=entry.message) for entry in error.errors
        ),
        retry_after_s=error.retry_after_s,
    )


def answered[T](decoder: msgspec.json.Decoder[T], message: Message) -> T:
    """The part of a service's answer that an HTTP status or header needs; a bug of ours if it is not there."""
    return decoder.decode(message.data)
