"""Wait until a task has ended: told by the bucket's republish, which is a hint, so every hint and reconnect reads again."""

import asyncio

import msgspec

from pointsman.client.bus import Bus, Message
from pointsman.client.call import call
from pointsman.contracts.actor import Actor
from pointsman.contracts.base import encode
from pointsman.contracts.commands import TaskId
from pointsman.contracts.lifecycle import Status, is_terminal
from pointsman.contracts.subjects import verb, view_task


class _Ended(msgspec.Struct):
    status: Status = Status.PENDING


_STATUS = msgspec.json.Decoder(_Ended)


def has_ended(data: bytes) -> bool:
    return is_terminal(_STATUS.decode(data).status)


async def until_terminal(bus: Bus, actor: Actor, task_id: str, timeout_s: float) -> Message:
    """The last `task.get` answer: of the ended task, or as it stands after `timeout_s`. Raises what `task.get` raises."""
    told = asyncio.Event()

    async def hint(message: Message) -> None:
        if has_ended(message.data):
            told.set()

    subscription = await bus.subscribe(view_task(task_id), hint)
    forget = bus.on_reconnect(told.set)
    try:
        return await _read_until_ended(bus, actor, task_id, told, timeout_s)
    finally:
        forget()
        await subscription.unsubscribe()


async def _read_until_ended(bus: Bus, actor: Actor, task_id: str, told: asyncio.Event, timeout_s: float) -> Message:
    loop = asyncio.get_running_loop()
    end = loop.time() + timeout_s
    while True:
        told.clear()
        answer = await call(bus, verb("task", "get"), encode(TaskId(id=task_id)), actor)
        remaining = end - loop.time()
        if remaining <= 0 or has_ended(answer.data):
            return answer
        try:
            async with asyncio.timeout(remaining):
                await told.wait()
        except TimeoutError:
            continue
