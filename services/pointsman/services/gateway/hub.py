"""All events and the lives of single tasks, for all who read them here: heard once, framed once."""

import asyncio
from dataclasses import dataclass, field
from functools import partial

from litestar.types import HTTPResponseBodyEvent, Receive, Scope, Send

from pointsman.client.bus import Bus, BusError
from pointsman.client.events import Lives
from pointsman.contracts.errors import PointsmanError
from pointsman.contracts.events import TaskEvent
from pointsman.services.gateway.sink import GONE, Sink
from pointsman.services.gateway.sse import (
    HEARTBEAT,
    WRITE_S,
    EventStream,
    close,
    disconnected,
    framed,
    more,
    notice,
    too_many,
)
from pointsman.services.gateway.view_hub import ViewHub
from pointsman.services.runtime.feed import SILENCE_S, Batch, Cursor, Feed, missed

READERS_MAX = 1_000
CATCH_UPS_MAX = 8
CATCH_UP_FRAMES = 500
GREETING = more(b": pointsman events\n\n")
BEAT = more(HEARTBEAT)


class Hub:
    """The feed's one reader, which gives each batch to all streams in one go.

    `closing` is set when the gateway stops, for the streams that do not come from here.
    """

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._feed = Feed(bus, rendered)
        self._sinks: set[Sink] = set()
        self._changing = asyncio.Lock()
        self._catching_up = asyncio.Semaphore(CATCH_UPS_MAX)
        self._silence: asyncio.TimerHandle | None = None
        self.lives = Lives(bus)
        self.view = ViewHub(bus)
        self.closing = asyncio.Event()

    async def join(self, sink: Sink) -> Cursor:
        """Give it all that comes from now on; how far all had been told by then."""
        async with self._changing:
            self._sinks.add(sink)
            if self._silence is None:
                self._expect()
            return await self._feed.join(self)

    async def leave(self, sink: Sink) -> None:
        async with self._changing:
            self._sinks.discard(sink)
            if not self._sinks:
                if self._silence is not None:
                    self._silence.cancel()
                    self._silence = None
                await self._feed.leave(self)

    async def missed(self, since: Cursor) -> tuple[list[bytes], Cursor]:
        """Few at a time: after a restart all readers come back at once. Raises 503."""
        async with self._catching_up:
            return await missed(self._bus, since, rendered)

    def take(self, batch: Batch[bytes]) -> None:
        self._tell(more(b"".join(frame for _, frame in batch)), batch)

    def lose(self, why: str) -> None:
        for sink in tuple(self._sinks):
            sink.lose(why)

    def check_room(self) -> None:
        """Raises 503 when so many read already."""
        if len(self._sinks) >= READERS_MAX:
            raise too_many(READERS_MAX)

    def stop(self) -> None:
        """End every stream, so that its client comes back elsewhere."""
        self.closing.set()
        self.view.stop()
        self.lose("shutdown")

    def _tell(self, message: HTTPResponseBodyEvent, batch: Batch[bytes]) -> None:
        if self._silence is not None:
            self._silence.cancel()
            self._expect()
        for sink in tuple(self._sinks):
            sink.take(message, batch)

    def _expect(self) -> None:
        self._silence = asyncio.get_running_loop().call_later(SILENCE_S, self._tell, BEAT, [])


@dataclass(slots=True, kw_only=True)
class Everything(EventStream):
    """What was missed `since` (None: nothing), then all that comes."""

    hub: Hub
    since: Cursor | None = field(default=None)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if not await self.begin(scope, send):
            return
        sink = Sink(send)
        feeding = asyncio.create_task(self._feed(sink, send))
        leaving = asyncio.create_task(disconnected(receive))
        leaving.add_done_callback(lambda _: sink.lose(GONE))
        feeding.add_done_callback(partial(_end_if_broken, sink))
        try:
            await sink.ended
        finally:
            for task in (feeding, leaving):
                task.cancel()
            await asyncio.wait((feeding, leaving))
            sink.close()
            await self.hub.leave(sink)
        if not feeding.cancelled():
            feeding.result()
        if sink.ended.result() != GONE:
            await close(send, sink.ended.result())

    async def _feed(self, sink: Sink, send: Send) -> None:
        """Greet, tell what was missed, and let the hub do the rest."""
        try:
            read = await self.hub.join(sink)
            await send(GREETING)
            if self.since is not None:
                frames, read = await self.hub.missed(self.since)
                for start in range(0, len(frames), CATCH_UP_FRAMES):
                    async with asyncio.timeout(WRITE_S):
                        await send(more(b"".join(frames[start : start + CATCH_UP_FRAMES])))
            sink.release(read)
        except PointsmanError as error:
            sink.lose(error.slug)
        except BusError:
            sink.lose("unavailable")
        except TimeoutError:
            sink.lose("slow-reader")
        except OSError:
            sink.lose(GONE)


def _end_if_broken(sink: Sink, feeding: asyncio.Task[None]) -> None:
    if not feeding.cancelled() and feeding.exception() is not None:
        sink.lose(GONE)


def rendered(cursor: str, event: TaskEvent | None) -> bytes:
    return notice("gap", "too-much-was-missed") if event is None else framed(cursor, event)
