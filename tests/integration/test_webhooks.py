"""Completion webhooks on a real broker, database and HTTP receiver."""

import asyncio
import contextlib
import os
import secrets
import signal
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import msgspec
import pytest

from pointsman.client import nats_bus
from pointsman.client.nats_bus import NatsBus
from pointsman.contracts.base import encode
from pointsman.contracts.ids import new_task_id
from pointsman.contracts.lifecycle import Status
from pointsman.contracts.record import TaskRecord, TaskSpec
from pointsman.contracts.subjects import BUCKET_TASKS, STREAM_WEBHOOKS
from pointsman.contracts.task import DAY_MS
from pointsman.contracts.webhook import shown_secret, signing_key
from pointsman.services.history import migrations, service
from pointsman.services.instance.backend import Backends
from pointsman.services.instance.webhooks import Webhooks
from pointsman.services.runtime import buckets
from pointsman.services.runtime.clock import SystemClock
from pointsman.services.runtime.context import Context
from pointsman.services.runtime.egress import policy_of
from pointsman.services.runtime.kv import KvBucket
from tests.support.receiver import Receiver, receiving, until
from tests.support.systems import Stores, embedded

CLOCK = SystemClock()


@dataclass
class Telling:
    """Broker and database with the services that tell; tasks are finished by hand."""

    stores: Stores
    bus: NatsBus
    stack: contextlib.AsyncExitStack
    webhooks: list[Webhooks] = field(default_factory=list)

    async def start_history(self) -> None:
        context = Context(bus=self.bus, settings=self.stores.settings, clock=CLOCK, instance="test")
        running = service.build(context)
        await running.start()
        self.stack.push_async_callback(running.stop)

    async def start_telling(self, *, allowed: tuple[str, ...] = ("127.0.0.0/8",)) -> Webhooks:
        backends = Backends(policy_of(allowed))
        await backends.start()
        self.stack.push_async_callback(backends.stop)
        webhooks = Webhooks(self.bus, backends, self.stores.settings.jwt_secret, CLOCK, Random(7))
        webhooks.start()
        self.webhooks.append(webhooks)
        self.stack.push_async_callback(webhooks.stop)
        return webhooks

    async def end(self, url: str | None, *, owner: str = "ann", revision: int = 0, generation: int = 1) -> TaskRecord:
        """A task that was accepted and has ended."""
        now = CLOCK.now_ms()
        spec = TaskSpec(
            type="scan", deadline=now + DAY_MS, callback_url=url, payload=msgspec.Raw(b'{"secret":"payload"}')
        )
        record = TaskRecord(id=new_task_id(now), owner=owner, spec=spec, created_at=now, updated_at=now)
        bucket = KvBucket(self.bus, BUCKET_TASKS)
        accepted = await bucket.create(record.id, encode(record), operation=secrets.token_hex(4))
        done = msgspec.structs.replace(
            record, status=Status.COMPLETED, finished_at=now, result=msgspec.Raw(b'{"ok":true}'), generation=generation
        )
        await bucket.update(record.id, encode(done), revision=accepted, operation=secrets.token_hex(4))
        return done

    async def waiting(self) -> int:
        info = await buckets.api(self.bus, f"STREAM.INFO.{STREAM_WEBHOOKS}")
        return int(info["state"]["messages"])

    async def is_empty(self) -> None:
        async with asyncio.timeout(20):
            while await self.waiting():
                await asyncio.sleep(0.02)


@pytest.fixture
async def telling(tmp_path: Path) -> AsyncIterator[Telling]:
    async with embedded(tmp_path) as stores, contextlib.AsyncExitStack() as stack:
        await asyncio.to_thread(migrations.upgrade, stores.dsn)
        given = stores.nats_settings
        bus = await nats_bus.connect(given.url, name="test", user=given.user, password=given.password)
        stack.push_async_callback(bus.close)
        await buckets.ensure(bus, relaxed=False, replicas=1)
        yield Telling(stores, bus, stack)


async def test_each_end_is_told_once_signed_and_without_payload(telling: Telling) -> None:
    await telling.start_history()
    await telling.start_telling()
    async with receiving() as receiver:
        ended = [await telling.end(receiver.url, owner="ann") for _ in range(20)]
        await telling.end(None)
        await until(lambda: len(receiver.taken) == 20, "all are told")
        await telling.is_empty()
    assert receiver.taken == {task.id: 1 for task in ended}
    assert receiver.are_signed(shown_secret(signing_key(telling.stores.settings.jwt_secret, "ann")))
    assert not receiver.are_signed(shown_secret(signing_key(telling.stores.settings.jwt_secret, "bob")))
    headers, _ = receiver.calls[0]
    body = receiver.bodies()[0]
    assert headers["webhook-id"] == f"{body['id']}-1-ended"
    assert (body["status"], body["result"], body.get("payload")) == ("COMPLETED", {"ok": True}, None)


async def test_a_receiver_that_fails_gets_it_again_under_the_same_id(telling: Telling) -> None:
    await telling.start_history()
    await telling.start_telling()
    receiver = Receiver(statuses=[500, 302, 404], headers={"Location": "http://127.0.0.1:1/elsewhere"})
    async with receiving(receiver):
        task = await telling.end(receiver.url)
        await until(lambda: receiver.taken[task.id] == 1, "told at last")
        await telling.is_empty()
    assert len(receiver.calls) == 4
    assert len({headers["webhook-id"] for headers, _ in receiver.calls}) == 1


async def test_a_receiver_that_was_down_gets_it_when_it_is_up(telling: Telling) -> None:
    await telling.start_history()
    webhooks = await telling.start_telling()
    receiver = Receiver()
    async with receiving(receiver):
        pass
    task = await telling.end(receiver.url)
    await until(lambda: webhooks.status().failed >= 1, "tried in vain")
    async with receiving(receiver):
        await until(lambda: receiver.taken[task.id] == 1, "told")


async def test_a_receiver_that_is_gone_is_not_called_again(telling: Telling) -> None:
    await telling.start_history()
    webhooks = await telling.start_telling()
    async with receiving(Receiver(statuses=[410])) as receiver:
        await telling.end(receiver.url)
        await until(lambda: webhooks.status().given_up == 1, "given up")
        await telling.is_empty()
        assert len(receiver.calls) == 1


async def test_while_postgres_is_away_ends_are_told(telling: Telling) -> None:
    """More of them than records that history holds."""
    await telling.start_history()
    await telling.start_telling()
    await telling.stores.postgres.stop()
    async with receiving() as receiver:
        for _ in range(12):
            await asyncio.gather(*(telling.end(receiver.url) for _ in range(100)))
        await until(lambda: len(receiver.taken) == 1_200, "all are told", within_s=60)
    assert set(receiver.taken.values()) == {1}


async def test_what_is_announced_while_nobody_tells_is_told_later(telling: Telling) -> None:
    await telling.start_history()
    async with receiving() as receiver:
        task = await telling.end(receiver.url)
        async with asyncio.timeout(20):
            while not await telling.waiting():
                await asyncio.sleep(0.02)
        await telling.start_telling()
        await until(lambda: receiver.taken[task.id] == 1, "told")


async def test_ends_that_nobody_heard_are_announced_from_the_history(telling: Telling) -> None:
    await telling.start_telling()
    async with receiving() as receiver:
        task = await telling.end(receiver.url)
        await telling.start_history()
        await until(lambda: receiver.taken[task.id] == 1, "told")


async def test_an_address_that_is_forbidden_is_never_connected_to(telling: Telling) -> None:
    await telling.start_history()
    webhooks = await telling.start_telling(allowed=())
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        port = server.getsockname()[1]
        await telling.end(f"http://127.0.0.1:{port}/")
        await telling.end(f"http://localhost.localdomain:{port}/")
        await telling.end(f"http://[::ffff:127.0.0.1]:{port}/")
        await until(lambda: webhooks.status().failed >= 3, "each is tried")
        with pytest.raises(BlockingIOError):
            server.accept()


async def test_a_receiver_that_hangs_holds_up_no_other(telling: Telling) -> None:
    await telling.start_history()
    webhooks = await telling.start_telling()
    async with receiving(Receiver(hangs=True)) as slow, receiving() as quick:
        await asyncio.gather(*(telling.end(slow.url) for _ in range(200)))
        await until(lambda: webhooks.status().deferred >= 100, "the slow one is full")
        for _ in range(5):
            task = await telling.end(quick.url)
            await until(lambda task=task: quick.taken[task.id] == 1, "told at once", within_s=3)  # type: ignore[misc]
        assert slow.peak <= 8
        assert webhooks.status().held <= 64


async def test_a_broker_killed_in_the_middle_loses_nothing(telling: Telling) -> None:
    await telling.start_history()
    await telling.start_telling()
    async with receiving() as receiver:
        ended = [await telling.end(receiver.url) for _ in range(20)]
        broker = telling.stores.nats.pid
        assert broker is not None
        os.kill(broker, signal.SIGKILL)
        await until(lambda: len(receiver.taken) == len(ended), "all are told", within_s=90)
