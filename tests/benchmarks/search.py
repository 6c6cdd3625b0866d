"""Search over a large archive: `python -m tests.benchmarks.search [--tasks 1000000] [--explain]`; exit 1 above 50 ms."""

import argparse
import asyncio
import random
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module

import asyncpg
import msgspec

from pointsman.client import nats_bus
from pointsman.client.call import call
from pointsman.contracts.actor import Actor, Role
from pointsman.contracts.base import encode
from pointsman.contracts.filters import of_parameters
from pointsman.contracts.ids import TASK_PREFIX, uuid7_hex
from pointsman.contracts.lifecycle import Status
from pointsman.contracts.record import Attempt, TaskRecord, TaskSpec
from pointsman.contracts.search import SearchTasks, TaskPage
from pointsman.contracts.subjects import verb
from pointsman.contracts.task import DAY_MS
from pointsman.services.history import migrations, service, tables
from pointsman.services.history.query import Arguments, condition_of, span_of
from pointsman.services.history.rules import Stored, day_of, rows_of
from pointsman.services.history.store import TASK_COLUMNS, HistoryStore, connect
from pointsman.services.runtime import buckets
from pointsman.services.runtime.clock import SystemClock
from pointsman.services.runtime.context import Context
from tests.support.system_up import short_folder
from tests.support.systems import Stores, embedded

P95_MS_MAX = 50.0
DAYS = 20
CHUNK = 10_000
COPIES = 10
COPY = """
INSERT INTO tasks ({names})
SELECT 'task_' || lpad(to_hex(created_at - {offset}), 12, '0') || substr(id, 18), created_at - {offset}, generation, revision,
    status, type, owner, pool, priority, server_id, started_at, finished_at, run_at, deadline, attempts, error, error_code,
    labels, record, facets
FROM tasks WHERE created_at % 10 = 0
"""
ROUNDS = 20
ADMIN = Actor(sub="bench", roles=(Role.ADMIN,))
USER = Actor(sub="owner-7", roles=(Role.USER,))
ERRORS = ("connection refused", "the attempt timed out", "out of memory on device 3", "bad input: no such file")

SEARCHES: dict[str, tuple[Actor, dict[str, str]]] = {
    "newest": (ADMIN, {}),
    "status FAILED": (ADMIN, {"status": "FAILED"}),
    "status COMPLETED": (ADMIN, {"status": "COMPLETED"}),
    "status PENDING": (ADMIN, {"status": "PENDING"}),
    "type": (ADMIN, {"type": "type-3"}),
    "type glob, failed": (ADMIN, {"q": "type:type-1* state:failed,timeout"}),
    "server": (ADMIN, {"serverId": "gpu-42"}),
    "server and failed": (ADMIN, {"serverId": "gpu-42", "status": "FAILED"}),
    "owner": (ADMIN, {"owner": "owner-7"}),
    "own tasks": (USER, {}),
    "own failed of a type": (USER, {"status": "FAILED", "type": "type-3"}),
    "label, frequent": (ADMIN, {"labels.team": "blue"}),
    "label, rare": (ADMIN, {"label": "batch=77"}),
    "payload value, rare": (ADMIN, {"payload.user": "4242"}),
    "payload value, absent": (ADMIN, {"payload.user": "nobody"}),
    "error text, frequent": (ADMIN, {"error": "refused"}),
    "error text, rare": (ADMIN, {"error": "needle 7"}),
    "error text, absent": (ADMIN, {"error": "never seen"}),
    "free text": (ADMIN, {"q": "needle"}),
    "since an hour": (ADMIN, {"since": "1h"}),
    "a day, failed": (ADMIN, {"status": "FAILED", "q": "since:5d -since:4d"}),
    "retried": (ADMIN, {"q": "try>1"}),
    "waited long": (ADMIN, {"q": "wait>5s"}),
    "ran long on a server": (ADMIN, {"q": "ran>900ms server:gpu-7"}),
    "not a type": (ADMIN, {"q": "-type:type-3 state:failed"}),
    "id": (ADMIN, {"q": "id:task_0"}),
}


@dataclass(frozen=True)
class Measured:
    name: str
    ms: list[float]
    page: TaskPage

    @property
    def p95(self) -> float:
        return sorted(self.ms)[int(len(self.ms) * 0.95)]


def records(count: int, now: int, rng: random.Random) -> Iterator[TaskRecord]:
    span = DAYS * DAY_MS
    for number in range(count):
        created = (now - span + span * number // count) // 10 * 10
        spec = TaskSpec(
            type=f"type-{min(int(rng.expovariate(0.3)), 19)}",
            deadline=created + DAY_MS,
            payload=msgspec.Raw(
                b'{"user":%d,"url":"s3://bucket/%d.wav","width":%d}' % (number % 50_000, number, number % 97)
            ),
            labels={"team": rng.choice(("blue", "red", "green")), "batch": str(number % 5_000)},
        )
        yield _ended(number, created, spec, rng)


def _ended(number: int, created: int, spec: TaskSpec, rng: random.Random) -> TaskRecord:
    draw = rng.random()
    status = Status.FAILED if draw < 0.02 else Status.TIMEOUT if draw < 0.03 else Status.COMPLETED
    error = (
        None if status is Status.COMPLETED else f"{rng.choice(ERRORS)} ({'needle ' * (draw < 0.00005)}{number % 100})"
    )
    started, ran = created + int(rng.expovariate(1 / 300)), int(rng.expovariate(1 / 150))
    server = f"gpu-{rng.randrange(200)}"
    attempt = Attempt(number=1, server_id=server, started_at=started, finished_at=started + ran, outcome="succeeded")
    return TaskRecord(
        id=TASK_PREFIX + uuid7_hex(created, rng.getrandbits(74)),
        owner=f"owner-{rng.randrange(500)}",
        spec=spec,
        created_at=created,
        updated_at=started + ran,
        status=status,
        started_at=started,
        finished_at=started + ran,
        server_id=server,
        error=error,
        attempts=(attempt,),
        attempt=1 + (rng.random() < 0.03),
        result=msgspec.Raw(b'{"text":"' + b"x" * 100 + b'"}'),
    )


INDEXES = import_module("pointsman.services.history.migrations.versions.r0002_search").INDEXES


async def seed(dsn: str, count: int, now: int) -> None:
    pool, rng, chunk = await connect(dsn), random.Random(7), []
    await HistoryStore(pool).ensure_days(("tasks", day_of(now) - ahead) for ahead in range(-1, DAYS + 1))
    await pool.close()
    connection = await asyncpg.connect(dsn)
    await connection.execute("ALTER TABLE tasks DISABLE TRIGGER USER")
    for name in INDEXES:
        await connection.execute(f"DROP INDEX {name}")
    for number, record in enumerate(records(count // COPIES, now, rng)):
        row = rows_of(Stored(subject="s", revision=number, data=encode(record))).task
        chunk.append(msgspec.structs.astuple(row))
        if len(chunk) == CHUNK or number == count // COPIES - 1:
            await connection.copy_records_to_table("tasks", columns=TASK_COLUMNS, records=chunk)
            chunk.clear()
    for offset in range(1, COPIES):
        await connection.execute(COPY.format(names=", ".join(TASK_COLUMNS), offset=offset))
    for name, columns in INDEXES.items():
        await connection.execute(f"CREATE INDEX {name} ON tasks {columns}")
    await connection.execute("VACUUM ANALYZE tasks")
    await connection.close()
    await tables.recount(dsn)


async def measure(bus: nats_bus.NatsBus, name: str, actor: Actor, filters: dict[str, str]) -> Measured:
    """Pages one after the other, from the first on."""
    took: list[float] = []
    request, first = SearchTasks(filters=filters), None
    for _ in range(ROUNDS):
        began = time.perf_counter()
        answer = await call(bus, verb("history", "search"), encode(request), actor)
        took.append(1000 * (time.perf_counter() - began))
        page = msgspec.json.decode(answer.data, type=TaskPage)
        first = first or page
        request = SearchTasks(filters=filters, cursor=page.cursor)
    assert first is not None
    return Measured(name, took, first)


async def explained(dsn: str, actor: Actor, filters: dict[str, str], now: int) -> str:
    terms, arguments = of_parameters(filters), Arguments()
    owner = None if actor is ADMIN else actor.sub
    condition = condition_of(terms, span_of(terms, now), owner, arguments)
    connection = await asyncpg.connect(dsn)
    try:
        query = f"SELECT id FROM tasks WHERE {condition} ORDER BY created_at DESC, id DESC LIMIT 51"
        rows = await connection.fetch(f"EXPLAIN (ANALYZE, BUFFERS OFF, SUMMARY ON) {query}", *arguments.values)
    finally:
        await connection.close()
    return "\n".join(row[0] for row in rows if "never executed" not in row[0])


async def run(stores: Stores, count: int, *, explain: bool) -> bool:
    clock = SystemClock()
    await asyncio.to_thread(migrations.upgrade, stores.dsn)
    began = time.perf_counter()
    now = clock.now_ms()
    await seed(stores.dsn, count, now)
    print(f"{count} tasks archived in {time.perf_counter() - began:.0f} s")
    given = stores.nats_settings
    bus = await nats_bus.connect(given.url, name="bench", user=given.user, password=given.password)
    await buckets.ensure(bus, relaxed=False, replicas=1)
    running = service.build(Context(bus=bus, settings=stores.settings, clock=clock, instance="bench"))
    await running.start()
    measured = []
    for name, (actor, filters) in SEARCHES.items():
        found = await measure(bus, name, actor, filters)
        measured.append(found)
        total = f"{'~' if found.page.total_is_estimate else ''}{found.page.total}"
        print(
            f"{name:26} first {found.ms[0]:7.1f} ms   p95 {found.p95:7.1f} ms   page {len(found.page.tasks):3}   total {total}"
        )
        if explain and found.p95 > P95_MS_MAX:
            print(await explained(stores.dsn, actor, filters, now))
    await running.stop()
    await bus.close()
    every = sorted(ms for found in measured for ms in found.ms)
    p95 = every[int(len(every) * 0.95)]
    print(
        f"all: p50 {every[len(every) // 2]:.1f} ms, p95 {p95:.1f} ms (at most {P95_MS_MAX:.0f}), max {every[-1]:.1f} ms"
    )
    return p95 <= P95_MS_MAX


async def main() -> int:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--tasks", type=int, default=1_000_000)
    options.add_argument("--explain", action="store_true")
    given = options.parse_args()
    with short_folder() as folder:
        async with embedded(folder) as stores:
            return 0 if await run(stores, given.tasks, explain=given.explain) else 1


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
