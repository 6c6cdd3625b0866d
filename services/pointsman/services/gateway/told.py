"""An answer that a hub writes to: joined before its head is sent, so that nothing is missed and a refusal is a status."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

from litestar.types import Receive, Scope, Send

from pointsman.client.bus import BusError
from pointsman.contracts.errors import PointsmanError
from pointsman.services.gateway.sink import GONE, Sink
from pointsman.services.gateway.sse import EXPIRED, EventStream, close, disconnected, more
from pointsman.services.runtime.feed import Cursor

type CatchUp = Callable[[Send], Awaitable[Cursor | None]]
"""Writes what came before; how far the reader is then."""


class Source(Protocol):
    async def leave(self, sink: Sink) -> None: ...


@dataclass(slots=True, kw_only=True)
class Told(EventStream):
    """`sink` has joined `source`, and leaves it with the connection."""

    sink: Sink
    source: Source
    greeting: bytes
    catch_up: CatchUp

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            if await self.begin(scope, send):
                await self._stream(receive, send)
        finally:
            self.sink.close()
            await self.source.leave(self.sink)

    async def _stream(self, receive: Receive, send: Send) -> None:
        sink = self.sink
        starting = asyncio.create_task(self._start(send))
        leaving = asyncio.create_task(disconnected(receive))
        leaving.add_done_callback(lambda _: sink.lose(GONE))
        starting.add_done_callback(self._end_if_broken)
        try:
            async with asyncio.timeout(self.lives_s):
                await asyncio.shield(sink.ended)
        except TimeoutError:
            sink.lose(EXPIRED)
        finally:
            for task in (starting, leaving):
                task.cancel()
            await asyncio.wait((starting, leaving))
        if not starting.cancelled():
            starting.result()
        why = sink.ended.result()
        sink.close()
        if why != GONE:
            await close(send, why)

    async def _start(self, send: Send) -> None:
        """Greet, tell what was missed, and let the source do the rest."""
        try:
            await send(more(self.greeting))
            self.sink.release(send, await self.catch_up(send))
        except PointsmanError as error:
            self.sink.lose(error.slug)
        except BusError:
            self.sink.lose("unavailable")
        except TimeoutError:
            self.sink.lose("slow-reader")
        except OSError:
            self.sink.lose(GONE)

    def _end_if_broken(self, starting: asyncio.Task[None]) -> None:
        if not starting.cancelled() and starting.exception() is not None:
            self.sink.lose(GONE)
