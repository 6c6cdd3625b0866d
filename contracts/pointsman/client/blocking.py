"""Asking without an event loop, for programs that ask once and end: importing one costs more than the answer.

A blocking bus is a `Bus` whose coroutines never wait for a loop, so `run` drives them to their end.
"""

import time
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from pointsman.client.bus import (
    Bus,
    BusError,
    BusTimeout,
    Endpoint,
    Handler,
    Headers,
    Message,
    NoResponders,
    Service,
    Subscription,
)
from pointsman.client.identity import answer_of, identity
from pointsman.contracts.actor import Actor
from pointsman.contracts.errors import unavailable
from pointsman.contracts.subjects import REPEATABLE

ABSENT_TRIES = 20
ABSENT_PAUSE_S = 0.1


class Blocking:
    """The parts of a `Bus` that need a loop: asked for, they say so."""

    timeout_s: float = 10.0

    async def request(
        self, subject: str, data: bytes, *, headers: Headers | None = None, timeout_s: float = 5.0
    ) -> Message:
        raise NotImplementedError

    async def close(self) -> None:
        raise NotImplementedError

    @property
    def is_connected(self) -> bool:
        return True

    @property
    def round_trip_url(self) -> str:
        return ""

    async def publish(self, subject: str, data: bytes, headers: Headers | None = None, reply: str = "") -> None:
        raise _loopless("publish")

    async def subscribe(self, subject: str, handler: Handler, *, queue: str = "") -> Subscription:
        raise _loopless("subscribe")

    def new_inbox(self) -> str:
        raise _loopless("subscribe")

    async def barrier(self) -> None:
        raise _loopless("subscribe")

    def on_reconnect(self, callback: Callable[[], None]) -> Callable[[], None]:
        raise _loopless("reconnect")

    async def add_service(
        self, name: str, version: str, endpoints: Sequence[Endpoint], *, queue: str, metadata: Headers
    ) -> Service:
        raise _loopless("serve")


def _loopless(what: str) -> BusError:
    return BusError(f"a blocking connection cannot {what}")


def run[T](work: Coroutine[Any, Any, T]) -> T:
    """The result of a coroutine that only awaits a blocking bus."""
    try:
        work.send(None)
    except StopIteration as done:
        result: T = done.value
        return result
    work.close()
    raise RuntimeError("a blocking call waited for an event loop")


def pause(seconds: float) -> None:
    """What a coroutine that `run` drives may do instead of sleeping."""
    time.sleep(seconds)


async def call(bus: Bus, subject: str, data: bytes, actor: Actor, *, headers: dict[str, str] | None = None) -> Message:
    """As `pointsman.client.call.call`: what was surely not executed is tried again for 2 s; raises its errors."""
    sent = identity(actor) | (headers or {})
    timeout_s = bus.timeout_s if isinstance(bus, Blocking) else Blocking.timeout_s
    for tries_left in reversed(range(ABSENT_TRIES)):
        try:
            return answer_of(await bus.request(subject, data, headers=sent, timeout_s=timeout_s))
        except NoResponders:
            if not tries_left:
                raise unavailable(f"nobody answers {subject}") from None
        except BusTimeout:
            unknown = "" if subject in REPEATABLE else ": the outcome is unknown"
            raise BusTimeout(f"no answer on {subject} within {timeout_s:g} s{unknown}") from None
        pause(ABSENT_PAUSE_S)
    raise AssertionError
