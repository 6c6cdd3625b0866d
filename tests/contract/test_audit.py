"""What the leader remembers is compared with what the store holds, and what differs is mended."""

import asyncio
from collections.abc import AsyncIterator, Callable

import msgspec
import pytest

from pointsman.client.bus import Bus, BusError
from pointsman.contracts.base import encode
from pointsman.contracts.errors import PointsmanError
from pointsman.contracts.execution import attempt_key
from pointsman.contracts.ids import new_operation_id, new_task_id
from pointsman.contracts.record import CurrentAttempt, Lease, TaskHead, TaskRecord, TaskSpec
from pointsman.contracts.subjects import BUCKET_TASKS
from pointsman.services.balancer import audit, service
from pointsman.services.balancer.audit import Audit
from pointsman.services.balancer.entry import State
from pointsman.services.balancer.model import Model
from pointsman.services.balancer.service import BalancerService
from pointsman.services.runtime import buckets, outcomes
from pointsman.services.runtime.context import Context
from pointsman.services.runtime.kv import KvBucket
from tests.support import worlds
from tests.support.worlds import FakeWorld, RealWorld, World, until

world, bus, fake = worlds.world, worlds.bus, worlds.fake

HOUR_MS = 3_600_000


class Books:
    """The store's and the memory's, each written by hand."""

    def __init__(self, world: World, bus: Bus) -> None:
        self.clock = world.clock
        self.tasks = KvBucket(bus, BUCKET_TASKS)
        self.model = Model()
        self.arrives: Callable[[], None] = lambda: None
        self.audit = Audit(bus, self.model, world.clock, refresh=self._refresh)

    async def _refresh(self) -> None:
        self.arrives()

    def record(self) -> TaskRecord:
        now = self.clock.now_ms()
        spec = TaskSpec(type="resize", deadline=now + HOUR_MS)
        return TaskRecord(id=new_task_id(now), owner="ann", spec=spec, created_at=now, updated_at=now)

    async def stored(self) -> tuple[TaskRecord, int]:
        record = self.record()
        return record, await self.tasks.create(record.id, encode(record), operation=new_operation_id())

    async def cancelled(self, record: TaskRecord, revision: int) -> tuple[TaskRecord, int]:
        ended = outcomes.cancel(record, None, None, self.clock.now_ms())
        data, operation = encode(ended), new_operation_id()
        return ended, await self.tasks.update(record.id, data, revision=revision, operation=operation, ttl_s=600)

    def remember(self, record: TaskRecord, revision: int) -> None:
        data = encode(record)
        head = msgspec.json.decode(data, type=TaskHead)
        self.model.fold_task(head, revision, data, self.clock.now_ms(), self.clock.monotonic_s())


@pytest.fixture
def books(world: World, bus: Bus) -> Books:
    return Books(world, bus)


async def test_where_memory_and_store_agree_nothing_is_done(books: Books) -> None:
    for _ in range(3):
        books.remember(*await books.stored())
    ended, revision = await books.cancelled(*await books.stored())
    books.remember(ended, revision)
    assert await books.audit.step() == 0
    assert len(books.model.entries) == 3


async def test_a_task_that_memory_never_saw_waits_for_a_server_after_all(books: Books) -> None:
    record, revision = await books.stored()
    assert await books.audit.step() == 1
    assert books.model.entries[record.id].revision == revision
    assert books.model.pending.count == 1
    assert await books.audit.step() == 0


async def test_a_task_that_ended_unseen_is_let_go(books: Books) -> None:
    record, revision = await books.stored()
    books.remember(record, revision)
    await books.cancelled(record, revision)
    assert await books.audit.step() == 1
    assert not books.model.entries


async def test_a_task_whose_record_is_gone_is_let_go_and_keeps_its_slot_until_it_surely_ran_out(books: Books) -> None:
    books.remember(*await books.stored())
    record, now = books.record(), books.clock.now_ms()
    books.remember(record, 1_000)
    current = CurrentAttempt(
        number=1, server_id="a", executor="x", started_at=now, start_by=now + 5_000, deadline=now + HOUR_MS, epoch=1
    )
    lease = Lease(attempt=1, current=current, updated_at=now)
    books.model.fold_lease(record.id, lease, 1, now, books.clock.monotonic_s())
    assert books.model.entries[record.id].state is State.RUNNING
    assert await books.audit.step() == 1
    assert record.id not in books.model.entries
    assert books.model.slots.active("a") == 1
    assert [message.task_id for _, message in books.model.aborts] == [record.id]
    assert books.model.released(*_parts(attempt_key(record.id, 1, 1)))


def _parts(key: str) -> tuple[str, int, int]:
    task_id, generation, number = key.split("/")
    return task_id, int(generation), int(number)


async def test_a_record_that_came_back_under_another_sequence_is_the_same_task(books: Books) -> None:
    record, revision = await books.stored()
    books.remember(record, revision + 7)
    assert await books.audit.step() == 1
    assert books.model.entries[record.id].revision == revision
    assert books.model.pending.count == 1


async def test_what_memory_learns_during_the_look_is_not_touched(books: Books) -> None:
    record, revision = await books.stored()
    books.arrives = lambda: books.remember(record, revision)
    assert await books.audit.step() == 0
    assert books.model.entries[record.id].revision == revision


async def test_a_large_stream_is_looked_at_part_by_part(books: Books, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit, "LOOKED_AT_MAX", 4)
    for _ in range(10):
        await books.stored()
    mended = [await books.audit.step() for _ in range(3)]
    assert sum(mended) == 10
    assert mended[0] == 4
    assert len(books.model.entries) == 10
    assert await books.audit.step() == 0


async def test_a_record_that_cannot_be_read_stops_no_other(books: Books) -> None:
    await books.tasks.create("task_bad", b"{}", operation="op")
    record, _ = await books.stored()
    assert await books.audit.step() == 1
    assert set(books.model.entries) == {record.id}


@pytest.fixture
async def relaxed(world: World, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[tuple[World, Books, BalancerService]]:
    """A balancer that leads over relaxed streams and compares once a second."""
    monkeypatch.setattr(service, "AUDIT_S", 1.0)
    bus = await world.connect("test")
    await buckets.ensure(bus, relaxed=True, replicas=1)
    settings = msgspec.structs.replace(world.settings, durability="relaxed")
    balancer = BalancerService(Context(await world.connect("one"), settings, world.clock, "one"))
    await balancer.start()
    await until(balancer._may_dispatch)
    yield world, Books(world, bus), balancer
    await balancer.stop()


async def test_sequences_given_twice_by_a_crashed_relaxed_broker_hide_no_task(
    relaxed: tuple[World, Books, BalancerService],
) -> None:
    world, books, balancer = relaxed
    kept, *_ = [(await books.stored())[0].id for _ in range(3)]
    await until(lambda: len(balancer._model.entries) == 3)
    if isinstance(world, RealWorld):
        await _crash_under_load(world, books)
    else:
        await _crash_that_loses(world, 2)
    later = [(await books.stored())[0].id for _ in range(2)]
    await until(lambda: set(later) <= set(balancer._model.entries))
    if isinstance(world, FakeWorld):
        await until(lambda: set(balancer._model.entries) == {kept, *later})
    await _agree(books, balancer)


async def _crash_that_loses(world: FakeWorld, count: int) -> None:
    world.broker.stop()
    world.broker.streams["KV_tasks"].lose_tail(count)
    await asyncio.sleep(0.5)
    world.broker.start()


async def _crash_under_load(world: RealWorld, books: Books) -> None:
    """kill -9 while many write: each may lose the last write that was acknowledged to it."""
    writing = True

    async def write() -> None:
        while writing:
            try:
                await books.stored()
            except (BusError, PointsmanError):
                await asyncio.sleep(0.05)

    writers = [asyncio.create_task(write()) for _ in range(16)]
    await asyncio.sleep(0.5)
    await world.kill_broker()
    writing = False
    await asyncio.gather(*writers)


async def _agree(books: Books, balancer: BalancerService) -> None:
    """Every live record is remembered under its revision, and nothing else is."""
    await until(balancer._may_dispatch)
    for _ in range(100):
        stored = [await books.tasks.get(task_id, latest=True) for task_id in list(balancer._model.entries)]
        remembered = [entry.revision for entry in balancer._model.entries.values()]
        if [one.revision if one else None for one in stored] == remembered:
            break
        await asyncio.sleep(0.1)
    else:
        raise AssertionError("memory and store do not agree")
    fresh = Model()
    again = Audit(balancer._bus, fresh, books.clock, refresh=_at_once)
    while await again.step():
        pass
    assert set(fresh.entries) == set(balancer._model.entries)


async def _at_once() -> None:
    return
