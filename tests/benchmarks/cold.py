"""How long a leader takes to know what waits, and what that costs it: `python -m tests.benchmarks.cold`.

First the real thing: tasks in a real broker, a balancer started on them, and the minute's comparison of the two. Then the
model alone with a million waiting tasks: bytes per task, and whether a decision costs more than with ten.
"""

import argparse
import asyncio
import gc
import os
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

import msgspec
import psutil

from pointsman.client import nats_bus
from pointsman.client.bus import Bus, BusError
from pointsman.client.client import Client
from pointsman.contracts.actor import Actor, Role
from pointsman.contracts.base import encode
from pointsman.contracts.errors import PointsmanError
from pointsman.contracts.ids import new_operation_id, new_task_id
from pointsman.contracts.record import TaskHead, TaskRecord, TaskSpec
from pointsman.contracts.server import HealthState, ServerConfig, ServerHealth
from pointsman.contracts.subjects import BUCKET_TASKS
from pointsman.services.balancer.audit import Audit
from pointsman.services.balancer.follow import Folding
from pointsman.services.balancer.model import RAW_BYTES_MAX, RAW_TOTAL_BYTES_MAX, Model
from pointsman.services.runtime import buckets
from pointsman.services.runtime.clock import SystemClock
from pointsman.services.runtime.embedded import child, folder
from pointsman.services.runtime.embedded.kept import Kept
from pointsman.services.runtime.embedded.nats import Nats
from pointsman.services.runtime.embedded.service import python
from pointsman.services.runtime.kv import KvBucket
from pointsman.services.runtime.settings import Settings

BROKER_READY_S = 30.0
STARTED_WITHIN_S = 300.0
WRITERS = 128
DECISIONS, BATCH = 5_000, 5
FEW = 10
ACTOR = Actor(sub="bench", roles=(Role.ADMIN,))
HOUR_MS = 3_600_000

_HEAD = msgspec.json.Decoder(TaskHead)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", type=int, default=100_000, help="live tasks in the broker")
    parser.add_argument("--waiting", type=int, default=1_000_000, help="tasks in the model alone")
    parser.add_argument("--payload", type=int, default=200, help="bytes of payload per task")
    options = parser.parse_args()
    with TemporaryDirectory(prefix="pointsman-cold-") as home:
        asyncio.run(cold(Path(home), options.tasks, options.payload))
    alone(options.waiting, options.payload)


async def cold(home: Path, count: int, payload: int) -> None:
    nats = Nats(folder.make(home / "d"))
    broker = Kept(nats)
    broker.start()
    await broker.ready(within_s=BROKER_READY_S)
    bus = await nats_bus.connect(nats.url, name="bench", user=nats.user, password=nats.password)
    settings = Settings(nats_url=nats.url, nats_user=nats.user, nats_password=nats.password, durability="relaxed")
    try:
        await buckets.ensure(bus, relaxed=True, replicas=1)
        _, empty_bytes = await started(bus, settings, home)
        size = await fill(bus, count, payload)
        seconds, full_bytes = await started(bus, settings, home)
        raw = min(count * size, RAW_TOTAL_BYTES_MAX) if size <= RAW_BYTES_MAX else 0
        print(f"{count:,} live tasks of {size} bytes, no server: dispatching {seconds:.1f} s after the start")
        print(
            f"leader: {empty_bytes >> 20} MiB when empty, {full_bytes >> 20} MiB then, {raw >> 20} MiB of it raw records"
        )
        print(f"leader: {(full_bytes - empty_bytes - raw) / count:.0f} bytes per waiting task over the empty process")
        await compared(bus, count)
    finally:
        await bus.close()
        await broker.stop()


async def fill(bus: Bus, count: int, payload: int) -> int:
    """Accepted tasks as `task.create` writes them; the bytes of one."""
    tasks, numbers = KvBucket(bus, BUCKET_TASKS), iter(range(count))
    size = 0

    async def write() -> None:
        nonlocal size
        for _ in numbers:
            record = accepted(payload)
            data = encode(record)
            size = len(data)
            await tasks.create(record.id, data, operation=new_operation_id())

    async with asyncio.TaskGroup() as group:
        for _ in range(WRITERS):
            group.create_task(write())
    return size


async def started(bus: Bus, settings: Settings, home: Path) -> tuple[float, int]:
    """Start a balancer; seconds until it dispatches, and its resident bytes then."""
    log = home / "d" / "logs" / "balancer.log"
    program = python("-m", "pointsman.services", "balancer", settings=settings, log=log, keeps=())
    began_s = time.monotonic()
    process = await child.spawn(program)
    try:
        async with asyncio.timeout(STARTED_WITHIN_S):
            while not await answers(bus):
                await asyncio.sleep(0.02)
        return time.monotonic() - began_s, psutil.Process(process.pid).memory_info().rss
    finally:
        await child.stop(process, program)


async def answers(bus: Bus) -> bool:
    try:
        return bool((await Client(bus, ACTOR).balancer.status()).epoch)
    except (PointsmanError, BusError):
        return False


async def compared(bus: Bus, count: int) -> None:
    """The comparison of memory and store, with all there is and then with one task missing."""
    model, clock = Model(), SystemClock()
    folding = Folding(bus, model, clock, relaxed=True, changed=lambda: None, replayed=lambda: None)
    await folding.start()
    try:
        audit = Audit(bus, model, clock, refresh=folding.tasks.refresh)
        began_s, cpu_s = time.monotonic(), time.process_time()
        assert await audit.step() == 0
        print(
            f"comparison of {count:,} tasks: {time.monotonic() - began_s:.2f} s, "
            f"{time.process_time() - cpu_s:.2f} s of it CPU of the leader, once a minute"
        )
        del model.entries[next(iter(model.entries))]
        assert await audit.step() == 1
        assert len(model.entries) == count
    finally:
        await folding.stop()


def accepted(payload: int) -> TaskRecord:
    now = round(time.time() * 1000)
    content = msgspec.Raw(b'"' + b"x" * payload + b'"')
    spec = TaskSpec(type="bench", deadline=now + HOUR_MS, payload=content)
    return TaskRecord(id=new_task_id(now), owner="bench", spec=spec, created_at=now, updated_at=now)


def alone(count: int, payload: int) -> None:
    """The model without a broker; raw records are left out."""
    few = min(_decision_us(_waiting(FEW, payload), FEW // 2) for _ in range(50))
    gc.collect()
    before = psutil.Process(os.getpid()).memory_info().rss
    began_s = time.monotonic()
    model = _waiting(count, payload)
    seconds = time.monotonic() - began_s
    gc.collect()
    bytes_each = (psutil.Process(os.getpid()).memory_info().rss - before) / count
    print(f"model alone, {count:,} waiting: {bytes_each:.0f} bytes per task, folded in {seconds:.1f} s")
    many = _decision_us(model, DECISIONS)
    print(f"decision: {few:.1f} us with {FEW} waiting, {many:.1f} us with {count:,}")


def _waiting(count: int, payload: int) -> Model:
    model = Model()
    config = ServerConfig(
        id="a", name="a", predict="http://x", health="http://x", registered_at=1, max_concurrent=10_000
    )
    model.fleet.configure(config)
    model.fleet.set_health("a", ServerHealth(state=HealthState.HEALTHY, registered_at=1))
    not_kept = b" " * (RAW_BYTES_MAX + 1)
    now = round(time.time() * 1000)
    for number, head in enumerate(_heads(count, payload), 1):
        model.fold_task(head, number, not_kept, now + HOUR_MS // 2, 0.0)
    return model


def _heads(count: int, payload: int) -> Iterator[TaskHead]:
    for _ in range(count):
        yield _HEAD.decode(encode(accepted(payload)))


def _decision_us(model: Model, decisions: int) -> float:
    """The least of several batches: what else runs on the machine does not count."""
    rng, now, batches = Random(7), round(time.time() * 1000) + HOUR_MS // 2, []
    for _ in range(max(1, decisions // BATCH)):
        began_s = time.perf_counter()
        for _ in range(min(BATCH, decisions)):
            assert model.next_decision(now, 0.0, rng) is not None
        batches.append((time.perf_counter() - began_s) / min(BATCH, decisions) * 1e6)
    return min(batches)


if __name__ == "__main__":
    main()
