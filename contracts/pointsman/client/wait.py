"""Wait until a task has ended: told by the bucket's republish. It is a hint, so a reconnect reads again."""

import asyncio

import msgspec

from pointsman.client.bus import Bus, Message
from pointsman.client.call import call
from pointsman.contracts.actor import Actor
from pointsman.contracts.base import encode
from pointsman.contracts.commands import TaskId
from pointsman.contracts.lifecycle import Status, is_terminal
from pointsman.contracts.record import TaskRecord
from pointsman.contracts.subjects import HEADER_REVISION, verb, view_task
from pointsman.contracts.view import etag, show

SEQUENCE = "Nats-Sequence"


class _Ended(msgspec.Struct):
    status: Status = Status.PENDING


_STATUS = msgspec.json.Decoder(_Ended)
_RECORD = msgspec.json.Decoder(TaskRecord)


def has_ended(data: bytes) -> bool:
    return is_terminal(_STATUS.decode(data).status)


class _Waiting:
    """`told` is set by the terminal record itself, or by a reconnect, after which only a read can tell."""

    def __init__(self) -> None:
        self.told = asyncio.Event()
        self.ended: Message | None = None

    async def hint(self, message: Message) -> None:
        if has_ended(message.data):
            self.ended = _as_answer(message)
            self.told.set()


async def until_terminal(bus: Bus, actor: Actor, task_id: str, timeout_s: float) -> Message:
    """The task as `task.get` answers it: ended, or as it stands after `timeout_s`. Raises what `task.get` raises."""
    waiting = _Waiting()
    subscription = await bus.subscribe(view_task(task_id), waiting.hint)
    forget = bus.on_reconnect(waiting.told.set)
    try:
        return await _read_until_ended(bus, actor, task_id, waiting, timeout_s)
    finally:
        forget()
        await subscription.unsubscribe()


async def _read_until_ended(bus: Bus, actor: Actor, task_id: str, waiting: _Waiting, timeout_s: float) -> Message:
    """The first read checks that the caller may see the task, and closes the gap before the subscription."""
    loop = asyncio.get_running_loop()
    end = loop.time() + timeout_s
    while True:
        waiting.told.clear()
        answer = await call(bus, verb("task", "get"), encode(TaskId(id=task_id)), actor)
        remaining = end - loop.time()
        if remaining <= 0 or has_ended(answer.data):
            return answer
        try:
            async with asyncio.timeout(remaining):
                await waiting.told.wait()
        except TimeoutError:
            continue
        if waiting.ended is not None:
            return waiting.ended


def _as_answer(message: Message) -> Message:
    """A republished terminal record, shown as the task service would."""
    shown = encode(show(_RECORD.decode(message.data), None, with_payload=True))
    return Message(message.subject, shown, {HEADER_REVISION: etag(int(message.headers.get(SEQUENCE, "0")))})
