"""How fast the archive is written: `python -m tests.benchmarks.writer [--tasks 20000]`; exit 1 below 5,000 tasks/s.

CPU is told per process too: it says what a machine with nothing else to do would reach. `--without-rollups` leaves the
triggers out, for comparison.
"""

import argparse
import asyncio
import contextlib
import resource
import sys
import time

import psutil

from pointsman.client import nats_bus
from pointsman.services.history import migrations, service
from pointsman.services.history.store import connect
from pointsman.services.runtime import buckets
from pointsman.services.runtime.clock import SystemClock
from pointsman.services.runtime.context import Context
from tests.integration.test_history import Archive
from tests.support.system_up import short_folder
from tests.support.systems import Stores, embedded

TASKS_PER_S_MIN = 5_000
WITHIN_S = 120.0


async def run(stores: Stores, count: int, *, rollups: bool) -> bool:
    """Fill HISTORY while no writer runs, then time a writer that empties it."""
    await asyncio.to_thread(migrations.upgrade, stores.dsn)
    given = stores.nats_settings
    bus = await nats_bus.connect(given.url, name="bench", user=given.user, password=given.password)
    await buckets.ensure(bus, relaxed=True, replicas=1)
    archive = Archive(stores, bus, await connect(stores.dsn), {}, [])
    if not rollups:
        await archive.database.execute("ALTER TABLE tasks DISABLE TRIGGER USER")
        await archive.database.execute("ALTER TABLE attempts DISABLE TRIGGER USER")
    await archive.run_tasks(count)
    context = Context(bus=bus, settings=stores.settings, clock=SystemClock(), instance="bench")
    running = service.build(context)
    began, cpu, others = time.perf_counter(), _cpu_s(), _children_s()
    await running.start()
    async with asyncio.timeout(WITHIN_S):
        while not await archive.is_empty("HISTORY"):
            await asyncio.sleep(0.05)
    took, cpu = time.perf_counter() - began, _cpu_s() - cpu
    for name, used in _children_s().items():
        print(f"{name}: {1000 * (used - others.get(name, 0.0)) / count:.3f} ms of CPU per task")
    archived = await archive.database.fetchval("SELECT count(*) FROM tasks WHERE status = 'COMPLETED'")
    await running.stop()
    archive.database.terminate()
    await bus.close()
    rate = count / took
    print(f"{count} tasks (accepted and ended) in {took:.2f} s: {rate:.0f} tasks/s, at least {TASKS_PER_S_MIN}")
    print(
        f"writer: {1000 * cpu / count:.3f} ms of CPU per task, {100 * cpu / count * 200:.1f} % of a core at 200 tasks/s"
    )
    print(f"in the table: {archived}")
    return rate >= TASKS_PER_S_MIN and archived == count


def _cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def _children_s() -> dict[str, float]:
    """CPU of the stores' processes, by name."""
    used: dict[str, float] = {}
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):
            times = process.cpu_times()
            used[process.name()] = used.get(process.name(), 0.0) + times.user + times.system
    return used


async def main() -> int:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--tasks", type=int, default=20_000)
    options.add_argument("--without-rollups", action="store_true")
    given = options.parse_args()
    with short_folder() as folder:
        async with embedded(folder) as stores:
            return 0 if await run(stores, given.tasks, rollups=not given.without_rollups) else 1


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
