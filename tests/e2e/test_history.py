"""The archive and the figures, on a system of their own: small result_ttl_s, and every task is counted."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import UTC, datetime

import asyncpg
import pytest_asyncio

from pointsman.client import nats_bus
from pointsman.contracts.subjects import BUCKET_TASKS
from pointsman.services.runtime.kv import KvBucket
from tests.e2e.conftest import Fleet
from tests.support.rest import Json, Rest
from tests.support.system_up import SystemUp, eventually, system_up

HOUR_MS = 3_600_000


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def system() -> AsyncIterator[SystemUp]:
    async with system_up(result_ttl_s="10") as running:
        yield running
        assert [line for line in running.outcries() if "history-statistics" not in line] == []


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def admin(system: SystemUp) -> AsyncIterator[Rest]:
    async with system.client("ada", "admin") as rest:
        yield rest


@pytest_asyncio.fixture(loop_scope="session")
async def fleet(admin: Rest) -> AsyncIterator[Fleet]:
    async with AsyncExitStack() as stack:
        fleet = Fleet(admin, stack)
        yield fleet
        await fleet.close()


async def test_figures_equal_what_was_submitted(admin: Rest, fleet: Fleet) -> None:
    server = await fleet.server(maxConcurrent=20)
    ended = await admin.all_done(
        [fleet.task("slow:20") for _ in range(20)]
        + [fleet.task("fail:400") for _ in range(3)]
        + [fleet.task("fail:500:1") for _ in range(4)]
        + [fleet.task("hang", timeoutMs=300, maxAttempts=1) for _ in range(2)]
    )
    cancelled = await admin.accepted(fleet.task(capabilities=["none"]))
    await admin.call("DELETE", f"/api/task/{cancelled}", expect=(200,))
    waiting = await admin.accepted(fleet.task(capabilities=["none"]))
    assert Counter(task["status"] for task in ended) == {"COMPLETED": 24, "FAILED": 3, "TIMEOUT": 2}
    date = datetime.fromtimestamp(ended[0]["createdAt"] / 1000, UTC).date().isoformat()

    async def figures() -> Json:
        told: Json = (await admin.call("GET", f"/api/stats/tasks?date={date}", expect=(200,))).body
        counted = ("totalTasks", "pendingTasks", "processingTasks", "successfulTasks", "failedTasks", "timeoutTasks")
        assert [told[name] for name in counted] == [31, 1, 0, 24, 3, 2], told
        return told

    told = await eventually(figures, "the figures are those of what was submitted")
    assert (told["cancelledTasks"], told["retriedTasks"], told["serverCount"]) == (1, 4, 1)
    assert [(top["serverId"], top["tasksProcessed"]) for top in told["topServers"]] == [(server.id, 33)]
    assert 0 < told["p50"] <= told["p95"] <= told["p99"]
    assert sum(hour["tasks"] for hour in told["hourlyTrend"]) == 31

    hourly = (await admin.call("GET", f"/api/stats/hourly?date={date}", expect=(200,))).body["hourlyBreakdown"]
    assert [entry["hour"] for entry in hourly] == list(range(24))
    created = Counter(task["createdAt"] % (24 * HOUR_MS) // HOUR_MS for task in ended)
    assert sum(entry["created"] for entry in hourly) == 31
    assert all(entry["created"] >= created[entry["hour"]] for entry in hourly)
    assert sum(entry["successful"] for entry in hourly) == 24
    assert sum(entry["failed"] for entry in hourly) in (3, 5)

    of_server = (await admin.call("GET", f"/api/stats/servers/{server.id}?date={date}", expect=(200,))).body
    assert (of_server["tasksProcessed"], of_server["successCount"], of_server["failureCount"]) == (33, 24, 9)

    async def idle() -> bool:
        metrics = (await admin.call("GET", f"/api/servers/{server.id}/metrics", expect=(200,))).body["metrics"]
        assert (metrics["tasksProcessed"], metrics["successCount"]) == (33, 24)
        return bool(metrics["activeTasks"] == 0)

    await eventually(idle, "the server's metrics say that nothing runs")
    await admin.call("DELETE", f"/api/task/{waiting}", expect=(200,))


async def test_a_task_is_still_answered_after_its_record_has_left(admin: Rest, fleet: Fleet, system: SystemUp) -> None:
    await fleet.server()
    task = await admin.done(fleet.task(payload={"n": 1}, labels={"for": "history"}))
    failed = await admin.done(fleet.task("fail:400"))
    url, user, password = system.nats
    bus = await nats_bus.connect(url, name="test", user=user, password=password)
    try:
        bucket = KvBucket(bus, BUCKET_TASKS)

        async def has_left() -> bool:
            entry = await bucket.get(task["id"], latest=True)
            return entry is None or not entry.data

        assert not await has_left()
        await eventually(has_left, "the record has left the bucket", within_s=25)
        assert await admin.task(task["id"]) == task
        done = {"status": "COMPLETED", "result": "other"}
        assert (await admin.call("PUT", f"/api/task/{task['id']}", done)).is_problem(409)
        assert (await admin.call("POST", f"/api/task/{task['id']}/cancel", {})).is_problem(409)
        async with system.client("eve", "user") as eve:
            assert (await eve.call("GET", f"/api/task/{task['id']}")).is_problem(404)
        await admin.call("POST", f"/api/task/{failed['id']}/retry", {}, expect=(202,))
        again = await admin.finished(failed["id"])
        assert (again["status"], again["generation"]) == ("FAILED", 2)
    finally:
        await bus.close()


async def test_work_goes_on_while_postgres_is_away_and_history_catches_up(
    admin: Rest, fleet: Fleet, system: SystemUp
) -> None:
    await fleet.server(mode="slow:20", maxConcurrent=4)
    before = [await admin.accepted(fleet.task(payload={"n": n})) for n in range(60)]
    old = system.kill("postgres")
    during = [await admin.accepted(fleet.task(payload={"n": n})) for n in range(60, 120)]
    began_s = time.monotonic()
    ended = await asyncio.gather(*(admin.finished(task_id) for task_id in (*before, *during)))
    assert time.monotonic() - began_s < 20
    assert [(task["status"], task["result"]) for task in ended] == [("COMPLETED", {"n": n}) for n in range(120)]
    await system.restarted("postgres", old)

    async def caught_up() -> bool:
        try:
            rows = await system.rows("SELECT id, status FROM tasks WHERE pool = $1", fleet.pool)
        except (OSError, asyncpg.PostgresError) as error:
            raise AssertionError from error
        assert len(rows) == 120, len(rows)
        return {row["status"] for row in rows} == {"COMPLETED"}

    await eventually(caught_up, "history has all of it", within_s=40)
    assert await system.rows("SELECT * FROM dead_letters") == []
