"""One request to a service: identity in headers, problems raised as `PointsmanError`, nothing retried blindly."""

import asyncio

from pointsman.client.bus import Bus, BusDown, BusTimeout, Message, NoResponders
from pointsman.client.identity import actor_of, answer_of, identity, problem_of
from pointsman.contracts.actor import Actor
from pointsman.contracts.errors import unavailable
from pointsman.contracts.subjects import HEADER_TASK_ID, REPEATABLE

ABSENT_RETRY_S = 0.05
ABSENT_BUDGET_S = 2.0
REPEAT_S = 5.0
__all__ = ["REPEAT_S", "actor_of", "answer_of", "call", "identity", "problem_of"]


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
