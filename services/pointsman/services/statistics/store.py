"""Reports from rollups and what is not in them yet; every number of one report is of one snapshot of the database."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from enum import StrEnum

import asyncpg
import msgspec

from pointsman.services.statistics.spans import DAY, HOUR, HOUR_MS, MINUTE, Pieces, Range, pieces_of
from pointsman.services.statistics.tally import Counted, Row, Served, Tally, tallied

POOL_MAX = 4
CONNECT_TIMEOUT_S = 3.0
ACQUIRE_S = 3.0
QUERY_S, ANSWER_S = 5.0, 6.0
SESSION = {
    "application_name": "pointsman-statistics",
    "statement_timeout": f"{QUERY_S:g}s",
    "lock_timeout": "3s",
    "jit": "off",
}
LISTED_MAX = 1_000

type Pool = asyncpg.Pool[asyncpg.Record]
type Connection = asyncpg.pool.PoolConnectionProxy[asyncpg.Record]
DatabaseAway = (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)
TooLong = asyncpg.QueryCanceledError


class Kind(StrEnum):
    """What rollups are of: all tasks, the tasks of a type, the attempts of a server."""

    ALL = "all"
    TYPE = "type"
    SERVER = "server"


EVENTS = {
    "created": "event = 'created'",
    "completed": "event = 'COMPLETED'",
    "failed": "event = 'FAILED'",
    "timed_out": "event = 'TIMEOUT'",
    "cancelled": "event = 'CANCELLED'",
    "retried": "retried",
}
SUMS = ", ".join((*EVENTS, "ran_ms", "waited_ms"))
SKETCHES = ("ran", "waited")
ARRAYS = ", ".join(f"{name}_{part}" for name in SKETCHES for part in ("buckets", "counts"))

ROLLED = """
SELECT name, at, {columns} FROM unnest($1::int[], $2::bigint[]) AS piece (width, at) JOIN rollups USING (width, at)
WHERE kind = $3 AND ($4::text[] IS NULL OR name = ANY($4))
"""
NOTED = """
SELECT at, {name} AS name, event, retried, ran, waited, n FROM {source}
WHERE kind = {kind} AND at >= ${start} AND at < ${end} AND ($4::text[] IS NULL OR name = ANY($4))
"""
COUNTS = f"""
SELECT name, at - at % {HOUR_MS} AS at,
    {", ".join(f"COALESCE(sum(n) FILTER (WHERE {what}), 0)::bigint AS {name}" for name, what in EVENTS.items())},
    COALESCE(sum(n * ran), 0)::bigint AS ran_ms, COALESCE(sum(n * waited), 0)::bigint AS waited_ms
FROM noted GROUP BY 1, 2
"""  # noqa: S608 - names of our own


def _buckets(sketch: str) -> str:
    return f"""
    SELECT name, at, array_agg(bucket) AS {sketch}_buckets, array_agg(n) AS {sketch}_counts FROM (
        SELECT name, at - at % {HOUR_MS} AS at, duration_bucket({sketch}) AS bucket, sum(n)::integer AS n
        FROM noted WHERE {sketch} IS NOT NULL GROUP BY 1, 2, 3
    ) AS buckets GROUP BY 1, 2
    """  # noqa: S608 - names of our own


def _question(kind: Kind, edges: int, *, with_sketches: bool) -> str:
    """$1 and $2 name rollups, $3 their kind, $4 the names wanted or null, then start and end of what is noted, of edges."""
    source = "counted_attempts" if kind is Kind.SERVER else "counted_tasks"
    noted_kind = "'server'" if kind is Kind.SERVER else "'type'"
    name = "''::text" if kind is Kind.ALL else "name"
    sources = ["uncounted", *[source] * edges]
    noted = " UNION ALL ".join(
        NOTED.format(source=source, kind=noted_kind, name=name, start=5 + 2 * at, end=6 + 2 * at)
        for at, source in enumerate(sources)
    )
    if not with_sketches:
        return f"WITH noted AS MATERIALIZED ({noted}) {ROLLED.format(columns=SUMS)} UNION ALL {COUNTS}"
    joined = " ".join(f"LEFT JOIN ({_buckets(sketch)}) AS {sketch} USING (name, at)" for sketch in SKETCHES)
    arrays = ", ".join(f"COALESCE({name}, '{{}}')" for name in ARRAYS.split(", "))
    return (
        f"WITH noted AS MATERIALIZED ({noted}) {ROLLED.format(columns=f'{SUMS}, {ARRAYS}')}"  # noqa: S608 - our own names
        f" UNION ALL SELECT name, at, {SUMS}, {arrays} FROM ({COUNTS}) AS counts {joined}"
    )


OPEN = "SELECT count(*) FROM tasks WHERE finished_at IS NULL"
FRESHNESS = "SELECT GREATEST((SELECT max(created_at) FROM tasks), (SELECT max(finished_at) FROM tasks))"


class Totals(msgspec.Struct, frozen=True, kw_only=True):
    """`hours` are tasks created per hour of the day."""

    all: Counted
    before: Counted
    hours: dict[int, int]
    servers: tuple[Served, ...]


class Hours(msgspec.Struct, frozen=True, kw_only=True):
    """By the start of each hour, those of the day before too; `running` is what its running hour had 24 hours ago."""

    hours: dict[int, Counted]
    running: Counted


class Types(msgspec.Struct, frozen=True, kw_only=True):
    """The busiest first, and how many there are."""

    types: tuple[tuple[str, Counted], ...]
    total: int


class Fleet(msgspec.Struct, frozen=True, kw_only=True):
    """The busiest first, and how many there are."""

    servers: tuple[Served, ...]
    total: int


async def connect(dsn: str) -> Pool:
    """A pool that opens connections when they are needed: it can be made while Postgres is away."""
    return await asyncpg.create_pool(
        dsn,
        min_size=0,
        max_size=POOL_MAX,
        timeout=CONNECT_TIMEOUT_S,
        command_timeout=ANSWER_S,
        server_settings=SESSION,
    )


async def close(pool: Pool, *, within_s: float) -> None:
    try:
        async with asyncio.timeout(within_s):
            await pool.close()
    except TimeoutError:
        pool.terminate()


class StatisticsStore:
    """Its errors are those of `DatabaseAway`; among them `TooLong`, for ranges whose edges hold too much."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def totals(self, span: Range, before: Range) -> Totals:
        async with self._snapshot() as connection:
            rows = await _rows(connection, Kind.ALL, pieces_of(span, DAY, HOUR), with_sketches=True)
            hours = await _rows(connection, Kind.ALL, pieces_of(span, HOUR))
            earlier = await _rows(connection, Kind.ALL, pieces_of(before, DAY, HOUR, MINUTE))
            servers = await _rows(connection, Kind.SERVER, pieces_of(span, DAY, HOUR))
        return Totals(
            all=_sum(rows).counted(),
            before=_sum(earlier).counted(),
            hours={hour: tally.created for hour, tally in tallied(hours, _hour_of_day).items()},
            servers=_served(servers),
        )

    async def hours(self, day: Range, running: Range) -> Hours:
        """Of the day and the day before it; of `running` counts only."""
        both = Range(start=day.start - (day.end - day.start), end=day.end)
        async with self._snapshot() as connection:
            rows = await _rows(connection, Kind.ALL, pieces_of(both, HOUR), with_sketches=True)
            part = await _rows(connection, Kind.ALL, pieces_of(running, HOUR, MINUTE))
        hours = tallied(rows, lambda row: row.at)
        return Hours(hours={at: tally.counted() for at, tally in hours.items()}, running=_sum(part).counted())

    async def server(self, span: Range, server_id: str) -> Served:
        async with self._snapshot() as connection:
            rows = await _rows(
                connection, Kind.SERVER, pieces_of(span, DAY, HOUR), names=[server_id], with_sketches=True
            )
        return _sum(rows).served(server_id)

    async def fleet(self, span: Range) -> Fleet:
        pieces = pieces_of(span, DAY, HOUR)
        async with self._snapshot() as connection:
            found = _served(await _rows(connection, Kind.SERVER, pieces))
            busiest = sorted(found, key=lambda one: (-one.processed, one.server_id))[:LISTED_MAX]
            names = [one.server_id for one in busiest]
            rows = await _rows(connection, Kind.SERVER, pieces, names=names, with_sketches=True)
        tallies = tallied(rows, lambda row: row.name)
        return Fleet(servers=tuple(tallies[name].served(name) for name in names), total=len(found))

    async def types(self, span: Range) -> Types:
        pieces = pieces_of(span, DAY, HOUR)
        async with self._snapshot() as connection:
            counts = tallied(await _rows(connection, Kind.TYPE, pieces), lambda row: row.name)
            found = {name: size for name, tally in counts.items() if (size := tally.counted().size)}
            names = sorted(found, key=lambda name: (-found[name], name))[:LISTED_MAX]
            rows = await _rows(connection, Kind.TYPE, pieces, names=names, with_sketches=True)
        tallies = tallied(rows, lambda row: row.name)
        return Types(types=tuple((name, tallies[name].counted()) for name in names), total=len(found))

    async def open_tasks(self) -> int:
        """Tasks whose end is not archived."""
        count: int = await self._pool.fetchval(OPEN)
        return count

    async def freshness(self) -> int | None:
        """The last moment of which something is archived."""
        at: int | None = await self._pool.fetchval(FRESHNESS)
        return at

    async def look(self) -> None:
        """Whether anybody answers."""
        async with self._pool.acquire(timeout=ACQUIRE_S) as connection:
            await connection.execute("SELECT", timeout=ACQUIRE_S)

    @asynccontextmanager
    async def _snapshot(self) -> AsyncIterator[Connection]:
        async with (
            self._pool.acquire(timeout=ACQUIRE_S) as connection,
            connection.transaction(isolation="repeatable_read", readonly=True),
        ):
            yield connection


async def _rows(
    connection: Connection,
    kind: Kind,
    pieces: Pieces,
    *,
    names: Sequence[str] | None = None,
    with_sketches: bool = False,
) -> list[Row]:
    bounds = [at for span in (pieces.inner, *pieces.edges) for at in (span.start, span.end)]
    widths, starts = [piece.width for piece in pieces.rollups], [piece.at for piece in pieces.rollups]
    question = _question(kind, len(pieces.edges), with_sketches=with_sketches)
    return [Row(*row) for row in await connection.fetch(question, widths, starts, kind.value, names, *bounds)]


def _sum(rows: Sequence[Row]) -> Tally:
    tally = Tally()
    for row in rows:
        tally.add(row)
    return tally


def _served(rows: Sequence[Row]) -> tuple[Served, ...]:
    """Those that ended an attempt."""
    found = (tally.served(name) for name, tally in tallied(rows, lambda row: row.name).items())
    return tuple(served for served in found if served.processed)


def _hour_of_day(row: Row) -> int:
    return row.at // HOUR_MS % 24
