"""The feed of all events as server-sent events, framed once for all who read."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing

from pointsman.client.bus import Bus
from pointsman.contracts.errors import PointsmanError
from pointsman.contracts.events import TaskEvent
from pointsman.services.gateway.sse import HEARTBEAT, framed, notice, too_many
from pointsman.services.gateway.view_hub import ViewHub
from pointsman.services.runtime.feed import Cursor, Feed, Interrupted

READERS_MAX = 1_000


class Hub:
    """`closing` is set when the gateway stops, for the streams that do not come from here."""

    def __init__(self, bus: Bus) -> None:
        self._feed = Feed(bus, rendered)
        self.view = ViewHub(bus)
        self.closing = asyncio.Event()

    async def frames(self, since: Cursor | None) -> AsyncIterator[bytes]:
        """What was missed `since` (None: nothing), then all that comes."""
        yield b": pointsman events\n\n"
        try:
            async with aclosing(self._feed.follow(since)) as told:
                async for frames in told:
                    yield b"".join(frames) or HEARTBEAT
        except Interrupted as error:
            yield notice("interrupted", str(error))
        except PointsmanError as error:
            yield notice("interrupted", error.slug)

    def check_room(self) -> None:
        """Raises 503 when so many read already."""
        if self._feed.readers >= READERS_MAX:
            raise too_many(READERS_MAX)

    def stop(self) -> None:
        """End every stream, so that its client comes back elsewhere."""
        self.closing.set()
        self.view.stop()
        self._feed.stop()


def rendered(cursor: str, event: TaskEvent | None) -> bytes:
    return notice("gap", "too-much-was-missed") if event is None else framed(cursor, event)
