"""One task as it changes, for as long as somebody looks: hints say when to read it anew."""

import asyncio
from collections.abc import AsyncGenerator

from pointsman.client.bus import BusDown, Message
from pointsman.client.client import Client
from pointsman.contracts.subjects import view_lease, view_task
from pointsman.contracts.task import Task

CALM_S = 0.1
LOOK_S = 1.0
SILENT_LOOKS_MAX = 15


async def follow(client: Client, task_id: str) -> AsyncGenerator[Task]:
    """The task, and again after each change, at most ten times a second; after its end too, for it may be retried.

    Raises what `task.get` raises, and BusDown when the connection broke.
    """
    changed = asyncio.Event()

    async def hint(_message: Message) -> None:
        changed.set()

    subjects = (view_task(task_id), view_lease(task_id))
    subscriptions = [await client.bus.subscribe(subject, hint) for subject in subjects]
    forget = client.bus.on_reconnect(changed.set)
    try:
        while True:
            changed.clear()
            yield await client.tasks.get(task_id)
            await asyncio.sleep(CALM_S)
            await _change(client, changed)
    finally:
        forget()
        for subscription in subscriptions:
            await subscription.unsubscribe()


async def _change(client: Client, changed: asyncio.Event) -> None:
    """Until a hint came, or none for so long that one may have been lost."""
    for _ in range(SILENT_LOOKS_MAX):
        if not client.bus.is_connected:
            raise BusDown("the connection broke")
        try:
            async with asyncio.timeout(LOOK_S):
                await changed.wait()
        except TimeoutError:
            continue
        return
