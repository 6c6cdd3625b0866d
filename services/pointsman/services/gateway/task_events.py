"""`GET /api/task/{id}/events`: the life of one task, replayed from what is stored of it, then live until it ends."""

from collections.abc import AsyncIterator
from contextlib import aclosing

from pointsman.client.events import START, Lives, read
from pointsman.contracts.errors import PointsmanError
from pointsman.contracts.events import life_of
from pointsman.contracts.lifecycle import is_terminal
from pointsman.services.gateway.reply import Reply
from pointsman.services.gateway.route import Incoming, Ports
from pointsman.services.gateway.sse import HEARTBEAT, Stream, framed, last_event_id, notice

PARTS = len(START)


async def task_events(ports: Ports, incoming: Incoming) -> Reply:
    """204 when the reader has seen the end, so that it asks no more. An id that lies ahead is none of this task's:
    then all is told again."""
    seen = last_event_id(incoming.headers, PARTS) or START
    task = await read(ports.bus, incoming.actor, incoming.id)
    incoming.waited = True
    last = max(place for place, _ in life_of(task))
    if is_terminal(task.status) and last == seen:
        return Reply(204)
    seen = START if seen > last else seen
    return Stream(200, frames=_frames(ports.hub.lives, incoming, seen), closing=ports.hub.closing)


async def _frames(lives: Lives, incoming: Incoming, seen: tuple[int, ...]) -> AsyncIterator[bytes]:
    status = ""
    try:
        async with aclosing(lives.follow(incoming.actor, incoming.id, seen=seen)) as told:
            async for one in told:
                if one is None:
                    yield HEARTBEAT
                    continue
                place, event = one
                status = event.status
                yield framed("-".join(map(str, place)), event)
    except PointsmanError as error:
        yield notice("interrupted", error.slug)
        return
    yield notice("end", status)
