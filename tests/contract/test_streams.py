"""All events over the gateway's own stream, on the fake and on NATS alike: joined before its head, ended in words."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest

from pointsman.client.bus import Bus
from pointsman.client.client import Client
from pointsman.contracts.actor import Actor, Role
from pointsman.contracts.errors import PointsmanError
from pointsman.contracts.ids import new_operation_id
from pointsman.contracts.subjects import BUCKET_LEASES, BUCKET_TASKS
from pointsman.contracts.task import TaskRequest
from pointsman.services.gateway.all_events import all_events
from pointsman.services.gateway.hub import Hub
from pointsman.services.runtime import outcomes
from pointsman.services.runtime.kv import KvBucket
from pointsman.services.runtime.task_store import TaskStore
from pointsman.services.task.service import TaskService
from tests.support import worlds
from tests.support.listening import Listener, hub_bus, listening
from tests.support.worlds import World, context

world, bus = worlds.world, worlds.bus

ANN = Actor(sub="ann", roles=(Role.ADMIN,))

type Event = dict[str, Any]
type Hearing = Callable[..., AbstractAsyncContextManager[Listener]]


@pytest.fixture
async def service(world: World, bus: Bus) -> AsyncIterator[TaskService]:
    service = TaskService(context(world, bus))
    await service.start()
    yield service
    await service.stop()


@pytest.fixture
async def client(world: World, service: TaskService) -> Client:
    return Client(await world.connect("client"), ANN)


@pytest.fixture
async def hub(world: World, bus: Bus) -> Hub:
    return Hub(context(world, await world.connect("gateway")))


@pytest.fixture
def hearing(world: World, hub: Hub) -> Hearing:
    def hear(last: str = "", **more: Any) -> AbstractAsyncContextManager[Listener]:
        headers = {b"last-event-id": last.encode()} if last else {}
        return listening(hub, world.clock, all_events, ANN, headers=headers, **more)

    return hear


async def submitted(client: Client) -> str:
    return (await client.tasks.submit(TaskRequest(type="resize"))).id


async def told_of(listener: Listener, task_id: str) -> Event:
    """The first event of this task, with the cursor after it."""
    while (body := await listener.next()) is not None:
        for event in events_of(body):
            if event.get("taskId") == task_id:
                return event
    raise AssertionError("the stream has ended")


def events_of(body: bytes) -> list[Event]:
    found = []
    for block in body.decode().split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines() if not line.startswith(":"))
        if "data" in fields:
            found.append({"id": fields.get("id", ""), "event": fields["event"], **json.loads(fields["data"])})
    return found


async def test_what_happens_from_the_head_on_is_told(hearing: Hearing, client: Client) -> None:
    async with hearing() as listener:
        while not listener.status:
            await asyncio.sleep(0)
        task_id = await submitted(client)
        assert (await told_of(listener, task_id))["event"] == "submitted"


async def test_without_the_broker_there_is_no_stream_but_a_refusal(world: World, hearing: Hearing, hub: Hub) -> None:
    world.cut(hub_bus(hub))
    with pytest.raises(PointsmanError) as refusal:
        async with hearing():
            pass
    assert refusal.value.status == 503
    await world.mend(hub_bus(hub))
    async with hearing() as listener:
        assert await listener.next() == b": pointsman events\n\n"


async def test_a_reader_that_comes_back_is_told_what_it_missed_once(hearing: Hearing, client: Client) -> None:
    async with hearing() as listener:
        first = await told_of(listener, await submitted(client))
    missed = await submitted(client)
    async with hearing(first["id"]) as listener:
        assert (await told_of(listener, missed))["event"] == "submitted"


async def test_a_stream_ends_in_words_with_the_token_of_its_reader(hearing: Hearing) -> None:
    async with hearing(lives_s=0.05) as listener:
        told = await listener.rest()
    assert told.endswith(b'event: interrupted\ndata: {"reason":"token-expired"}\n\n')


async def test_asking_for_the_head_alone_leaves_no_reader_behind(hearing: Hearing, hub: Hub) -> None:
    async with hearing(method="HEAD") as listener:
        assert await listener.rest() == b""
        assert listener.status == 200
    assert len(hub) == 0


@pytest.mark.parametrize("last", ["x", "-1-2", "1", "1-2-3-4", "1-2 ", "9" * 40])
async def test_a_cursor_that_is_none_is_refused_by_name_and_leaves_no_reader_behind(
    hearing: Hearing, hub: Hub, last: str
) -> None:
    with pytest.raises(PointsmanError, match="Last-Event-ID") as refusal:
        async with hearing(last):
            pass
    assert refusal.value.status == 400
    assert len(hub) == 0


async def cursor_now(hearing: Hearing, client: Client) -> str:
    async with hearing() as listener:
        return str((await told_of(listener, await submitted(client)))["id"])


async def first_told(hearing: Hearing, last: str) -> Event:
    async with hearing(last) as listener:
        while (body := await listener.next()) is not None:
            if found := events_of(body):
                return found[0]
    raise AssertionError("the stream has ended")


async def test_a_cursor_from_beyond_the_end_of_the_streams_is_told_a_gap(hearing: Hearing, client: Client) -> None:
    tasks, _, leases = (await cursor_now(hearing, client)).partition("-")
    last = f"{int(tasks) + 50}-{leases}"
    async with hearing(last) as listener:
        gap = b""
        while b"event: gap" not in gap:
            gap = await listener.next() or b""
        task_id = await submitted(client)
        assert (await told_of(listener, task_id))["event"] == "submitted"


@pytest.mark.parametrize("is_forgotten", [True, False])
async def test_what_is_held_no_more_is_told_as_a_gap_and_what_was_only_overwritten_is_not(
    hearing: Hearing, client: Client, bus: Bus, world: World, hub: Hub, is_forgotten: bool
) -> None:
    store = TaskStore(KvBucket(bus, BUCKET_TASKS), KvBucket(bus, BUCKET_LEASES), 1)
    hub._kept_ms = 1_000
    last = await cursor_now(hearing, client)
    task_id = await submitted(client)
    if not is_forgotten:
        hub._kept_ms = 60_000
        store = TaskStore(KvBucket(bus, BUCKET_TASKS), KvBucket(bus, BUCKET_LEASES), 60)
    task = await store.get(task_id, latest=True)
    assert task is not None
    record = outcomes.cancel(task.record, task.lease, None, world.clock.now_ms())
    await store.finish(record, task.revision, new_operation_id())
    if is_forgotten:
        async with asyncio.timeout(30):
            while await store.get(task_id, latest=True) is not None:
                await asyncio.sleep(0.1)
    await submitted(client)
    assert (await first_told(hearing, last))["event"] == ("gap" if is_forgotten else "cancelled")
