"""One task as it changes, for as long as somebody looks: hints say when to read it anew."""

import asyncio
from collections.abc import AsyncGenerator

from pointsman.client.bus import Message
from pointsman.client.client import Client
from pointsman.contracts.subjects import view_lease, view_task
from pointsman.contracts.task import Task

CALM_S = 0.1
SILENCE_S = 15.0


async def follow(client: Client, task_id: str) -> AsyncGenerator[Task]:
    """The task, and again after each change, at most ten times a second; after its end too, for it may be retried.

    Raises what `task.get` raises.
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
            try:
                async with asyncio.timeout(SILENCE_S):
                    await changed.wait()
            except TimeoutError:
                continue
    finally:
        forget()
        for subscription in subscriptions:
            await subscription.unsubscribe()
