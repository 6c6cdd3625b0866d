"""The life of one task as it happens: told by the republish of its records, read anew at each hint.

The subjects are hints, so a reconnect reads again and a lost one is made good by the next.
"""

import asyncio
from collections.abc import AsyncGenerator

import msgspec

from pointsman.client.bus import Bus, Message
from pointsman.client.call import call
from pointsman.contracts.actor import Actor
from pointsman.contracts.base import encode
from pointsman.contracts.commands import TaskId
from pointsman.contracts.events import Place, TaskEvent, life_of
from pointsman.contracts.lifecycle import is_terminal
from pointsman.contracts.subjects import verb, view_lease, view_task
from pointsman.contracts.task import Task

START: Place = (0, 0, 0, 0)
SILENCE_S = 15.0

_TASK = msgspec.json.Decoder(Task)


async def read(bus: Bus, actor: Actor, task_id: str) -> Task:
    return _TASK.decode((await call(bus, verb("task", "get"), encode(TaskId(id=task_id)), actor)).data)


async def life(
    bus: Bus, actor: Actor, task_id: str, *, seen: tuple[int, ...] = START
) -> AsyncGenerator[tuple[Place, TaskEvent] | None]:
    """Each event after `seen`, in order, until the task has ended; None after 15 s of silence.

    Raises what `task.get` raises.
    """
    changed = asyncio.Event()

    async def hint(_message: Message) -> None:
        changed.set()

    subscriptions = [await bus.subscribe(subject, hint) for subject in (view_task(task_id), view_lease(task_id))]
    forget = bus.on_reconnect(changed.set)
    try:
        while True:
            changed.clear()
            task = await read(bus, actor, task_id)
            for place, event in life_of(task):
                if place > seen:
                    seen = place
                    yield place, event
            if is_terminal(task.status):
                return
            while not await _within(changed, SILENCE_S):
                yield None
    finally:
        forget()
        for subscription in subscriptions:
            await subscription.unsubscribe()


async def _within(event: asyncio.Event, seconds: float) -> bool:
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return False
    return True
