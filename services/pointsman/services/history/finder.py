"""Pages of the archive in SQL: newest first, bounded in rows, bytes and time."""

from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager

import asyncpg
import msgspec
import structlog

from pointsman.contracts.errors import PointsmanError, unavailable
from pointsman.contracts.filters import Term
from pointsman.contracts.task import DAY_MS
from pointsman.services.history.query import Arguments, Span, condition_of
from pointsman.services.history.store import CONNECT_TIMEOUT_S, Connection, DatabaseAway, Pool

log = structlog.get_logger()

POOL_MAX = 4
QUERY_S, ANSWER_S = 4.0, 6.0
ACQUIRE_S = 3.0
SESSION = {
    "application_name": "pointsman-search",
    "statement_timeout": "4s",
    "lock_timeout": "3s",
    "jit": "off",
    "max_parallel_workers_per_gather": "0",
    "plan_cache_mode": "force_custom_plan",
}
PAGE_BYTES_MAX = 16 << 20
COUNT_EXACT_MAX = 1_000
WINDOW_DAYS = (2, 4, 8, 16)
WRONG_SQL = "42"
IDLE_S = 3_600.0
MINUTE, HOUR = 1, 60
MINUTE_MS = 60_000
CREATED = """
SELECT
    (SELECT sum(created) FROM rollups WHERE kind = 'all' AND width = 1440 AND at > $1 AND at < $2) AS whole,
    (SELECT sum(created) FROM rollups WHERE kind = 'all' AND width = $3 AND at > $4 AND at < $2) AS seen
"""


class Place(msgspec.Struct, frozen=True, order=True):
    """Where a task stands in the order of the list."""

    created_at: int
    id: str


class Found(msgspec.Struct, frozen=True):
    """`size` is that of the stored record in bytes."""

    place: Place
    size: int
    is_open: bool


class Count(msgspec.Struct, frozen=True):
    tasks: int
    is_estimate: bool


async def connect(dsn: str) -> Pool:
    """A pool of its own, so that no search holds up the writer. The database gives up before we do: silence is an outage."""
    return await asyncpg.create_pool(
        dsn,
        min_size=0,
        max_size=POOL_MAX,
        max_inactive_connection_lifetime=IDLE_S,
        timeout=CONNECT_TIMEOUT_S,
        command_timeout=ANSWER_S,
        server_settings=SESSION,
    )


class Finder:
    """Raises 503 while Postgres is away or silent, 422 when it says that a search takes too long."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def find(
        self, terms: Sequence[Term], span: Span, owner: str | None, after: Place | None, limit: int
    ) -> list[Found]:
        rows: list[asyncpg.Record] = []
        for window in windows_of(span, after.created_at if after else None):
            rows += await self._find(terms, window, owner, after, limit - len(rows))
            if len(rows) >= limit:
                break
        return [Found(Place(row["created_at"], row["id"]), row["size"], row["is_open"]) for row in rows]

    async def _find(
        self, terms: Sequence[Term], span: Span, owner: str | None, after: Place | None, limit: int
    ) -> "list[asyncpg.Record]":
        arguments = Arguments()
        condition = condition_of(terms, span, owner, arguments)
        if after is not None:
            at, task_id = arguments.add(after.created_at), arguments.add(after.id)
            condition += f" AND created_at <= {at} AND (created_at < {at} OR id < {task_id})"
        query = (
            "SELECT id, created_at, octet_length(record) AS size, finished_at IS NULL AS is_open FROM tasks"  # noqa: S608
            f" WHERE {condition} ORDER BY {order_of(terms)} DESC, id DESC LIMIT {arguments.add(limit)}"
        )
        return await self._fetch(query, arguments.values)

    async def records(self, found: Sequence[Found]) -> dict[str, bytes]:
        """Their last records."""
        if not found:
            return {}
        query = "SELECT id, record FROM tasks WHERE id = ANY($1::text[]) AND created_at = ANY($2::bigint[])"
        places = [one.place for one in found]
        rows = await self._fetch(query, [[place.id for place in places], sorted({p.created_at for p in places})])
        return {row["id"]: row["record"] for row in rows}

    async def count(
        self, terms: Sequence[Term], span: Span, owner: str | None, exact_max: int = COUNT_EXACT_MAX
    ) -> Count:
        """Exact up to `exact_max`, above that as many as there would be if all of the span were like its newest part."""
        counted = 0
        for window in windows_of(span, None):
            found, oldest = await self._counted(terms, window, owner, exact_max + 1 - counted)
            counted += found
            if counted > exact_max:
                return Count(await self._expected(counted, span, oldest), True)
        return Count(counted, False)

    async def _counted(self, terms: Sequence[Term], span: Span, owner: str | None, limit: int) -> tuple[int, int]:
        """So many of the newest, and when the oldest of them was created."""
        arguments = Arguments()
        condition = condition_of(terms, span, owner, arguments)
        newest = f"SELECT created_at FROM tasks WHERE {condition} ORDER BY {order_of(terms)} DESC LIMIT {arguments.add(limit)}"  # noqa: S608
        (row,) = await self._fetch(
            f"SELECT count(*) AS n, min(created_at) AS oldest FROM ({newest}) AS matching",  # noqa: S608
            arguments.values,
        )
        return int(row["n"]), int(row["oldest"] or span.start)

    async def _expected(self, counted: int, span: Span, oldest: int) -> int:
        """From how many tasks were created in the span and since `oldest`: to plan for all days would take longer."""
        width = MINUTE if span.end - oldest < 2 * DAY_MS else HOUR
        arguments = [span.start - DAY_MS, span.end, width, oldest - width * MINUTE_MS]
        (row,) = await self._fetch(CREATED, arguments)
        whole, seen = row["whole"], row["seen"]
        return counted if not seen else max(counted, round(counted * whole / seen))

    async def archived_until(self) -> int | None:
        """The newest acceptance in the archive."""
        rows = await self._fetch("SELECT created_at FROM tasks ORDER BY created_at DESC LIMIT 1", [])
        return rows[0]["created_at"] if rows else None

    async def _fetch(self, query: str, arguments: Sequence[object]) -> "list[asyncpg.Record]":
        async with self._connection() as connection:
            try:
                return await connection.fetch(query, *arguments, timeout=ANSWER_S)
            except asyncpg.QueryCanceledError:
                raise PointsmanError(
                    422,
                    f"the search takes longer than {QUERY_S:g} s; narrow it by time, type, server, owner or label",
                    slug="search-too-broad",
                ) from None

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[Connection]:
        try:
            async with self._pool.acquire(timeout=ACQUIRE_S) as connection:
                yield connection
        except DatabaseAway as error:
            if (getattr(error, "sqlstate", None) or "").startswith(WRONG_SQL):
                raise
            log.warning("search failed", error=str(error) or type(error).__name__)
            raise unavailable("the archive (Postgres) is not reachable: tasks can be read by id only") from error


def order_of(terms: Sequence[Term]) -> str:
    """What a page is sorted by. Where matches are few and an index finds them, walking the order to look for them must
    not look cheap: a free text is looked up in the indexes of what it may be, and the planner takes it for frequent."""
    return "(created_at + 0)" if any(term.key == "text" and not term.negated for term in terms) else "created_at"


def windows_of(span: Span, before_ms: int | None) -> Iterator[Span]:
    """The span in parts, newest and shortest first: what the newest days hold needs no plan over all of them."""
    end = span.end if before_ms is None else min(span.end, before_ms + 1)
    for days in WINDOW_DAYS:
        start = max(span.start, end - days * DAY_MS)
        if start < end:
            yield Span(start, end)
        end = start
    if span.start < end:
        yield Span(span.start, end)


def within_bytes(found: Sequence[Found]) -> list[Found]:
    """As many from the front as one page may read, at least one."""
    kept: list[Found] = []
    size = 0
    for one in found:
        size += one.size
        if kept and size > PAGE_BYTES_MAX:
            break
        kept.append(one)
    return kept
