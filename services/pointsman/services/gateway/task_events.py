"""`GET /api/task/{id}/events`: the life of one task, replayed from what is stored of it, then live until it ends."""

import asyncio
from collections.abc import AsyncIterator

import msgspec

from pointsman.client.bus import Bus, Message
from pointsman.client.call import call
from pointsman.contracts.actor import Actor
from pointsman.contracts.errors import PointsmanError
from pointsman.contracts.events import Place, life_of
from pointsman.contracts.lifecycle import is_terminal
from pointsman.contracts.subjects import verb, view_lease, view_task
from pointsman.contracts.task import Task
from pointsman.services.gateway.asking import identified
from pointsman.services.gateway.reply import Reply
from pointsman.services.gateway.route import Incoming, Ports
from pointsman.services.gateway.sse import HEARTBEAT, HEARTBEAT_S, Stream, framed, last_event_id, notice

START: Place = (0, 0, 0, 0)
PARTS = len(START)
GET = verb("task", "get")

_TASK = msgspec.json.Decoder(Task)


async def task_events(ports: Ports, incoming: Incoming) -> Reply:
    """204 when the reader has seen the end, so that it asks no more."""
    seen = last_event_id(incoming.headers, PARTS) or START
    task = await _read(ports.bus, incoming)
    incoming.waited = True
    if is_terminal(task.status) and not any(place > seen for place, _ in life_of(task)):
        return Reply(204)
    return Stream(200, frames=_frames(ports.bus, incoming, seen))


async def _frames(bus: Bus, incoming: Incoming, seen: Place | tuple[int, ...]) -> AsyncIterator[bytes]:
    changed = asyncio.Event()

    async def hint(_message: Message) -> None:
        changed.set()

    subscriptions = [
        await bus.subscribe(subject, hint) for subject in (view_task(incoming.id), view_lease(incoming.id))
    ]
    forget = bus.on_reconnect(changed.set)
    try:
        while True:
            changed.clear()
            try:
                task = await _read(bus, incoming)
            except PointsmanError as error:
                yield notice("interrupted", error.slug)
                return
            for place, event in life_of(task):
                if place > seen:
                    seen = place
                    yield framed("-".join(map(str, place)), event)
            if is_terminal(task.status):
                yield notice("end", task.status)
                return
            while not await _within(changed, HEARTBEAT_S):
                yield HEARTBEAT
    finally:
        forget()
        for subscription in subscriptions:
            await subscription.unsubscribe()


async def _read(bus: Bus, incoming: Incoming) -> Task:
    actor: Actor = incoming.actor
    return _TASK.decode((await call(bus, GET, identified(incoming), actor)).data)


async def _within(event: asyncio.Event, seconds: float) -> bool:
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return False
    return True
