"""The balancer service with executors that are not there: who dispatches, who takes over, what is taken back."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any

import msgspec
import pytest

from pointsman.client.bus import Bus, BusDown, Message, Subscription
from pointsman.client.client import Client
from pointsman.contracts.actor import Actor, Role
from pointsman.contracts.balancer import ALGORITHM_NAMES, BalancerStatus
from pointsman.contracts.base import encode
from pointsman.contracts.errors import PointsmanError
from pointsman.contracts.execution import Abort, ExecutorBeat, Handover, Release, attempt_key
from pointsman.contracts.ids import new_operation_id, new_task_id
from pointsman.contracts.lifecycle import Status
from pointsman.contracts.limits import PoolSettings
from pointsman.contracts.record import Lease, RetryPolicy, TaskRecord, TaskSpec
from pointsman.contracts.server import HealthState, ServerConfig, ServerHealth
from pointsman.contracts.steering import LimitRequest, PoolPatch, TypeRequest
from pointsman.contracts.subjects import (
    BUCKET_LEASES,
    BUCKET_SERVERS,
    BUCKET_TASKS,
    VIEW_EXECUTORS,
    VIEW_LOAD,
    VIEW_RELEASES,
    abort,
    execute,
)
from pointsman.services.balancer import service as balancer_service
from pointsman.services.balancer.service import BalancerService
from pointsman.services.runtime import outcomes
from pointsman.services.runtime.kv import KvBucket
from pointsman.services.runtime.outcomes import Failed, Lost, Succeeded
from pointsman.services.runtime.settling import Settled, Settler
from pointsman.services.runtime.task_store import StoredTask, TaskStore
from tests.support import worlds
from tests.support.worlds import FakeWorld, World, context, until

world, bus, fake = worlds.world, worlds.bus, worlds.fake

OPERATOR = Actor(sub="olga", roles=(Role.OPERATOR,))
USER = Actor(sub="ann", roles=(Role.USER,))
AT_ONCE = RetryPolicy(base_ms=1, max_ms=1, jitter=0.0)


class Executor:
    """Beats, remembers what it was handed, and says what the test wants it to say."""

    def __init__(self, bus: Bus, store: TaskStore, world: World, name: str = "x") -> None:
        self.bus, self.store, self.world, self.name = bus, store, world, name
        self.handed: list[Handover] = []
        self.aborted: list[Abort] = []
        self.running: set[str] = set()
        self.stopping = False
        self._settler = Settler(bus, store, world.clock, Random(7))
        self._subscriptions: list[Subscription] = []
        self._beats: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._subscriptions = [
            await self.bus.subscribe(execute(self.name), self._take),
            await self.bus.subscribe(abort(self.name), self._abort),
        ]
        await self.bus.barrier()
        self._beats = asyncio.create_task(self._beat())

    async def die(self) -> None:
        """kill -9: no beat, no ear."""
        if self._beats is not None:
            self._beats.cancel()
            self._beats = None
            for subscription in self._subscriptions:
                await subscription.unsubscribe()

    def hang(self) -> None:
        """SIGSTOP: the subscriptions are still there."""
        if self._beats is not None:
            self._beats.cancel()

    async def _take(self, message: Message) -> None:
        handover = msgspec.json.decode(message.data, type=Handover)
        self.handed.append(handover)
        self.running.add(key_of(handover))

    async def _abort(self, message: Message) -> None:
        self.aborted.append(msgspec.json.decode(message.data, type=Abort))

    async def _beat(self) -> None:
        while True:
            beat = ExecutorBeat(
                executor=self.name,
                running=tuple(self.running),
                limit=100,
                at=self.world.clock.now_ms(),
                stopping=self.stopping,
            )
            await self.bus.publish(VIEW_EXECUTORS, encode(beat))
            await asyncio.sleep(0.2)

    async def next(self, count: int = 1) -> list[Handover]:
        """The first `count` hand-overs, taken out."""
        await until(lambda: len(self.handed) >= count)
        taken, self.handed = self.handed[:count], self.handed[count:]
        return taken

    async def answer(self, handover: Handover, outcome: outcomes.Outcome) -> Settled:
        stored = await self.store.get(handover.task_id)
        assert stored is not None
        task = StoredTask(stored.record, handover.task_revision, handover.lease, handover.lease_revision)
        assert handover.lease.current is not None
        settled = await self._settler.settle(task, handover.lease.current, outcome)
        self.running.discard(key_of(handover))
        return settled


def key_of(handover: Handover) -> str:
    return attempt_key(handover.task_id, handover.lease.generation, handover.lease.attempt)


def server_of(handover: Handover) -> str:
    assert handover.lease.current is not None
    return handover.lease.current.server_id


@dataclass
class Yard:
    """Servers, tasks and replicas of the balancer on one broker."""

    world: World
    bus: Bus
    store: TaskStore
    executor: Executor
    replicas: dict[str, tuple[BalancerService, Bus]] = field(default_factory=dict)

    async def balancer(self, name: str) -> BalancerService:
        bus = await self.world.connect(name)
        service = BalancerService(context(self.world, bus, name))
        self.replicas[name] = (service, bus)
        await service.start()
        return service

    async def stop(self, name: str) -> None:
        service, _ = self.replicas.pop(name)
        await service.stop()

    async def server(self, server_id: str, limit: int = 1, **config: Any) -> None:
        servers = KvBucket(self.bus, BUCKET_SERVERS)
        made = ServerConfig(
            id=server_id, name=server_id, predict="http://x", health="http://x", registered_at=1,
            max_concurrent=limit, **config,
        )  # fmt: skip
        await servers.create(f"config.{server_id}", encode(made), operation=new_operation_id())
        health = ServerHealth(state=HealthState.HEALTHY, registered_at=1)
        await servers.create(f"health.{server_id}", encode(health), operation=new_operation_id())

    async def submit(self, **spec: Any) -> str:
        now = self.world.clock.now_ms()
        fields = {"type": "resize", "deadline": now + 3_600_000, "timeout_ms": 60_000, "retry": AT_ONCE} | spec
        record = TaskRecord(id=new_task_id(now), owner="ann", spec=TaskSpec(**fields), created_at=now, updated_at=now)
        await self.store.create(record, new_operation_id())
        return record.id

    async def get(self, task_id: str) -> StoredTask:
        task = await self.store.get(task_id)
        assert task is not None
        return task

    async def becomes(self, task_id: str, claim: Callable[[StoredTask], bool], within_s: float = 30) -> StoredTask:
        async with asyncio.timeout(within_s):
            while not claim(task := await self.get(task_id)):
                await asyncio.sleep(0.05)
        return task

    async def cancel(self, task_id: str) -> None:
        task = await self.get(task_id)
        record = outcomes.cancel(task.record, task.lease, None, self.world.clock.now_ms())
        await self.store.finish(record, task.revision, new_operation_id())

    async def status(self) -> BalancerStatus:
        return await Client(self.bus, OPERATOR).balancer.status()


async def open_yard(world: World, bus: Bus) -> Yard:
    store = TaskStore(KvBucket(bus, BUCKET_TASKS), KvBucket(bus, BUCKET_LEASES), 600)
    executor = Executor(await world.connect("x"), store, world)
    await executor.start()
    return Yard(world, bus, store, executor)


async def close_yard(yard: Yard) -> None:
    for name in list(yard.replicas):
        await yard.stop(name)
    await yard.executor.die()


@pytest.fixture
async def yard(world: World, bus: Bus) -> AsyncIterator[Yard]:
    opened = await open_yard(world, bus)
    yield opened
    await close_yard(opened)


@pytest.fixture
async def fake_yard(fake: FakeWorld) -> AsyncIterator[Yard]:
    opened = await open_yard(fake, await fake.connect())
    yield opened
    await close_yard(opened)


async def test_a_task_is_leased_before_it_is_handed_over_and_its_slot_is_free_after(yard: Yard) -> None:
    await yard.server("a", limit=1)
    await yard.balancer("one")
    ids = {await yard.submit(), await yard.submit()}
    [handed] = await yard.executor.next()
    task = await yard.get(handed.task_id)
    assert (server_of(handed), handed.lease_revision) == ("a", task.lease_revision)
    assert task.lease == handed.lease
    assert handed.lease.current is not None
    assert handed.lease.current.epoch > 0
    assert not yard.executor.handed
    assert await yard.executor.answer(handed, Succeeded(result=msgspec.Raw(b"1"))) is Settled.COMMITTED
    [last] = await yard.executor.next()
    assert {handed.task_id, last.task_id} == ids


async def test_tasks_submitted_before_the_balancer_started_are_dispatched(yard: Yard) -> None:
    await yard.server("a", limit=10)
    ids = [await yard.submit() for _ in range(10)]
    await yard.balancer("one")
    assert {handed.task_id for handed in await yard.executor.next(10)} == set(ids)


async def test_a_burst_is_shared_by_the_executors(fake_yard: Yard) -> None:
    yard = fake_yard
    other = Executor(await yard.world.connect("y"), yard.store, yard.world, "y")
    await other.start()
    await yard.server("a", limit=20)
    await yard.balancer("one")
    ids = [await yard.submit(run_at=yard.world.clock.now_ms() + 2_000) for _ in range(20)]
    await until(lambda: len(yard.executor.handed) + len(other.handed) == len(ids))
    assert len(yard.executor.handed) == len(other.handed) == 10
    await other.die()


async def test_of_two_replicas_one_dispatches_and_the_other_takes_over_when_it_stops(yard: Yard) -> None:
    await yard.server("a", limit=100)
    for name in ("one", "two"):
        await yard.balancer(name)
    ids = [await yard.submit() for _ in range(10)]
    handed = await yard.executor.next(10)
    assert sorted(one.task_id for one in handed) == sorted(ids)
    first = await yard.status()
    assert (first.active, first.pending) == (10, 0)
    await yard.stop(first.leader)
    more = [await yard.submit() for _ in range(5)]
    assert {one.task_id for one in await yard.executor.next(5)} == set(more)
    second = await yard.status()
    assert second.leader != first.leader
    assert second.epoch > first.epoch
    assert second.active == 15
    assert not yard.executor.handed


async def test_a_leader_that_vanishes_is_replaced_and_no_task_runs_twice(yard: Yard) -> None:
    await yard.server("a", limit=100)
    for name in ("one", "two"):
        await yard.balancer(name)
    ids = [await yard.submit() for _ in range(5)]
    await yard.executor.next(5)
    leader = (await yard.status()).leader
    _, cut = yard.replicas[leader]
    yard.world.cut(cut)
    more = [await yard.submit() for _ in range(5)]
    assert {one.task_id for one in await yard.executor.next(5)} == set(more)
    await yard.world.mend(cut)
    await until(lambda: not yard.replicas[leader][0]._may_dispatch())
    last = await yard.submit()
    assert [one.task_id for one in await yard.executor.next()] == [last]
    await until_status(yard, lambda status: (status.leader != leader, status.active) == (True, len(ids + more) + 1))


async def test_after_kill_9_of_the_broker_dispatch_goes_on_and_nothing_is_lost(yard: Yard) -> None:
    await yard.server("a", limit=4)
    await yard.balancer("one")
    ids = {await yard.submit() for _ in range(12)}
    [*handed] = await yard.executor.next(4)
    await yard.world.kill_broker()
    done: set[str] = set()
    async with asyncio.timeout(60):
        while done != ids:
            for one in handed:
                await yard.executor.answer(one, Succeeded())
            handed = await yard.executor.next() if yard.executor.handed else []
            done = {i for i in ids if (await yard.get(i)).record.status is Status.COMPLETED}
            await asyncio.sleep(0.01)
    await until_status(yard, lambda status: (status.active, status.pending) == (0, 0))


async def until_status(yard: Yard, claim: Callable[[BalancerStatus], bool]) -> BalancerStatus:
    """While nobody leads, asking is refused with 503."""
    async with asyncio.timeout(30):
        while True:
            with contextlib.suppress(PointsmanError):
                if claim(status := await yard.status()):
                    return status
            await asyncio.sleep(0.05)


async def test_an_unknown_algorithm_is_400_and_the_names_are_listed(yard: Yard) -> None:
    await yard.balancer("one")
    client = Client(yard.bus, OPERATOR)
    await until_status(yard, lambda status: True)
    with pytest.raises(PointsmanError) as refusal:
        await client.balancer.switch("fastest")
    assert (refusal.value.status, refusal.value.errors[0].field) == (400, "algorithm")
    assert all(name in refusal.value.detail for name in ALGORITHM_NAMES)
    with pytest.raises(PointsmanError) as refusal:
        await Client(yard.bus, USER).balancer.switch("random")
    assert refusal.value.status == 403
    for name in ALGORITHM_NAMES:
        assert (await client.balancer.switch(name)).algorithm in ALGORITHM_NAMES


async def test_a_switch_of_an_unknown_pool_is_400_and_the_pools_are_listed(yard: Yard) -> None:
    await yard.balancer("one")
    client = Client(yard.bus, OPERATOR)
    await client.pools.change("west", PoolPatch(max_backlog=7))
    with pytest.raises(PointsmanError) as refusal:
        await client.balancer.switch("first", "wset")
    assert (refusal.value.status, refusal.value.errors[0].field) == (400, "pool")
    assert "there is: default, west" in refusal.value.detail
    assert (await client.balancer.switch("first", "west")).algorithm == "first"


async def test_a_switch_reaches_the_standby_and_survives_a_restart(yard: Yard) -> None:
    for name in ("one", "two"):
        await yard.balancer(name)
    await until_status(yard, lambda status: True)
    await Client(yard.bus, OPERATOR).balancer.switch("first", "default")
    for service, _ in yard.replicas.values():
        await until(lambda service=service: service._model.fleet.algorithm("default") == "first")
    third = await yard.balancer("three")
    assert third._model.fleet.algorithm("default") == "first"


async def test_settings_are_changed_while_nobody_leads_and_hold_within_a_second_on_both_replicas(
    yard: Yard, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(BalancerService, "_on_leadership", lambda *_: None)
    replicas = [await yard.balancer(name) for name in ("one", "two")]
    client, loop = Client(yard.bus, OPERATOR), asyncio.get_running_loop()

    async def holds(claim: Callable[[PoolSettings], bool], since_s: float) -> None:
        for service in replicas:
            await until(lambda service=service: claim(service._model.pools.settings("p")), 1.0)
        assert loop.time() - since_s <= 1.0

    since_s = loop.time()
    first = await client.pools.change("p", request(PoolPatch, algorithm="fastest-free", maxBacklog=7))
    await holds(lambda settings: settings.max_backlog == 7, since_s)
    since_s = loop.time()
    second = await client.pools.change("p", request(PoolPatch, algorithm="first"), if_match=first.revision)
    await holds(lambda settings: settings.algorithm == "first", since_s)
    assert (second.max_backlog, [change.by for change in second.changes]) == (7, ["olga", "olga"])
    since_s = loop.time()
    undone = await client.pools.undo("p", if_match=second.revision)
    await holds(lambda settings: settings.algorithm == "response-time", since_s)
    assert (await client.pools.undo("p")).algorithm == "first"
    assert (await client.pools.get("p")).revision > undone.revision
    assert [pool.pool for pool in (await client.pools.list()).pools] == ["default", "p"]
    for work in (
        client.pools.change("p", PoolPatch(algorithm="random"), if_match=first.revision),
        client.pools.undo("p", if_match=first.revision),
        client.types.declare("t", TypeRequest(), if_match=first.revision),
    ):
        with pytest.raises(PointsmanError) as refusal:
            await work
        assert refusal.value.status == 412


async def test_an_edit_that_changes_nothing_writes_nothing(fake_yard: Yard) -> None:
    await fake_yard.balancer("one")
    client = Client(fake_yard.bus, OPERATOR)
    first = await client.types.declare("t", request(TypeRequest, schema={"type": "object"}, timeoutMs=5))
    again = await client.types.declare("t", request(TypeRequest, timeoutMs=5, schema={"type": "object"}))
    assert (again.revision, len(again.changes)) == (first.revision, 1)


async def test_edits_that_race_all_count(fake_yard: Yard) -> None:
    await fake_yard.balancer("one")
    await fake_yard.balancer("two")
    client = Client(fake_yard.bus, OPERATOR)
    patches = [PoolPatch(max_backlog=5), PoolPatch(max_backlog_per_owner=6), PoolPatch(algorithm="p2c")]
    await asyncio.gather(*(client.pools.change("p", patch) for patch in patches))
    pool = await client.pools.get("p")
    assert (pool.max_backlog, pool.max_backlog_per_owner, pool.algorithm, len(pool.changes)) == (5, 6, "p2c", 3)


async def test_limits_of_pools_types_and_keys_are_one_list(fake_yard: Yard) -> None:
    service = await fake_yard.balancer("one")
    client = Client(fake_yard.bus, OPERATOR)
    await client.types.declare("resize", TypeRequest(timeout_ms=9))
    for kind, name in (("pool", "default"), ("type", "resize"), ("key", "a/b.c d")):
        made = await client.limits.set(kind, name, LimitRequest(max_concurrent=0))
        assert (made.kind, made.name, made.limit.max_concurrent) == (kind, name, 0)
    listed = (await client.limits.list()).limits
    assert [(one.kind, one.name, one.in_use) for one in listed] == [
        ("key", "a/b.c d", 0), ("pool", "default", 0), ("type", "resize", 0)
    ]  # fmt: skip
    await fake_yard.server("a")
    task_id = await fake_yard.submit(concurrency_key="a/b.c d")
    await until(lambda: task_id in service._model.entries)
    for kind, name in (("pool", "default"), ("type", "resize"), ("key", "a/b.c d")):
        assert not fake_yard.executor.handed
        await client.limits.clear(kind, name)
    await fake_yard.executor.next()
    assert (await client.limits.list()).limits == ()
    assert (await client.types.get("resize")).timeout_ms == 9
    for kind, name, status in (
        ("key", "a/b.c d", 404),
        ("pool", "a b\r\n>", 400),
        ("type", "*", 400),
        ("moon", "x", 400),
    ):
        with pytest.raises(PointsmanError) as refusal:
            await client.limits.clear(kind, name)
        assert refusal.value.status == status


async def test_a_removed_type_comes_back_by_undo(fake_yard: Yard) -> None:
    await fake_yard.balancer("one")
    client = Client(fake_yard.bus, OPERATOR)
    await client.types.declare("resize", TypeRequest(timeout_ms=9))
    await client.types.remove("resize")
    for work in (client.types.get("resize"), client.types.remove("resize"), client.types.undo("other")):
        with pytest.raises(PointsmanError) as refusal:
            await work
        assert refusal.value.status == 404
    back = await client.types.undo("resize")
    assert (back.declared, back.timeout_ms) == (True, 9)
    gone = await client.types.undo("resize")
    assert (gone.declared, [change.by for change in gone.changes]) == (False, ["olga"] * 4)


async def test_only_operators_change_settings_and_only_staff_reads_them(fake_yard: Yard) -> None:
    await fake_yard.balancer("one")
    viewer = Client(fake_yard.bus, Actor(sub="vic", roles=(Role.VIEWER,)))
    user = Client(fake_yard.bus, USER)
    assert (await viewer.pools.list()).pools
    for work in (
        user.pools.list(),
        user.limits.list(),
        viewer.pools.change("p", PoolPatch(max_backlog=5)),
        viewer.types.declare("t", TypeRequest()),
        viewer.limits.set("key", "k", LimitRequest(max_concurrent=1)),
        viewer.pools.undo("p"),
    ):
        with pytest.raises(PointsmanError) as refusal:
            await work
        assert refusal.value.status == 403


def request[R](shape: type[R], **fields: Any) -> R:
    return msgspec.json.decode(msgspec.json.encode(fields), type=shape)


async def test_a_lease_that_somebody_else_wrote_is_read_and_the_task_goes_on_from_there(fake_yard: Yard) -> None:
    """After a retry by hand the bucket still holds the last generation's lease."""
    yard = fake_yard
    task_id = await yard.submit()
    task = await yard.get(task_id)
    now = yard.world.clock.now_ms()
    old = outcomes.assign(None, 1, server_id="z", executor="x", epoch=1, now=now, deadline=now + 50)
    await yard.store.put_lease(task_id, old, 0, new_operation_id())
    cancelled = outcomes.cancel(task.record, old, None, now)
    revision = await yard.store.finish(cancelled, task.revision, new_operation_id())
    await yard.balancer("one")
    await until_status(yard, lambda status: True)
    await yard.store.reopen(outcomes.renew(cancelled, now, ""), revision, new_operation_id())
    await yard.server("a")
    [handed] = await yard.executor.next()
    assert (handed.task_id, handed.lease.generation, handed.lease.attempt) == (task_id, 2, 1)
    assert (await yard.status()).servers["a"].active_tasks == 1


async def test_a_lost_acknowledgement_of_a_lease_still_leads_to_one_hand_over(fake_yard: Yard) -> None:
    yard, world = fake_yard, fake_yard.world
    assert isinstance(world, FakeWorld)
    await yard.server("a", limit=5)
    await yard.balancer("one")
    await until_status(yard, lambda status: True)
    world.broker.lose_answer("$KV.leases.>")
    task_id = await yard.submit()
    [handed] = await yard.executor.next()
    assert (handed.task_id, handed.lease.attempt) == (task_id, 1)
    await asyncio.sleep(2)
    assert not yard.executor.handed
    assert (await yard.status()).active == 1


async def test_the_attempts_of_a_silent_executor_run_elsewhere_without_being_spent(fake_yard: Yard) -> None:
    yard = fake_yard
    await yard.server("a", limit=1)
    await yard.server("b", limit=1)
    await yard.balancer("one")
    task_id = await yard.submit(max_attempts=1)
    [handed] = await yard.executor.next()
    yard.executor.hang()
    other = Executor(await yard.world.connect("y"), yard.store, yard.world, "y")
    await other.start()
    began_s = yard.world.clock.monotonic_s()
    [again] = await other.next()
    assert yard.world.clock.monotonic_s() - began_s < 9
    assert (again.task_id, again.lease.attempt, again.lease.spent) == (task_id, 2, 0)
    assert server_of(again) != server_of(handed)
    assert [attempt.outcome for attempt in again.lease.attempts] == ["lost"]
    status = await yard.status()
    assert {name: load.active_tasks for name, load in status.servers.items()} == {"a": 1, "b": 1}
    assert await yard.executor.answer(handed, Failed(error="late")) is Settled.STALE
    assert await other.answer(again, Succeeded()) is Settled.COMMITTED
    await other.die()


async def test_a_hand_over_that_reached_nobody_is_taken_back(fake_yard: Yard) -> None:
    """The executor died after its last beat: what it was handed is not waited for until the deadline."""
    yard = fake_yard
    await yard.server("a", limit=2)
    await yard.balancer("one")
    await until_status(yard, lambda status: True)
    await asyncio.sleep(1)
    await yard.executor.die()
    task_id = await yard.submit(max_attempts=1)
    await yard.becomes(task_id, lambda task: task.lease is not None and task.lease.attempt == 1)
    other = Executor(await yard.world.connect("y"), yard.store, yard.world, "y")
    await other.start()
    [again] = await other.next()
    assert (again.task_id, again.lease.spent) == (task_id, 0)
    await other.die()


async def test_an_attempt_whose_hand_over_was_lost_is_not_spent_though_its_deadline_has_passed(fake_yard: Yard) -> None:
    """The executor lives and never heard of it: it was lost with the leader that had decided it."""
    yard = fake_yard
    await yard.server("a", limit=1)
    await yard.balancer("one")
    task_id = await yard.submit(timeout_ms=2_000, max_attempts=1)
    [handed] = await yard.executor.next()
    yard.executor.running.clear()
    [again] = await yard.executor.next()
    assert (again.task_id, again.lease.attempt, again.lease.spent) == (task_id, 2, 0)
    assert [attempt.outcome for attempt in again.lease.attempts] == ["lost"]
    assert await yard.executor.answer(handed, Failed(error="late")) is Settled.STALE


async def test_an_accepted_attempt_past_its_deadline_is_retried_and_then_times_out(fake_yard: Yard) -> None:
    yard = fake_yard
    await yard.server("a", limit=1)
    await yard.server("b", limit=1)
    await yard.balancer("one")
    task_id = await yard.submit(timeout_ms=2_000, max_attempts=2)
    for number in (1, 2):
        [handed] = await yard.executor.next()
        assert (handed.lease.attempt, handed.lease.spent) == (number, number - 1)
        assert await yard.executor.answer(handed, outcomes.Accepted()) is Settled.COMMITTED
    ended = (await yard.becomes(task_id, lambda task: task.is_terminal)).record
    assert (ended.status, [a.outcome for a in ended.attempts]) == (Status.TIMEOUT, ["timed-out", "timed-out"])


async def test_a_task_whose_own_deadline_passes_times_out_waiting_or_running(fake_yard: Yard) -> None:
    yard = fake_yard
    await yard.server("a", limit=1)
    await yard.balancer("one")
    now = yard.world.clock.now_ms()
    running = await yard.submit(deadline=now + 5_000)
    [handed] = await yard.executor.next()
    waiting = await yard.submit(deadline=now + 3_000)
    await yard.executor.answer(handed, outcomes.Accepted())
    for task_id in (running, waiting):
        record = (await yard.becomes(task_id, lambda task: task.is_terminal)).record
        assert record.status is Status.TIMEOUT
        assert record.finished_at is not None
        assert record.finished_at - record.spec.deadline < 3_000
    assert not yard.executor.handed


async def test_cancelling_ends_the_call_and_the_slot_waits_for_the_release(fake_yard: Yard) -> None:
    yard = fake_yard
    await yard.server("a", limit=1)
    await yard.balancer("one")
    task_id = await yard.submit()
    [handed] = await yard.executor.next()
    await yard.cancel(task_id)
    [told] = await until(lambda: yard.executor.aborted)
    assert (told.task_id, told.number) == (task_id, 1)
    next_id = await yard.submit()
    await asyncio.sleep(3)
    assert not yard.executor.handed
    release = Release(task_id=task_id, generation=1, number=1)
    await yard.bus.publish(VIEW_RELEASES, encode(release))
    [handed] = await yard.executor.next()
    assert handed.task_id == next_id


async def test_a_class_of_tasks_that_fits_nowhere_holds_up_nobody(fake_yard: Yard) -> None:
    yard = fake_yard
    await yard.server("a", limit=1, capabilities=("gpu",))
    await yard.balancer("one")
    for _ in range(20):
        await yard.submit(capabilities=("tpu",), priority=10)
    fits = await yard.submit(capabilities=("gpu",))
    [handed] = await yard.executor.next()
    assert handed.task_id == fits
    assert (await yard.status()).pending == 20


async def test_what_is_due_and_what_waits_for_its_time_are_counted_apart(fake_yard: Yard) -> None:
    yard = fake_yard
    await yard.balancer("one")
    await yard.submit()
    for _ in range(2):
        await yard.submit(run_at=yard.world.clock.now_ms() + 3_000_000)
    await until_status(yard, lambda status: status.waiting == 2)
    status = await yard.status()
    assert (status.pending, {name: pool.pending for name, pool in status.pools.items()}) == (1, {"default": 1})


async def test_a_failed_attempt_waits_for_its_backoff(fake_yard: Yard) -> None:
    yard = fake_yard
    await yard.server("a", limit=1)
    await yard.balancer("one")
    await yard.submit(retry=RetryPolicy(base_ms=10_000, max_ms=10_000, jitter=0.0))
    [handed] = await yard.executor.next()
    await yard.executor.answer(handed, Failed(error="x"))
    began_s = yard.world.clock.monotonic_s()
    [again] = await yard.executor.next()
    assert 9.9 <= yard.world.clock.monotonic_s() - began_s <= 10.2
    assert (again.lease.attempt, again.lease.spent) == (2, 1)


async def test_a_stopping_executor_gets_nothing_more(fake_yard: Yard) -> None:
    yard = fake_yard
    await yard.server("a", limit=10)
    await yard.balancer("one")
    await until_status(yard, lambda status: True)
    yard.executor.stopping = True
    await asyncio.sleep(1)
    await yard.submit()
    await asyncio.sleep(1)
    assert not yard.executor.handed
    yard.executor.stopping = False
    await yard.executor.next()


async def test_what_a_relaxed_stream_lost_is_written_again_by_the_leader(fake_yard: Yard) -> None:
    yard, world = fake_yard, fake_yard.world
    assert isinstance(world, FakeWorld)
    await yard.server("a", limit=10)
    await yard.balancer("one")
    ids = [await yard.submit() for _ in range(3)]
    handed = await yard.executor.next(3)
    await yard.executor.answer(handed[0], Lost(reason="refused"))
    again = (await yard.executor.next())[0]
    world.broker.stop()
    world.broker.streams["KV_leases"].lose_tail(3)
    await asyncio.sleep(0.5)
    world.broker.start()
    await until(lambda: len(world.broker.streams["KV_leases"].messages) == 3)
    for one in (again, *handed[1:]):
        lease = (await yard.becomes(one.task_id, lambda task: task.lease is not None)).lease
        assert isinstance(lease, Lease)
        await yard.becomes(one.task_id, lambda task, one=one: task.lease == one.lease)
        assert await yard.executor.answer(one, Succeeded()) is Settled.COMMITTED
    assert {i for i in ids if (await yard.get(i)).record.status is Status.COMPLETED} == set(ids)
    await until_status(yard, lambda status: status.active == 0)
    assert not yard.executor.handed


async def test_who_lost_the_lead_while_taking_over_does_not_answer_as_the_leader(fake_yard: Yard) -> None:
    """Its take-over hung on a broker that had gone; when that is back, another leads."""
    yard = fake_yard
    service = await yard.balancer("one")
    await until_status(yard, lambda status: True)
    await yard.stop("one")
    late, going = BalancerService(context(yard.world, yard.bus, "late")), asyncio.Event()
    late._know_all = going.wait  # type: ignore[method-assign,assignment]
    await late.start()
    await until(late._leadership.is_leader)
    await late._leadership.stop()
    going.set()
    await until(lambda: not len(late._background) or late._serving is None)
    await asyncio.sleep(1)
    assert late._serving is None
    assert service is not late
    await late.stop()


async def test_the_leader_tells_everyone_of_its_load(fake_yard: Yard) -> None:
    yard = fake_yard
    heard: list[dict[str, Any]] = []

    async def hear(message: Message) -> None:
        heard.append(msgspec.json.decode(message.data))

    await yard.bus.subscribe(VIEW_LOAD, hear)
    await yard.server("a", limit=1)
    await yard.balancer("one")
    for _ in range(3):
        await yard.submit()
    await yard.executor.next()
    await until(lambda: heard and heard[-1]["active"] == {"a": 1})
    assert (heard[-1]["limits"], heard[-1]["pending"]) == ({"a": 1}, 2)


async def test_a_leader_whose_take_over_could_not_be_told_answers_a_step_later(
    fake_yard: Yard, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The bus went between reading everything and offering the verbs, the second after those of the settings."""
    offered, serve = 0, balancer_service.serve

    async def fails_once(*args: Any) -> Any:
        nonlocal offered
        offered += 1
        if offered == 2:
            raise BusDown("gone")
        return await serve(*args)

    monkeypatch.setattr(balancer_service, "serve", fails_once)
    await fake_yard.balancer("one")
    await until_status(fake_yard, lambda status: status.epoch > 0)
    assert offered == 3


async def test_a_failure_nobody_foresaw_gives_the_slot_back(fake_yard: Yard, monkeypatch: pytest.MonkeyPatch) -> None:
    yard, put_lease, failed = fake_yard, TaskStore.put_lease, 0

    async def failing(self: TaskStore, task_id: str, lease: Lease, revision: int, operation: str) -> int:
        nonlocal failed
        if failed < 3:
            failed += 1
            raise RuntimeError("a bug")
        return await put_lease(self, task_id, lease, revision, operation)

    monkeypatch.setattr(TaskStore, "put_lease", failing)
    await yard.server("a", limit=1)
    await yard.balancer("one")
    ids = {await yard.submit(), await yard.submit()}
    for _ in tuple(ids):
        [handed] = await yard.executor.next()
        ids.discard(handed.task_id)
        await yard.executor.answer(handed, Succeeded())
    assert (ids, failed) == (set(), 3)
    status = await yard.status()
    assert (status.active, status.pending) == (0, 0)
