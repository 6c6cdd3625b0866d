"""Who listens to a stream of the gateway, without a socket between: reads, pauses, hangs up."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from pointsman.client.wait import until_terminal
from pointsman.contracts.actor import Actor
from pointsman.services.gateway.hub import Hub
from pointsman.services.gateway.reply import Reply
from pointsman.services.gateway.route import Incoming, Ports
from pointsman.services.gateway.sse import EventStream
from pointsman.services.runtime.clock import Clock

WITHIN_S = 30.0

type Act = Callable[[Ports, Incoming], Awaitable[Reply]]


class Listener:
    """Takes nothing while `reads` is not set."""

    def __init__(self) -> None:
        self.reads = asyncio.Event()
        self.reads.set()
        self.status = 0
        self._bodies: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._gone = asyncio.Event()

    async def send(self, message: Any) -> None:
        await self.reads.wait()
        if message["type"] == "http.response.start":
            self.status = message["status"]
            return
        self._bodies.put_nowait(message["body"])
        if not message.get("more_body"):
            self._bodies.put_nowait(None)

    async def receive(self) -> Any:
        await self._gone.wait()
        return {"type": "http.disconnect"}

    def hang_up(self) -> None:
        self._gone.set()

    async def next(self) -> bytes | None:
        """What is written next, None at the end."""
        async with asyncio.timeout(WITHIN_S):
            return await self._bodies.get()

    async def rest(self) -> bytes:
        found = b""
        while (body := await self.next()) is not None:
            found += body
        return found


@asynccontextmanager
async def listening(
    hub: Hub,
    clock: Clock,
    act: Act,
    actor: Actor,
    *,
    headers: dict[bytes, bytes] | None = None,
    method: str = "GET",
    lives_s: float | None = None,
) -> AsyncIterator[Listener]:
    """Raises what the act refuses with; hangs up at the end and waits until the gateway has noticed."""
    incoming = Incoming(actor=actor, request_id="r", id="", query=None, headers=headers or {})
    reply = await act(Ports(hub_bus(hub), clock, until_terminal, hub), incoming)
    assert isinstance(reply, EventStream)
    reply.lives_s = lives_s
    listener = Listener()
    scope: Any = {"type": "http", "method": method}
    serving = asyncio.create_task(_served(reply, scope, listener))
    try:
        yield listener
    finally:
        listener.hang_up()
        listener.reads.set()
        async with asyncio.timeout(WITHIN_S):
            await serving


async def _served(reply: Reply, scope: Any, listener: Listener) -> None:
    await reply(scope, listener.receive, listener.send)


def hub_bus(hub: Hub) -> Any:
    return hub._bus
