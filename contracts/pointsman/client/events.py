"""The life of one task as it happens: read once, then moved on by each of its records as it is republished.

The republish may lose messages. Each names the sequence of its predecessor, so that a gap shows and the task is read
anew, as after a reconnect; the loss of the last one is made good by a look now and then.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager

import msgspec

from pointsman.client.bus import Bus, Message, Subscription
from pointsman.client.call import call
from pointsman.contracts.actor import Actor
from pointsman.contracts.base import encode
from pointsman.contracts.commands import TaskId
from pointsman.contracts.events import Place, TaskEvent, after_lease, after_record, life_of
from pointsman.contracts.lifecycle import is_terminal
from pointsman.contracts.record import Lease, TaskRecord
from pointsman.contracts.subjects import HEADER_REVISION, is_view_of_lease, verb, view_of_both
from pointsman.contracts.task import Task

START: Place = (0, 0, 0, 0)
SILENCE_S = 15.0
SILENCES_MAX = 4
EARLY_MAX = 32
SEQUENCE, PREDECESSOR = "Nats-Sequence", "Nats-Last-Sequence"

_TASK = msgspec.json.Decoder(Task)
_RECORD = msgspec.json.Decoder(TaskRecord)
_LEASE = msgspec.json.Decoder(Lease)

type Hint = Callable[[Message], None]


async def read(bus: Bus, actor: Actor, task_id: str) -> Task:
    return _TASK.decode((await call(bus, verb("task", "get"), encode(TaskId(id=task_id)), actor)).data)


class Lives:
    """The tasks that somebody follows: one subscription for each, however many do."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._hints: dict[str, set[Hint]] = {}
        self._subscriptions: dict[str, Subscription] = {}
        self._changing = asyncio.Lock()

    async def follow(
        self, actor: Actor, task_id: str, *, seen: tuple[int, ...] = START
    ) -> AsyncGenerator[tuple[Place, TaskEvent] | None]:
        """Each event after `seen`, in order, until the task has ended; None after 15 s of silence.

        Raises what `task.get` raises.
        """
        life = _Life()
        async with self._hinted(task_id, life.hint):
            forget, silences = self._bus.on_reconnect(life.forget), 0
            try:
                while True:
                    life.changed.clear()
                    task = life.task or await life.read(self._bus, actor, task_id)
                    for place, event in life_of(task):
                        if place > seen:
                            seen = place
                            yield place, event
                    if is_terminal(task.status):
                        return
                    while not await _within(life.changed, SILENCE_S):
                        yield None
                        silences += 1
                        if silences % SILENCES_MAX == 0:
                            life.forget()
            finally:
                forget()

    @asynccontextmanager
    async def _hinted(self, task_id: str, hint: Hint) -> AsyncGenerator[None]:
        async with self._changing:
            self._hints.setdefault(task_id, set()).add(hint)
            if task_id not in self._subscriptions:
                self._subscriptions[task_id] = await self._subscribed(task_id)
        try:
            yield
        finally:
            async with self._changing:
                self._hints[task_id].discard(hint)
                if not self._hints[task_id]:
                    del self._hints[task_id]
                    await self._subscriptions.pop(task_id).unsubscribe()

    async def _subscribed(self, task_id: str) -> Subscription:
        hints = self._hints[task_id]

        async def tell(message: Message) -> None:
            for hint in tuple(hints):
                hint(message)

        try:
            return await self._bus.subscribe(view_of_both(task_id), tell)
        except BaseException:
            del self._hints[task_id]
            raise


class _Life:
    """What is known of one task; `task` is None when it has to be read."""

    def __init__(self) -> None:
        self.changed = asyncio.Event()
        self.task: Task | None = None
        self._revisions = (0, 0)
        self._early: list[Message] = []

    def forget(self) -> None:
        self.task = None
        self.changed.set()

    def hint(self, message: Message) -> None:
        """A record of the task or of its lease; what comes before the task is known waits for that."""
        if self.task is not None:
            self._take(message)
            self.changed.set()
        elif len(self._early) <= EARLY_MAX:
            self._early.append(message)

    async def read(self, bus: Bus, actor: Actor, task_id: str) -> Task:
        while True:
            self._early.clear()
            answer = await call(bus, verb("task", "get"), encode(TaskId(id=task_id)), actor)
            self._revisions = _revisions(answer.headers.get(HEADER_REVISION, ""))
            self.task = _TASK.decode(answer.data)
            if len(self._early) > EARLY_MAX:
                self.task = None
            for message in self._early:
                self._take(message)
            if self.task is not None:
                return self.task

    def _take(self, message: Message) -> None:
        if self.task is None:
            return
        of_task, of_lease = self._revisions
        is_lease = is_view_of_lease(message.subject)
        known, sequence = of_lease if is_lease else of_task, int(message.headers.get(SEQUENCE, "0"))
        if 0 < sequence <= known:
            return
        follows = message.data and message.headers.get(PREDECESSOR) == str(known)
        self._revisions = (of_task, sequence) if is_lease else (sequence, of_lease)
        self.task = (_with_lease if is_lease else _with_record)(self.task, message.data) if follows else None


def _with_lease(task: Task, data: bytes) -> Task | None:
    """None when only a read can tell."""
    lease = _LEASE.decode(data)
    if lease.generation > task.generation:
        return None
    return task if lease.generation < task.generation or is_terminal(task.status) else after_lease(task, lease)


def _with_record(task: Task, data: bytes) -> Task | None:
    record = _RECORD.decode(data)
    return after_record(record) if is_terminal(record.status) or record.generation > task.generation else None


def _revisions(etag: str) -> tuple[int, int]:
    of_task, _, of_lease = etag.partition("-")
    return (int(of_task), int(of_lease)) if of_task.isdecimal() and of_lease.isdecimal() else (0, 0)


async def _within(event: asyncio.Event, seconds: float) -> bool:
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return False
    return True
