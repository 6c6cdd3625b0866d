"""Reports on a real broker and database equal a naive recount of what was archived."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

import msgspec
import pytest

from pointsman.client import call, nats_bus
from pointsman.client.nats_bus import NatsBus
from pointsman.contracts.actor import Actor, Role
from pointsman.contracts.balancer import Algorithm, BalancerStatus, PoolStatus
from pointsman.contracts.base import encode
from pointsman.contracts.errors import PointsmanError
from pointsman.contracts.history import HistoryStatus
from pointsman.contracts.ids import TASK_PREFIX, uuid7_hex
from pointsman.contracts.lifecycle import Status
from pointsman.contracts.record import Attempt, TaskRecord, TaskSpec
from pointsman.contracts.server import ServerConfig, ServerId
from pointsman.contracts.statistics import (
    FleetStatistics,
    HourlyStatistics,
    LoadBalancerStatistics,
    ServerStatistics,
    StatisticsQuery,
    TaskStatistics,
    TypesStatistics,
)
from pointsman.contracts.subjects import BUCKET_SERVERS, verb
from pointsman.contracts.task import DAY_MS
from pointsman.services.history import migrations
from pointsman.services.history.rules import Stored, rows_of
from pointsman.services.history.store import HistoryStore, connect
from pointsman.services.runtime import buckets, serve
from pointsman.services.runtime.context import Context, RunningService
from pointsman.services.runtime.kv import KvBucket
from pointsman.services.statistics import service
from tests.support import recount
from tests.support.systems import Stores, embedded, frozen

DAY = 1_795_046_400_000
NOW = DAY + 20 * 3_600_000
ENDS = (Status.COMPLETED, Status.COMPLETED, Status.FAILED, Status.TIMEOUT, Status.CANCELLED)
VIEWER = Actor(sub="eve", roles=(Role.VIEWER,))


class FixedClock:
    def now_ms(self) -> int:
        return NOW

    def monotonic_s(self) -> float:
        return NOW / 1000


BALANCER = BalancerStatus(
    leader="one", epoch=1, servers={}, pending=11, waiting=3, active=4, last_dispatch=None, dispatched=0, as_of=NOW,
    pools={"default": PoolStatus(algorithm=Algorithm.P2C, servers=1, eligible=1, pending=11, active_tasks=4, slots=9)},
)  # fmt: skip


@dataclass
class Reports:
    """A statistics service, and what the archive under it holds."""

    stores: Stores
    bus: NatsBus
    running: RunningService
    archive: HistoryStore
    tasks: tuple[TaskRecord, ...] = ()

    async def keep(self, tasks: Sequence[TaskRecord]) -> None:
        self.tasks += tuple(tasks)
        rows = [rows_of(Stored(subject="s", revision=at, data=encode(task))) for at, task in enumerate(tasks)]
        await self.archive.write(rows, now_ms=NOW)

    async def ask[T](self, name: str, query: msgspec.Struct, form: type[T], actor: Actor = VIEWER) -> T:
        answer = await call.call(self.bus, verb("statistics", name), encode(query), actor)
        return msgspec.json.decode(answer.data, type=form)

    async def says(self, name: str, answer: msgspec.Struct) -> serve.Serving:
        """Somebody who answers the `status` verb of this service."""

        async def status(_call: serve.Call) -> msgspec.Struct:
            return answer

        return await serve.serve(self.bus, name, "0.0.1", [serve.Verb("status", status)])


@pytest.fixture
async def reports(tmp_path: Path) -> AsyncIterator[Reports]:
    async with embedded(tmp_path) as stores:
        await asyncio.to_thread(migrations.upgrade, stores.dsn)
        given = stores.nats_settings
        bus = await nats_bus.connect(given.url, name="test", user=given.user, password=given.password)
        await buckets.ensure(bus, relaxed=False, replicas=1)
        running = service.build(Context(bus=bus, settings=stores.settings, clock=FixedClock(), instance="test"))
        await running.start()
        pool = await connect(stores.dsn)
        try:
            yield Reports(stores, bus, running, HistoryStore(pool))
        finally:
            pool.terminate()
            await running.stop()
            await bus.close()


def task(chance: Random, number: int) -> TaskRecord:
    """Created within three days around DAY, ended up to two hours later, if at all."""
    created = DAY + chance.randrange(-DAY_MS, 2 * DAY_MS)
    started = created + chance.randrange(0, 60_000)
    ended = started + chance.randrange(1, 2 * 3_600_000)
    status = chance.choice(ENDS)
    base = TaskRecord(
        id=TASK_PREFIX + uuid7_hex(created, number),
        owner="ann",
        spec=TaskSpec(
            type="scan", deadline=created + DAY_MS, run_at=created + 5_000 if chance.random() < 0.2 else None
        ),
        created_at=created,
        updated_at=ended,
        generation=chance.choice((1, 1, 1, 2)),
    )
    if chance.random() < 0.2:
        return base
    if status == Status.CANCELLED and chance.random() < 0.5:
        return msgspec.structs.replace(base, status=status, finished_at=ended)
    attempts = tuple(attempt(chance, n, started, ended) for n in range(1, chance.choice((2, 2, 2, 4))))
    return msgspec.structs.replace(
        base, status=status, started_at=started, finished_at=ended, attempts=attempts, attempt=len(attempts)
    )


def attempt(chance: Random, number: int, started: int, ended: int) -> Attempt:
    return Attempt(
        number=number,
        server_id=f"gpu.{chance.randrange(14)}",
        started_at=started + number,
        finished_at=max(started + number, ended - 10 * number),
        outcome=chance.choice(("succeeded", "succeeded", "failed", "timed-out", "lost", "cancelled")),
    )


def spread(values: Sequence[float]) -> list[float | None]:
    found = recount.spread(values)
    return [found.mean, found.p50, found.p95, found.p99]


def near(values: list[float | None]) -> list[object]:
    """Percentiles come from sketches."""
    return [recount.near(value) for value in values]


def within(at: int | None, start: int, end: int) -> bool:
    return at is not None and start <= at < end


def runs(tasks: Sequence[TaskRecord]) -> list[float]:
    return [one.finished_at - one.started_at for one in tasks if one.started_at and one.finished_at]


def waits(tasks: Sequence[TaskRecord]) -> list[float]:
    return [
        max(0, one.started_at - (one.spec.run_at or one.created_at))
        for one in tasks
        if one.started_at and one.generation == 1
    ]


def hour(at: int) -> int:
    return at // 3_600_000 % 24


def served(tasks: Sequence[TaskRecord], start: int, end: int) -> list[Attempt]:
    return [
        one
        for record in tasks
        for one in record.attempts
        if within(one.finished_at, start, end) and one.outcome in ("succeeded", "failed", "timed-out")
    ]


@pytest.mark.parametrize(("start", "end"), [(DAY, DAY + DAY_MS), (DAY - DAY_MS, DAY + DAY_MS // 3)])
async def test_totals_equal_a_recount(reports: Reports, start: int, end: int) -> None:
    chance = Random(7)
    await reports.keep([task(chance, number) for number in range(1500)])
    query = StatisticsQuery(from_ms=start, to_ms=end)
    report = await reports.ask("tasks", query, TaskStatistics)
    created = [one for one in reports.tasks if within(one.created_at, start, end)]
    ended = [one for one in reports.tasks if within(one.finished_at, start, end)]
    by_status = Counter(one.status for one in ended)
    attempts = served(reports.tasks, start, end)
    assert report.total_tasks == len(created)
    assert report.successful_tasks == by_status[Status.COMPLETED]
    assert report.failed_tasks == by_status[Status.FAILED]
    assert report.timeout_tasks == by_status[Status.TIMEOUT]
    assert report.cancelled_tasks == by_status[Status.CANCELLED]
    assert report.retried_tasks == sum(one.attempt > 1 or one.generation > 1 for one in ended)
    assert [report.average_processing_time, report.p50, report.p95, report.p99] == near(spread(runs(ended)))
    assert [report.wait_p50, report.wait_p95, report.wait_p99] == near(spread(waits(ended))[1:])
    assert [one.tasks for one in report.hourly_trend] == [
        sum(hour(one.created_at) == h for one in created) for h in range(24)
    ]
    counts = Counter(one.server_id for one in attempts)
    top = sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:10]
    assert [(one.server_id, one.tasks_processed) for one in report.top_servers] == top
    assert report.server_count == len(counts)
    assert report.pending_tasks == sum(one.finished_at is None for one in reports.tasks)
    assert report.processing_tasks == 0


async def test_hours_equal_a_recount(reports: Reports) -> None:
    chance = Random(8)
    await reports.keep([task(chance, number) for number in range(1500)])
    report = await reports.ask("hourly", StatisticsQuery(date="2026-11-19"), HourlyStatistics)
    assert (report.date, len(report.hourly_breakdown)) == ("2026-11-19", 24)
    for entry in report.hourly_breakdown:
        start = DAY + entry.hour * 3_600_000
        ended = [one for one in reports.tasks if within(one.finished_at, start, start + 3_600_000)]
        by_status = Counter(one.status for one in ended)
        assert entry.created == sum(within(one.created_at, start, start + 3_600_000) for one in reports.tasks)
        assert entry.completed == len(ended)
        assert entry.successful == by_status[Status.COMPLETED]
        assert entry.failed == by_status[Status.FAILED] + by_status[Status.TIMEOUT]
        assert [entry.average_time, entry.p50, entry.p95, entry.p99] == near(spread(runs(ended)))


async def test_a_server_equals_a_recount_and_knows_its_age(reports: Reports) -> None:
    chance = Random(9)
    await reports.keep([task(chance, number) for number in range(800)])
    config = ServerConfig(id="gpu.3", name="n", predict="http://x/p", health="http://x/h", registered_at=NOW - 5_000)
    await KvBucket(reports.bus, BUCKET_SERVERS).create("config.gpu=3", encode(config), operation="op")
    day = await reports.ask("servers", StatisticsQuery(server_id="gpu.3", date="2026-11-19"), ServerStatistics)
    hours = await reports.ask("window", ServerId(id="gpu.3", window="6h"), ServerStatistics)
    for report, start, end in ((day, DAY, DAY + DAY_MS), (hours, NOW + 1 - 6 * 3_600_000, NOW + 1)):
        attempts = [one for one in served(reports.tasks, start, end) if one.server_id == "gpu.3"]
        successes = sum(one.outcome == "succeeded" for one in attempts)
        times = [one.finished_at - one.started_at for one in attempts]
        assert (report.tasks_processed, report.success_count) == (len(attempts), successes)
        assert report.failure_count == len(attempts) - successes
        assert report.success_rate == pytest.approx(100 * successes / len(attempts))
        assert [report.average_processing_time, report.p50, report.p95, report.p99] == near(spread(times))
        assert report.uptime == 5_000


async def test_an_empty_archive_gives_zeros_and_nulls(reports: Reports) -> None:
    totals = await reports.ask("tasks", StatisticsQuery(), TaskStatistics)
    server = await reports.ask("window", ServerId(id="gpu-1"), ServerStatistics)
    hours = await reports.ask("hourly", StatisticsQuery(), HourlyStatistics)
    assert (totals.total_tasks, totals.pending_tasks, totals.p50, totals.top_servers) == (0, 0, None, ())
    assert (server.tasks_processed, server.success_rate, server.p99, server.uptime) == (0, 0.0, None, None)
    assert len(hours.hourly_breakdown) == len(totals.hourly_trend) == 24


async def test_counts_of_the_moment_come_from_the_balancer(reports: Reports) -> None:
    absent = await reports.ask("load-balancer", StatisticsQuery(), LoadBalancerStatistics)
    assert (absent.leader, absent.pending, absent.pools) == (None, 0, {})
    leader = await reports.says("balancer", BALANCER)
    totals = await reports.ask("tasks", StatisticsQuery(), TaskStatistics)
    present = await reports.ask("load-balancer", StatisticsQuery(), LoadBalancerStatistics)
    await leader.drain()
    assert (totals.pending_tasks, totals.processing_tasks) == (14, 4)
    assert (present.leader, present.algorithm, present.pending, present.total_active_tasks) == ("one", "p2c", 11, 4)


@pytest.mark.parametrize(
    ("freshness", "as_of"),
    [
        (HistoryStatus(connected=True, backlog=0, last_commit=NOW - 9_000), NOW),
        (HistoryStatus(connected=True, backlog=3, last_commit=NOW - 9_000), NOW - 9_000),
        (HistoryStatus(connected=True, backlog=3, last_commit=None), None),
    ],
)
async def test_a_report_says_of_when_it_is(reports: Reports, freshness: HistoryStatus, as_of: int | None) -> None:
    history = await reports.says("history", freshness)
    assert (await reports.ask("tasks", StatisticsQuery(), TaskStatistics)).as_of == as_of
    await history.drain()


async def test_without_the_history_service_a_report_is_as_of_the_last_archived_moment(reports: Reports) -> None:
    chance = Random(7)
    await reports.keep([task(chance, number) for number in range(50)])
    last = max(max(one.created_at, one.finished_at or 0) for one in reports.tasks)
    assert (await reports.ask("hourly", StatisticsQuery(), HourlyStatistics)).as_of == last


async def status_of(asked: Callable[[], Awaitable[object]]) -> tuple[int, str]:
    with pytest.raises(PointsmanError) as refusal:
        await asked()
    return refusal.value.status, refusal.value.errors[0].field if refusal.value.errors else ""


async def test_bad_questions_are_refused_by_name_and_strangers_at_the_door(reports: Reports) -> None:
    backend = Actor(sub="gpu", roles=(Role.SERVICE,))
    bad_day = StatisticsQuery(date="2026-02-30")
    assert await status_of(lambda: reports.ask("tasks", bad_day, TaskStatistics)) == (400, "date")
    assert await status_of(lambda: reports.ask("hourly", bad_day, HourlyStatistics)) == (400, "date")
    assert await status_of(lambda: reports.ask("hourly", StatisticsQuery(from_ms=1), HourlyStatistics)) == (400, "date")
    assert await status_of(lambda: reports.ask("servers", StatisticsQuery(), ServerStatistics)) == (400, "serverId")
    bad_window = ServerId(id="gpu", window="soon")
    assert await status_of(lambda: reports.ask("window", bad_window, ServerStatistics)) == (400, "window")
    assert await status_of(lambda: reports.ask("tasks", StatisticsQuery(), TaskStatistics, backend)) == (403, "")


async def test_without_a_database_the_last_report_is_told_again_and_any_other_is_503(reports: Reports) -> None:
    await reports.keep([task(Random(7), number) for number in range(50)])
    history = await reports.says("history", HistoryStatus(connected=True, backlog=0, last_commit=NOW))
    known = await reports.ask("tasks", StatisticsQuery(), TaskStatistics)
    assert (known.as_of, known.stale) == (NOW, False)
    await history.drain()
    await reports.stores.postgres.stop()
    again = await reports.ask("tasks", StatisticsQuery(), TaskStatistics)
    assert again == msgspec.structs.replace(known, stale=True)
    with pytest.raises(PointsmanError) as refusal:
        await reports.ask("hourly", StatisticsQuery(), HourlyStatistics)
    assert refusal.value.status == 503
    assert "archive (Postgres) is not reachable" in refusal.value.detail
    assert "no earlier hourly report" in refusal.value.detail


async def test_only_the_first_waits_for_a_silent_database_and_nobody_once_it_is_back(reports: Reports) -> None:
    await reports.keep([task(Random(7), number) for number in range(50)])
    history = await reports.says("history", HistoryStatus(connected=True, backlog=0, last_commit=NOW))
    known = await reports.ask("tasks", StatisticsQuery(), TaskStatistics)
    stale = msgspec.structs.replace(known, stale=True)
    assert reports.stores.postgres.pid is not None
    with frozen(reports.stores.postgres.pid):
        assert await reports.ask("tasks", StatisticsQuery(), TaskStatistics) == stale
        async with asyncio.timeout(1.0):
            assert [await reports.ask("tasks", StatisticsQuery(), TaskStatistics) for _ in range(3)] == [stale] * 3
    async with asyncio.timeout(20.0):
        while (await reports.ask("tasks", StatisticsQuery(), TaskStatistics)).stale:
            await asyncio.sleep(0.05)
    await history.drain()


async def test_types_and_servers_are_listed_in_one_call_and_equal_a_recount(reports: Reports) -> None:
    chance = Random(10)
    await reports.keep([task(chance, number) for number in range(800)])
    types = await reports.ask("types", StatisticsQuery(date="2026-11-19"), TypesStatistics)
    fleet = await reports.ask("fleet", StatisticsQuery(date="2026-11-19"), FleetStatistics)
    (scan,) = types.types
    created = [one for one in reports.tasks if within(one.created_at, DAY, DAY + DAY_MS)]
    ended = [one for one in reports.tasks if within(one.finished_at, DAY, DAY + DAY_MS)]
    assert (scan.type, scan.total_tasks, types.total) == ("scan", len(created), 1)
    assert scan.successful_tasks == sum(one.status == Status.COMPLETED for one in ended)
    assert [scan.average_processing_time, scan.p50, scan.p95, scan.p99] == near(spread(runs(ended)))
    assert [scan.wait_p50, scan.wait_p95, scan.wait_p99] == near(spread(waits(ended))[1:])
    counts = Counter(one.server_id for one in served(reports.tasks, DAY, DAY + DAY_MS))
    busiest = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    assert [(one.server_id, one.tasks_processed) for one in fleet.servers] == busiest
    assert fleet.total == len(counts)


async def test_today_is_compared_with_as_much_of_the_day_before(reports: Reports) -> None:
    """The clock stands at 20:00: the day before counts up to the minute after that, and hour 20 its first minute."""
    chance = Random(11)
    await reports.keep([task(chance, number) for number in range(1500)])
    until = NOW + 60_000 - DAY_MS
    vs = (await reports.ask("tasks", StatisticsQuery(), TaskStatistics)).vs
    assert vs is not None
    assert (vs.from_ms, vs.to_ms) == (DAY - DAY_MS, until)
    assert vs.created == sum(within(one.created_at, DAY - DAY_MS, until) for one in reports.tasks)
    assert vs.completed == sum(within(one.finished_at, DAY - DAY_MS, until) for one in reports.tasks)
    hours = (await reports.ask("hourly", StatisticsQuery(), HourlyStatistics)).hourly_breakdown
    starts = [DAY - DAY_MS + hour * 3_600_000 for hour in range(21)]
    assert [hour.vs.created for hour in hours if hour.vs] == [
        sum(within(one.created_at, start, min(until, start + 3_600_000)) for one in reports.tasks) for start in starts
    ]
