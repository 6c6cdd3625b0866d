"""Reading a day of statistics: `python -m tests.benchmarks.statistics_day [--tasks 1000000]`; exit 1 above 50 ms.

One day has all the tasks, of 20 types on 200 servers; the archive is made with COPY and counted by `recount_rollups`, as
a migration or a restore does. Each report is asked for over NATS, as the gateway asks, one at a time.
"""

import argparse
import asyncio
import random
import sys
import time
from collections.abc import Callable, Iterator

import asyncpg
import msgspec

from pointsman.client import nats_bus
from pointsman.client.bus import Bus
from pointsman.client.client import Statistics
from pointsman.contracts.actor import Actor, Role
from pointsman.contracts.ids import TASK_PREFIX
from pointsman.contracts.statistics import StatisticsQuery
from pointsman.contracts.task import DAY_MS
from pointsman.services.history import migrations, tables
from pointsman.services.history.rules import AttemptRow, TaskRow, day_of
from pointsman.services.history.store import ATTEMPT_COLUMNS, TASK_COLUMNS, HistoryStore, connect
from pointsman.services.runtime import buckets
from pointsman.services.runtime.clock import SystemClock
from pointsman.services.runtime.context import Context
from pointsman.services.statistics import service
from pointsman.services.statistics.rules import date_of
from tests.support.system_up import short_folder
from tests.support.systems import Stores, embedded

P95_MS_MAX = 50.0
TYPES, SERVERS, CHUNK, ROUNDS = 20, 200, 20_000, 60
ADMIN = Actor(sub="bench", roles=(Role.ADMIN,))


def rows(count: int, day_ms: int, rng: random.Random) -> Iterator[tuple[TaskRow, AttemptRow]]:
    for number in range(count):
        created = day_ms + (DAY_MS - HOURS_LEFT_MS) * number // count
        started = created + int(rng.lognormvariate(4, 1))
        finished = started + int(rng.lognormvariate(6, 1))
        draw, kind, server = rng.random(), f"type-{number % TYPES}", f"gpu-{rng.randrange(SERVERS)}"
        status = "FAILED" if draw < 0.02 else "TIMEOUT" if draw < 0.03 else "COMPLETED"
        outcome = "succeeded" if status == "COMPLETED" else "failed"
        task_id = f"{TASK_PREFIX}{created:012x}7{number:019x}"
        yield (
            TaskRow(
                id=task_id, created_at=created, generation=1, revision=number, status=status, type=kind, owner="ann",
                pool="default", priority=0, server_id=server, started_at=started, finished_at=finished, run_at=None,
                deadline=finished + DAY_MS, attempts=1, error=None, error_code=None, labels="{}", record=b"{}", facets=[],
            ),
            AttemptRow(
                task_id=task_id, generation=1, number=1, server_id=server, type=kind, started_at=started,
                finished_at=finished, outcome=outcome, http_status=200, error=None,
            ),
        )  # fmt: skip


HOURS_LEFT_MS = 60_000


async def seed(stores: Stores, count: int, day_ms: int) -> None:
    pool, rng = await connect(stores.dsn), random.Random(7)
    days = [(table, day_of(day_ms) + ahead) for table in ("tasks", "attempts") for ahead in range(2)]
    await HistoryStore(pool).ensure_days(days)
    await pool.close()
    connection = await asyncpg.connect(stores.dsn)
    began = time.perf_counter()
    for table in ("tasks", "attempts"):
        await connection.execute(f"ALTER TABLE {table} DISABLE TRIGGER USER")
    await _copy(connection, rows(count, day_ms, rng))
    for table in ("tasks", "attempts"):
        await connection.execute(f"ALTER TABLE {table} ENABLE TRIGGER USER")
    await connection.execute("VACUUM ANALYZE")
    await connection.close()
    print(f"{count} tasks and their attempts written in {time.perf_counter() - began:.0f} s")
    began = time.perf_counter()
    await tables.recount(stores.dsn)
    print(f"counted anew in {time.perf_counter() - began:.1f} s")


async def _copy(connection: "asyncpg.Connection[asyncpg.Record]", made: Iterator[tuple[TaskRow, AttemptRow]]) -> None:
    done = False
    while not done:
        chunk = [pair for _, pair in zip(range(CHUNK), made, strict=False)]
        done = len(chunk) < CHUNK
        for table, columns, at in (("tasks", TASK_COLUMNS, 0), ("attempts", ATTEMPT_COLUMNS, 1)):
            records = [msgspec.structs.astuple(pair[at]) for pair in chunk]
            await connection.copy_records_to_table(table, columns=columns, records=records)


async def measure(name: str, ask: Callable[[], object]) -> float:
    took: list[float] = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        await ask()  # type: ignore[misc]
        took.append(1000 * (time.perf_counter() - began))
    took.sort()
    p95 = took[int(ROUNDS * 0.95)]
    print(f"{name:28} p50 {took[ROUNDS // 2]:7.1f} ms   p95 {p95:7.1f} ms   max {took[-1]:7.1f} ms")
    return p95


async def reports(bus: Bus, day_ms: int) -> list[float]:
    statistics, date = Statistics(bus, ADMIN, "statistics"), date_of(day_ms)
    day = StatisticsQuery(date=date)
    week = StatisticsQuery(from_ms=day_ms - 89 * DAY_MS, to_ms=day_ms + DAY_MS)
    asked = {
        "totals of the day": lambda: statistics.tasks(day),
        "24 hours": lambda: statistics.hourly(date),
        "every type": lambda: statistics.types(day),
        "every server": lambda: statistics.servers(day),
        "one server": lambda: statistics.server("gpu-7", date),
        "totals of 90 days": lambda: statistics.tasks(week),
    }
    return [await measure(name, ask) for name, ask in asked.items()]


async def run(stores: Stores, count: int) -> bool:
    await asyncio.to_thread(migrations.upgrade, stores.dsn)
    clock = SystemClock()
    day_ms = (clock.now_ms() // DAY_MS - 1) * DAY_MS
    await seed(stores, count, day_ms)
    given = stores.nats_settings
    bus = await nats_bus.connect(given.url, name="bench", user=given.user, password=given.password)
    await buckets.ensure(bus, relaxed=False, replicas=1)
    running = service.build(Context(bus=bus, settings=stores.settings, clock=clock, instance="bench"))
    await running.start()
    worst = max(await reports(bus, day_ms))
    await running.stop()
    await bus.close()
    print(f"worst p95 {worst:.1f} ms (at most {P95_MS_MAX:.0f})")
    return worst <= P95_MS_MAX


async def main() -> int:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--tasks", type=int, default=1_000_000)
    given = options.parse_args()
    with short_folder() as folder:
        async with embedded(folder) as stores:
            return 0 if await run(stores, given.tasks) else 1


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
