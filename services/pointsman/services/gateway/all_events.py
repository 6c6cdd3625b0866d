"""`GET /api/events`: everything that happens to tasks, from a cursor or from now on."""

from pointsman.contracts.base import Request
from pointsman.services.gateway.hub import Everything
from pointsman.services.gateway.reply import Reply
from pointsman.services.gateway.route import Incoming, Ports
from pointsman.services.gateway.sse import cursor_of, last_event_id
from pointsman.services.runtime.feed import Cursor

PARTS = 2


class EventQuery(Request):
    """`cursor` is an event's id; the header `Last-Event-ID`, which a client sends when it comes back, goes before it."""

    cursor: str | None = None


async def all_events(ports: Ports, incoming: Incoming) -> Reply:
    since = last_event_id(incoming.headers, PARTS)
    if since is None and isinstance(incoming.query, EventQuery) and incoming.query.cursor is not None:
        since = cursor_of("cursor", incoming.query.cursor, PARTS)
    ports.hub.check_room()
    incoming.waited = True
    return Everything(200, hub=ports.hub, since=Cursor(*since) if since is not None else None)
