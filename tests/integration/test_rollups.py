"""Rollups equal a recount of the tables, whatever comes, in whatever order, however often, and whatever goes."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from random import Random

import asyncpg
import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pointsman.contracts.base import encode
from pointsman.contracts.ids import TASK_PREFIX, uuid7_hex
from pointsman.contracts.lifecycle import Status
from pointsman.contracts.record import Attempt, PastGeneration, TaskRecord, TaskSpec
from pointsman.contracts.task import DAY_MS
from pointsman.services.history import migrations, tables
from pointsman.services.history.rules import Rows, Stored, day_of, rows_of
from pointsman.services.history.store import HistoryStore, connect
from pointsman.services.statistics.sketch import key_of
from pointsman.services.statistics.spans import HOUR_MS, MINUTE_MS, Range
from pointsman.services.statistics.store import StatisticsStore
from tests.support import recount
from tests.support.systems import Stores, embedded

DAY = 1_795_046_400_000
ENDS = (Status.COMPLETED, Status.FAILED, Status.TIMEOUT, Status.CANCELLED)
OUTCOMES = ("succeeded", "failed", "timed-out", "lost", "cancelled")
TASKS = 12
REVISION = {"accepted": 1, "ended": 2, "retried": 3, "ended again": 4}


@dataclass
class Archive:
    stores: Stores
    database: "asyncpg.Pool[asyncpg.Record]"
    store: HistoryStore
    statistics: StatisticsStore

    async def equals_a_recount(self) -> None:
        found = await recount.tables(self.database)
        spans = [Range(start=DAY + at * DAY_MS, end=DAY + (at + 1) * DAY_MS) for at in range(-1, 3)]
        spans += [Range(start=DAY - DAY_MS, end=DAY + 3 * DAY_MS), Range(start=DAY + 5, end=DAY + DAY_MS + HOUR_MS + 7)]
        for span in spans:
            before = Range(start=span.start - DAY_MS, end=span.end - DAY_MS - 17 * MINUTE_MS)
            totals = await self.statistics.totals(span, before)
            recount.same_counts(totals.all, found.counted(span))
            earlier = found.counted(before)
            assert (totals.before.created, totals.before.ended.total) == (earlier.created, earlier.ended.total)
            types, served = found.types(span), found.served(span)
            assert {one.server_id: (one.successes, one.failures) for one in totals.servers} == {
                name: (one.successes, one.failures) for name, one in served.items()
            }
            listed = await self.statistics.types(span)
            assert ({name for name, _ in listed.types}, listed.total) == (set(types), len(types))
            for name, counted in listed.types:
                recount.same_counts(counted, types[name])
            fleet = await self.statistics.fleet(span)
            assert ({one.server_id for one in fleet.servers}, fleet.total) == (set(served), len(served))
            for one in fleet.servers:
                recount.same_served(one, served[one.server_id])
                recount.same_served(await self.statistics.server(span, one.server_id), served[one.server_id])
        await self._hours_equal(found, spans[1])

    async def _hours_equal(self, found: recount.Tables, day: Range) -> None:
        hours = (await self.statistics.hours(day, Range(start=0, end=0))).hours
        for start in range(day.start - DAY_MS, day.end, HOUR_MS):
            counted = found.counted(Range(start=start, end=start + HOUR_MS))
            if start in hours or counted.size:
                recount.same_counts(hours[start], counted)

    async def empty(self) -> None:
        await self.database.execute("DELETE FROM tasks; DELETE FROM attempts; DELETE FROM transitions")


@pytest.fixture
async def archive(tmp_path: Path) -> AsyncIterator[Archive]:
    async with embedded(tmp_path) as stores:
        await asyncio.to_thread(migrations.upgrade, stores.dsn)
        database = await connect(stores.dsn)
        try:
            yield Archive(stores, database, HistoryStore(database), StatisticsStore(database))
        finally:
            database.terminate()


def rows(number: int, stage: str) -> Rows:
    """One of twelve lives, each the same whenever it is told: some over midnight, some ended by a clock that is behind."""
    chance = Random(number)
    created = DAY + chance.choice((0, DAY_MS - 5, chance.randrange(-DAY_MS, DAY_MS)))
    task = TaskRecord(
        id=TASK_PREFIX + uuid7_hex(created, number),
        owner="ann",
        spec=TaskSpec(
            type=chance.choice(("scan", "speak", "sum")),
            deadline=created + DAY_MS,
            run_at=created + 4_000 if number % 3 == 0 else None,
        ),
        created_at=created,
        updated_at=created,
    )
    first = _ended(task, chance)
    again = msgspec.structs.replace(
        task,
        generation=2,
        updated_at=created + DAY_MS,
        past=(
            PastGeneration(
                generation=1, status=first.status, finished_at=first.finished_at or 0, attempts=first.attempts
            ),
        ),
    )
    told = {"accepted": task, "ended": first, "retried": again, "ended again": _ended(again, chance)}[stage]
    return rows_of(Stored(subject="s", revision=REVISION[stage], data=encode(told)))


def _ended(task: TaskRecord, chance: Random) -> TaskRecord:
    started = task.updated_at + chance.choice((0, 7, 60_000))
    finished = started + chance.choice((-20, 0, 900, 2 * HOUR_MS, DAY_MS))
    attempts = tuple(
        Attempt(
            number=number,
            server_id=f"gpu-{chance.randrange(3)}",
            started_at=started + number,
            finished_at=max(started + number, finished),
            outcome=chance.choice(OUTCOMES),
        )
        for number in range(1, chance.choice((1, 2, 3)))
    )
    return msgspec.structs.replace(
        task,
        status=chance.choice(ENDS),
        started_at=started if attempts else None,
        finished_at=finished,
        updated_at=finished,
        attempts=attempts,
        attempt=len(attempts),
    )


batches = st.lists(st.tuples(st.integers(0, TASKS - 1), st.sampled_from(tuple(REVISION))), min_size=1, max_size=12)
acts = st.one_of(
    batches.map(lambda batch: ("write", batch)),
    batches.map(lambda batch: ("write", batch)),
    st.integers(1, 40).map(lambda most: ("fold", most)),
    st.integers(-1, 3).map(lambda days: ("drop", days)),
)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(st.lists(acts, min_size=1, max_size=8))
async def test_rollups_equal_a_recount_whatever_happens(archive: Archive, told: list[tuple[str, object]]) -> None:
    await archive.empty()
    for act, what in told:
        match act, what:
            case "write", list(batch):
                await archive.store.write([rows(number, stage) for number, stage in batch], now_ms=DAY)
            case "fold", int(most):
                await archive.store.fold(most)
            case "drop", int(days):
                await archive.store.drop_days_before(day_of(DAY) + days)
    await archive.equals_a_recount()


async def test_two_writers_and_a_folder_at_once_count_each_task_once(archive: Archive) -> None:
    stages = [(number, stage) for number in range(TASKS) for stage in REVISION]
    folding = asyncio.Event()

    async def fold() -> None:
        while not folding.is_set():
            await archive.store.fold(5)

    async def write(chance: Random) -> None:
        for _ in range(20):
            batch = chance.sample(stages, 15)
            await archive.store.write([rows(number, stage) for number, stage in batch], now_ms=DAY)

    folder = asyncio.create_task(fold())
    await asyncio.gather(*(write(Random(seed)) for seed in range(3)))
    folding.set()
    await folder
    await archive.equals_a_recount()


async def test_an_archive_of_before_is_counted_when_the_schema_goes_up(archive: Archive) -> None:
    every = [rows(number, stage) for number in range(TASKS) for stage in REVISION]
    await asyncio.to_thread(migrations.downgrade, archive.stores.dsn, "0003")
    await archive.store.write(every, now_ms=DAY)
    await asyncio.to_thread(migrations.upgrade, archive.stores.dsn)
    assert await archive.database.fetchval("SELECT count(*) FROM rollups") > 0
    await archive.equals_a_recount()
    await archive.store.write(every, now_ms=DAY)
    await archive.store.fold(1_000)
    await archive.equals_a_recount()
    await tables.recount(archive.stores.dsn)
    await archive.equals_a_recount()


async def test_the_database_puts_durations_where_the_library_does(archive: Archive) -> None:
    durations = [*range(-1, 3_000), *(int(1.01**power) for power in range(800, 1_800))]
    found = await archive.database.fetch("SELECT duration_bucket(ms) FROM unnest($1::bigint[]) AS ms", durations)
    assert [row[0] for row in found] == [key_of(duration) for duration in durations]
