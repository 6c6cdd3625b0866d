"""`GET /api/events`: everything that happens to tasks, from a cursor or from now on."""

import asyncio

from litestar.types import Send

from pointsman.contracts.base import Request
from pointsman.services.gateway.hub import Hub
from pointsman.services.gateway.reply import Reply
from pointsman.services.gateway.route import Incoming, Ports
from pointsman.services.gateway.sink import Sink
from pointsman.services.gateway.sse import WRITE_S, cursor_of, last_event_id, more
from pointsman.services.gateway.told import CatchUp, Told
from pointsman.services.runtime.feed import QUEUED_MAX, Cursor

PARTS = 2
CATCH_UP_FRAMES = 500
GREETING = b": pointsman events\n\n"


class EventQuery(Request):
    """`cursor` is an event's id; the header `Last-Event-ID`, which a client sends when it comes back, goes before it."""

    cursor: str | None = None


async def all_events(ports: Ports, incoming: Incoming) -> Reply:
    since = last_event_id(incoming.headers, PARTS)
    if since is None and isinstance(incoming.query, EventQuery) and incoming.query.cursor is not None:
        since = cursor_of("cursor", incoming.query.cursor, PARTS)
    incoming.waited = True
    sink = Sink(QUEUED_MAX)
    now = await ports.hub.join(sink)
    catch_up = _catch_up(ports.hub, now, Cursor(*since) if since is not None else None)
    return Told(200, sink=sink, source=ports.hub, greeting=GREETING, catch_up=catch_up)


def _catch_up(hub: Hub, now: Cursor, since: Cursor | None) -> CatchUp:
    """What was missed `since`; None: nothing."""

    async def write(send: Send) -> Cursor:
        if since is None:
            return now
        frames, read = await hub.missed(since)
        for start in range(0, len(frames), CATCH_UP_FRAMES):
            async with asyncio.timeout(WRITE_S):
                await send(more(b"".join(frames[start : start + CATCH_UP_FRAMES])))
        return read

    return write
