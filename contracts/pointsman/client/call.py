"""One request to a service: identity in headers, problems raised as `PointsmanError`, nothing retried blindly."""

import asyncio

import msgspec

from pointsman.client.bus import Bus, BusDown, BusTimeout, Message, NoResponders
from pointsman.contracts.actor import Actor, Role
from pointsman.contracts.errors import PointsmanError, Problem, unauthorized, unavailable
from pointsman.contracts.subjects import (
    HEADER_ATTEMPT_TOKEN,
    HEADER_ERROR_CODE,
    HEADER_REQUEST_ID,
    HEADER_ROLES,
    HEADER_SUB,
    HEADER_TASK_ID,
    HEADER_TRACE,
    REPEATABLE,
)
from pointsman.contracts.trace import accepted

ABSENT_RETRY_S = 0.05
ABSENT_BUDGET_S = 2.0
REPEAT_S = 5.0
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


async def call(
    bus: Bus,
    subject: str,
    data: bytes,
    actor: Actor,
    *,
    headers: dict[str, str] | None = None,
    timeout_s: float = 25.0,
) -> Message:
    """Ask one service. What was surely not executed is tried again for 2 s, what may be repeated every 5 s; else 503."""
    loop = asyncio.get_running_loop()
    sent = identity(actor) | (headers or {})
    may_repeat = subject in REPEATABLE or HEADER_TASK_ID in sent or actor.attempt_token is not None
    absent_until = loop.time() + ABSENT_BUDGET_S
    wait_s = min(REPEAT_S, timeout_s) if may_repeat else timeout_s
    tries_left = round(timeout_s / wait_s)
    while True:
        try:
            return answer_of(await bus.request(subject, data, headers=sent, timeout_s=wait_s))
        except NoResponders:
            if loop.time() > absent_until:
                raise unavailable(f"nobody answers {subject}") from None
        except BusTimeout:
            tries_left -= 1
            if tries_left <= 0:
                raise unavailable(f"no answer on {subject} within {timeout_s:g} s: the outcome is unknown") from None
        except BusDown:
            if not may_repeat or loop.time() > absent_until:
                raise unavailable("the message bus is not reachable") from None
        await asyncio.sleep(ABSENT_RETRY_S)
