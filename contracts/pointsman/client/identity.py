"""Who asks and what is answered, as headers and problems say it; the same for every way of asking."""

import msgspec

from pointsman.client.bus import Message
from pointsman.contracts.actor import Actor, Role
from pointsman.contracts.errors import PointsmanError, Problem, unauthorized
from pointsman.contracts.subjects import (
    HEADER_ATTEMPT_TOKEN,
    HEADER_ERROR_CODE,
    HEADER_REQUEST_ID,
    HEADER_ROLES,
    HEADER_SUB,
    HEADER_TRACE,
)
from pointsman.contracts.trace import accepted

_PROBLEM = msgspec.json.Decoder(Problem)


def identity(actor: Actor) -> dict[str, str]:
    headers = {HEADER_SUB: actor.sub, HEADER_ROLES: ",".join(actor.roles)}
    if actor.request_id:
        headers[HEADER_REQUEST_ID] = actor.request_id
    if actor.trace:
        headers[HEADER_TRACE] = actor.trace
    if actor.attempt_token:
        headers[HEADER_ATTEMPT_TOKEN] = actor.attempt_token
    return headers


def actor_of(message: Message) -> Actor:
    """The caller of a request; raises 401 when it does not say who it is."""
    headers = message.headers
    sub = headers.get(HEADER_SUB, "")
    token = headers.get(HEADER_ATTEMPT_TOKEN) or None
    if not sub and token is None:
        raise unauthorized(f"the header {HEADER_SUB} is missing")
    try:
        roles = tuple(Role(role) for role in headers.get(HEADER_ROLES, "").split(",") if role)
    except ValueError as error:
        raise unauthorized(str(error)) from None
    trace = accepted(headers[HEADER_TRACE]) if HEADER_TRACE in headers else ""
    return Actor(sub=sub, roles=roles, attempt_token=token, request_id=headers.get(HEADER_REQUEST_ID, ""), trace=trace)


def answer_of(message: Message) -> Message:
    """The message itself, or the problem it carries raised."""
    if HEADER_ERROR_CODE in message.headers:
        raise problem_of(message)
    return message


def problem_of(message: Message) -> PointsmanError:
    try:
        return PointsmanError.from_problem(_PROBLEM.decode(message.data))
    except msgspec.MsgspecError:
        return PointsmanError(int(message.headers[HEADER_ERROR_CODE]), "the service answered without a reason")
