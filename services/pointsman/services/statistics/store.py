"""Reports in SQL over the archive; every number of one report comes from one snapshot of the database."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
import msgspec

from pointsman.services.statistics.rules import Ended, Range, Served, Spread

POOL_MAX = 4
CONNECT_TIMEOUT_S = 5.0
COMMAND_TIMEOUT_S = 20.0
SESSION = {"application_name": "pointsman-statistics", "statement_timeout": "15s", "lock_timeout": "5s"}

type Pool = asyncpg.Pool[asyncpg.Record]
type Connection = asyncpg.pool.PoolConnectionProxy[asyncpg.Record]
DatabaseAway = (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)


def _spread(value: str, name: str) -> str:
    return (
        f"avg({value})::float8 AS {name}_mean,"
        f" percentile_cont(ARRAY[0.5, 0.95, 0.99]) WITHIN GROUP (ORDER BY {value}) AS {name}"
    )


RUN = "CASE WHEN started_at IS NOT NULL THEN GREATEST(finished_at - started_at, 0) END"
WAIT = "CASE WHEN started_at IS NOT NULL THEN GREATEST(started_at - GREATEST(created_at, run_at), 0) END"
ENDED_COLUMNS = f"""
    count(*) FILTER (WHERE status = 'COMPLETED') AS successful,
    count(*) FILTER (WHERE status = 'FAILED') AS failed,
    count(*) FILTER (WHERE status = 'TIMEOUT') AS timed_out,
    count(*) FILTER (WHERE status = 'CANCELLED') AS cancelled,
    count(*) FILTER (WHERE attempts > 1 OR generation > 1) AS retried,
    {_spread(RUN, "run")},
    {_spread(WAIT, "wait")}
"""
ENDED = f"SELECT {ENDED_COLUMNS} FROM tasks WHERE finished_at >= $1 AND finished_at < $2"  # noqa: S608
ENDED_PER_HOUR = f"""
SELECT (finished_at / 3600000 % 24)::int AS hour, {ENDED_COLUMNS}
FROM tasks WHERE finished_at >= $1 AND finished_at < $2 GROUP BY 1
"""  # noqa: S608
CREATED_PER_HOUR = """
SELECT (created_at / 3600000 % 24)::int AS hour, count(*) AS tasks
FROM tasks WHERE created_at >= $1 AND created_at < $2 GROUP BY 1
"""
SERVED = f"""
SELECT server_id, count(*) FILTER (WHERE outcome = 'succeeded') AS successes,
    count(*) FILTER (WHERE outcome <> 'succeeded') AS failures, {_spread(RUN, "run")}
FROM attempts WHERE finished_at >= $1 AND finished_at < $2
    AND outcome IN ('succeeded', 'failed', 'timed-out') AND ($3::text IS NULL OR server_id = $3) GROUP BY 1
"""  # noqa: S608
OPEN = "SELECT count(*) FROM tasks WHERE finished_at IS NULL"
FRESHNESS = "SELECT GREATEST((SELECT max(created_at) FROM tasks), (SELECT max(finished_at) FROM tasks))"


class Totals(msgspec.Struct, frozen=True, kw_only=True):
    created: dict[int, int]
    ended: Ended
    servers: tuple[Served, ...]


class Hours(msgspec.Struct, frozen=True, kw_only=True):
    created: dict[int, int]
    ended: dict[int, Ended]


async def connect(dsn: str) -> Pool:
    """A pool that opens connections when they are needed: it can be made while Postgres is away."""
    return await asyncpg.create_pool(
        dsn,
        min_size=0,
        max_size=POOL_MAX,
        timeout=CONNECT_TIMEOUT_S,
        command_timeout=COMMAND_TIMEOUT_S,
        server_settings=SESSION,
    )


async def close(pool: Pool, *, within_s: float) -> None:
    try:
        async with asyncio.timeout(within_s):
            await pool.close()
    except TimeoutError:
        pool.terminate()


class StatisticsStore:
    """Its errors are those of `DatabaseAway`."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def totals(self, span: Range) -> Totals:
        async with self._snapshot() as connection:
            ended = await connection.fetchrow(ENDED, span.start, span.end)
            assert ended is not None
            return Totals(
                created=await _created(connection, span),
                ended=_ended(ended),
                servers=await _served(connection, span, None),
            )

    async def hours(self, span: Range) -> Hours:
        async with self._snapshot() as connection:
            rows = await connection.fetch(ENDED_PER_HOUR, span.start, span.end)
            return Hours(created=await _created(connection, span), ended={row["hour"]: _ended(row) for row in rows})

    async def server(self, span: Range, server_id: str) -> Served:
        async with self._snapshot() as connection:
            served = await _served(connection, span, server_id)
        return served[0] if served else Served(server_id=server_id)

    async def open_tasks(self) -> int:
        """Tasks whose end is not archived."""
        count: int = await self._pool.fetchval(OPEN)
        return count

    async def freshness(self) -> int | None:
        """The last moment of which something is archived."""
        at: int | None = await self._pool.fetchval(FRESHNESS)
        return at

    @asynccontextmanager
    async def _snapshot(self) -> AsyncIterator[Connection]:
        async with (
            self._pool.acquire() as connection,
            connection.transaction(isolation="repeatable_read", readonly=True),
        ):
            yield connection


async def _created(connection: Connection, span: Range) -> dict[int, int]:
    rows = await connection.fetch(CREATED_PER_HOUR, span.start, span.end)
    return {row["hour"]: row["tasks"] for row in rows}


async def _served(connection: Connection, span: Range, server_id: str | None) -> tuple[Served, ...]:
    rows = await connection.fetch(SERVED, span.start, span.end, server_id)
    return tuple(
        Served(
            server_id=row["server_id"],
            successes=row["successes"],
            failures=row["failures"],
            run=_spread_of(row, "run"),
        )
        for row in rows
    )


def _ended(row: asyncpg.Record) -> Ended:
    return Ended(
        successful=row["successful"],
        failed=row["failed"],
        timed_out=row["timed_out"],
        cancelled=row["cancelled"],
        retried=row["retried"],
        run=_spread_of(row, "run"),
        wait=_spread_of(row, "wait"),
    )


def _spread_of(row: asyncpg.Record, name: str) -> Spread:
    p50, p95, p99 = row[name] or (None, None, None)
    return Spread(mean=row[f"{name}_mean"], p50=p50, p95=p95, p99=p99)
