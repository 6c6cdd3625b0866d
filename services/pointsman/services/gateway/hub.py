"""All events and the lives of single tasks, for all who read them here: heard once, framed once."""

import asyncio

from pointsman.client.bus import BusError
from pointsman.client.events import Lives
from pointsman.contracts.errors import unavailable
from pointsman.contracts.events import TaskEvent
from pointsman.services.gateway.sink import Sink, Sinks
from pointsman.services.gateway.sse import framed, more, notice
from pointsman.services.gateway.view_hub import ViewHub
from pointsman.services.runtime.context import Context
from pointsman.services.runtime.feed import Batch, Cursor, Feed, missed

READERS_MAX = 1_000
CATCH_UPS_MAX = 8


class Hub:
    """The feed's one reader, which gives each batch to all streams in one go.

    `closing` is set when the gateway stops, for the streams that do not come from here.
    """

    def __init__(self, context: Context) -> None:
        self._bus = bus = context.bus
        self._clock = context.clock
        self._kept_ms = context.settings.result_ttl_s * 1000
        self._feed = Feed(bus, rendered)
        self._sinks = Sinks(READERS_MAX)
        self._changing = asyncio.Lock()
        self._catching_up = asyncio.Semaphore(CATCH_UPS_MAX)
        self.lives = Lives(bus)
        self.view = ViewHub(bus)
        self.closing = asyncio.Event()

    def __len__(self) -> int:
        return len(self._sinks)

    async def join(self, sink: Sink) -> Cursor:
        """Give it all that comes from now on; how far all had been told by then. Raises 503."""
        self._sinks.add(sink)
        try:
            async with self._changing:
                return await self._feed.join(self)
        except BaseException as error:
            await self.leave(sink)
            if isinstance(error, BusError):
                raise unavailable("what happens to tasks cannot be heard at the moment") from error
            raise

    async def leave(self, sink: Sink) -> None:
        self._sinks.discard(sink)
        async with self._changing:
            if not self._sinks:
                await self._feed.leave(self)

    async def missed(self, since: Cursor) -> tuple[list[bytes], Cursor]:
        """Few at a time: after a restart all readers come back at once. Raises 503."""
        async with self._catching_up:
            return await missed(self._bus, since, rendered, whole_from=self._clock.now_ms() - self._kept_ms)

    def take(self, batch: Batch[bytes]) -> None:
        self._sinks.tell(more(b"".join(frame for _, frame in batch)), batch)

    def lose(self, why: str) -> None:
        self._sinks.lose(why)

    def stop(self) -> None:
        """End every stream, so that its client comes back elsewhere."""
        self.closing.set()
        self.view.stop()
        self.lose("shutdown")


def rendered(cursor: str, event: TaskEvent | None) -> bytes:
    return notice("gap", "not-all-can-be-told") if event is None else framed(cursor, event)
