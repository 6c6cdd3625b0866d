"""The life of one task, followed from what is republished of it, on the fake and on NATS alike."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass
from random import Random
from typing import Any, cast

import pytest

from pointsman.client import events
from pointsman.client.bus import Bus, Handler, Message, Subscription
from pointsman.client.client import Client
from pointsman.client.events import START, Lives
from pointsman.contracts.actor import Actor, Role
from pointsman.contracts.base import NULL
from pointsman.contracts.errors import PointsmanError
from pointsman.contracts.events import Place, TaskEvent, life_of
from pointsman.contracts.ids import new_operation_id
from pointsman.contracts.record import Lease
from pointsman.contracts.subjects import BUCKET_LEASES, BUCKET_TASKS, verb
from pointsman.contracts.task import TaskRequest
from pointsman.services.runtime import feed, outcomes
from pointsman.services.runtime.feed import Cursor, Feed
from pointsman.services.runtime.kv import KvBucket
from pointsman.services.runtime.outcomes import Failed, Lost, Outcome, Succeeded, assign
from pointsman.services.runtime.task_store import StoredTask, TaskStore
from pointsman.services.task.service import TaskService
from tests.support import worlds
from tests.support.worlds import World, context, until

world, bus = worlds.world, worlds.bus

ANN = Actor(sub="ann", roles=(Role.USER,))
EVE = Actor(sub="eve", roles=(Role.USER,))
WITHIN_S = 30.0


class Ear:
    """The bus as one client has it: counts what it reads and may not hear some of what is republished."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self.reads = 0
        self.subscribed = 0
        self.unheard = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._bus, name)

    async def request(self, subject: str, data: bytes, **options: Any) -> Message:
        self.reads += subject == verb("task", "get")
        return await self._bus.request(subject, data, **options)

    async def subscribe(self, subject: str, handler: Handler, *, queue: str = "") -> Subscription:
        async def heard(message: Message) -> None:
            if self.unheard:
                self.unheard -= 1
            else:
                await handler(message)

        self.subscribed += 1
        return await self._bus.subscribe(subject, heard, queue=queue)


@dataclass
class Pen:
    """Moves one task on, as leader, backend and executors do."""

    id: str
    world: World
    store: TaskStore

    async def stored(self) -> StoredTask:
        task = await self.store.get(self.id, latest=True)
        assert task is not None
        return task

    async def assign(self) -> None:
        task, now = await self.stored(), self.world.clock.now_ms()
        number = task.record.generation
        lease = assign(task.lease, number, server_id="a", executor="x", epoch=1, now=now, deadline=now + 60_000)
        await self.store.put_lease(self.id, lease, task.lease_revision, new_operation_id())

    async def moved_to(self, percent: float) -> None:
        task = await self.stored()
        assert task.lease is not None
        lease = outcomes.progress(task.lease, percent, NULL, self.world.clock.now_ms())
        await self.store.put_lease(self.id, lease, task.lease_revision, new_operation_id())

    async def settle(self, outcome: Outcome) -> None:
        task = await self.stored()
        after = outcomes.settle(task.record, task.lease, outcome, now=self.world.clock.now_ms(), rng=Random(7))
        if isinstance(after, Lease):
            await self.store.put_lease(self.id, after, task.lease_revision, new_operation_id())
        else:
            await self.store.finish(after, task.revision, new_operation_id())


@dataclass
class Followed:
    """What one reader has been told so far."""

    told: list[tuple[Place, TaskEvent]]
    silences: list[int]
    reading: asyncio.Task[None]

    @property
    def kinds(self) -> list[str]:
        return [event.event.value for _, event in self.told]


def follow(lives: Lives, task_id: str, seen: tuple[int, ...] = START) -> Followed:
    told: list[tuple[Place, TaskEvent]] = []
    silences: list[int] = []

    async def reading() -> None:
        async with aclosing(lives.follow(ANN, task_id, seen=seen)) as life:
            async for one in life:
                told.append(one) if one is not None else silences.append(len(told))

    return Followed(told, silences, asyncio.create_task(reading()))


@pytest.fixture
async def ear(world: World, bus: Bus) -> AsyncIterator[Ear]:
    service = TaskService(context(world, bus))
    await service.start()
    yield Ear(bus)
    await service.stop()


@pytest.fixture
async def pen(world: World, bus: Bus, ear: Ear) -> Pen:
    task = await Client(bus, ANN).tasks.submit(TaskRequest(type="resize"))
    return Pen(task.id, world, TaskStore(KvBucket(bus, BUCKET_TASKS), KvBucket(bus, BUCKET_LEASES), 600))


async def lived(pen: Pen, *readers: Followed) -> None:
    """A life with everything in it, each step seen by all before the next."""
    seen = 1

    async def told() -> None:
        nonlocal seen
        await until(lambda: all(len(reader.told) >= seen for reader in readers), WITHIN_S)
        seen += 1

    await told()
    for step in (
        pen.assign(),
        pen.moved_to(50.0),
        pen.settle(Lost(reason="gone")),
        pen.assign(),
        pen.settle(Failed(error="no")),
        pen.assign(),
    ):
        await step
        await told()
    await pen.settle(Succeeded())
    for reader in readers:
        await asyncio.wait_for(reader.reading, WITHIN_S)


LIFE = ["submitted", "assigned", "progressed", "attempt-ended", "assigned", "attempt-ended", "assigned"]
LIFE += ["attempt-ended", "completed"]


async def test_a_life_is_told_from_what_is_republished_and_read_but_once(ear: Ear, pen: Pen) -> None:
    reader = follow(Lives(cast(Bus, ear)), pen.id)
    await lived(pen, reader)
    assert reader.kinds == LIFE
    assert ear.reads == 1
    task = await Client(cast(Bus, ear), ANN).tasks.get(pen.id)
    assert [place for place, _ in life_of(task)] == [place for place, one in reader.told if one.event != "progressed"]
    assert reader.told[-1] == [*life_of(task)][-1]


async def test_many_readers_of_a_task_share_one_subscription(ear: Ear, pen: Pen) -> None:
    lives = Lives(cast(Bus, ear))
    readers = [follow(lives, pen.id) for _ in range(5)]
    await lived(pen, *readers)
    assert [reader.kinds for reader in readers] == [LIFE] * 5
    assert ear.subscribed == 1
    assert lives._subscriptions == lives._hints == {}


async def test_what_was_not_heard_shows_in_the_next_and_is_read(ear: Ear, pen: Pen) -> None:
    reader = follow(Lives(cast(Bus, ear)), pen.id)
    await until(lambda: reader.kinds == ["submitted"])
    ear.unheard = 2
    await pen.assign()
    await pen.settle(Lost(reason="gone"))
    await pen.assign()
    await until(lambda: len(reader.kinds) == 4)
    assert reader.kinds == ["submitted", "assigned", "attempt-ended", "assigned"]
    await pen.settle(Succeeded())
    await asyncio.wait_for(reader.reading, WITHIN_S)
    assert reader.kinds[-1] == "completed"
    assert ear.reads == 2


async def test_the_end_is_told_though_nobody_heard_of_it(ear: Ear, pen: Pen, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "SILENCE_S", 0.05)
    ear.unheard = 1_000
    reader = follow(Lives(cast(Bus, ear)), pen.id)
    await until(lambda: reader.kinds == ["submitted"])
    await pen.assign()
    await pen.settle(Succeeded())
    await asyncio.wait_for(reader.reading, WITHIN_S)
    assert reader.kinds[-1] == "completed"
    assert reader.silences


async def test_a_reader_that_comes_back_gets_the_rest(ear: Ear, pen: Pen) -> None:
    first = follow(Lives(cast(Bus, ear)), pen.id)
    await lived(pen, first)
    again = follow(Lives(cast(Bus, ear)), pen.id, seen=first.told[3][0])
    await asyncio.wait_for(again.reading, WITHIN_S)
    assert [place for place, _ in again.told] == [place for place, _ in first.told[4:]]


async def test_nobody_follows_the_task_of_another(ear: Ear, pen: Pen) -> None:
    lives = Lives(cast(Bus, ear))
    with pytest.raises(PointsmanError, match="not found"):
        await anext(lives.follow(EVE, pen.id))
    assert lives._subscriptions == {}


async def test_what_happens_while_a_feed_opens_is_no_gap(
    world: World, ear: Ear, pen: Pen, monkeypatch: pytest.MonkeyPatch
) -> None:
    last_cursor = feed.last_cursor

    async def overtaken(bus: Bus) -> Cursor:
        last = await last_cursor(bus)
        await pen.assign()
        await until(lambda: opened._cursor.leases > last.leases, WITHIN_S)
        return last

    monkeypatch.setattr(feed, "last_cursor", overtaken)
    opened: Feed[str] = Feed(cast(Bus, ear), lambda _, event: str(event and event.event))
    async with aclosing(opened.follow(None)) as told, asyncio.timeout(WITHIN_S):
        assert await anext(told) == []
        await pen.settle(Succeeded())
        heard: list[str] = []
        while "completed" not in heard:
            heard += await anext(told)
    assert heard == ["completed"]
