"""Postgres away under load: tasks are accepted and dispatched all the while, and the archive is whole again in time."""

import asyncio
import os
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import asyncpg
import pytest_asyncio

from tests.e2e.conftest import Fleet
from tests.support.rest import Rest
from tests.support.system_up import SystemUp, eventually, system_up
from tests.support.systems import frozen

AWAY_S = float(os.environ.get("POINTSMAN_TEST_OUTAGE_S", "20"))
PER_S = 20
EXACT_MAX = 1_000


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def system() -> AsyncIterator[SystemUp]:
    async with system_up() as running:
        yield running


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


async def test_nothing_stops_is_lost_or_doubled_and_the_archive_catches_up(
    admin: Rest, fleet: Fleet, system: SystemUp
) -> None:
    await fleet.server(mode="slow:20", maxConcurrent=8)
    await admin.all_done([fleet.task() for _ in range(20)])
    accepted: list[str] = []
    with frozen(system.pids()["postgres"]):
        end_s = time.monotonic() + AWAY_S
        while time.monotonic() < end_s:
            second = asyncio.create_task(asyncio.sleep(1))
            accepted += await asyncio.gather(*(admin.accepted(fleet.task()) for _ in range(PER_S)))
            await admin.finished(accepted[-1], within_s=10)
            await second
        assert len(accepted) >= AWAY_S * PER_S / 4
        assert (await admin.call("GET", f"/api/tasks?pool={fleet.pool}")).is_problem(503, "archive")
    back_s = time.monotonic()

    async def is_whole() -> bool:
        try:
            rows = await system.rows("SELECT id, status FROM tasks WHERE pool = $1", fleet.pool)
        except (OSError, asyncpg.PostgresError) as error:
            raise AssertionError from error
        assert len(rows) == len(accepted) + 20, len(rows)
        assert len({row["id"] for row in rows}) == len(rows)
        return {row["status"] for row in rows} == {"COMPLETED"}

    await eventually(is_whole, "the archive has every task once", within_s=AWAY_S + 20)
    assert time.monotonic() - back_s <= max(AWAY_S, 20.0)
    assert set(accepted) <= {row["id"] for row in await system.rows("SELECT id FROM tasks")}
    attempts = "SELECT count(*) FROM attempts JOIN tasks ON id = task_id WHERE pool = $1"
    assert [row[0] for row in await system.rows(attempts, fleet.pool)] == [len(accepted) + 20]
    assert await system.rows("SELECT * FROM dead_letters") == []
    whole = len(accepted) + 20

    async def is_found() -> bool:
        """Totals are exact up to 1,000, above that estimated."""
        found = await admin.call("GET", f"/api/tasks?pool={fleet.pool}&limit=200", expect=(200,))
        assert len(found.body["tasks"]) == min(200, whole)
        return abs(found.body["total"] - whole) <= (0 if whole <= EXACT_MAX else whole / 4)

    await eventually(is_found, "the search finds them all")
