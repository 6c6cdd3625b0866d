"""Pages of the archive in SQL: newest first, bounded in rows, bytes and time."""

from collections.abc import AsyncIterator, Sequence
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
LOOK_FIRST_MS = 2 * DAY_MS
WRONG_SQL = "42"
OTHER_TABLES = (
    asyncpg.UndefinedTableError,
    asyncpg.UndefinedColumnError,
    asyncpg.UndefinedFunctionError,
    asyncpg.InsufficientPrivilegeError,
)
"""Tables that are missing, of another version, or not for us."""
IDLE_S = 3_600.0
MINUTE, HOUR = 1, 60
NEWEST = """
SELECT id, created_at, octet_length(record) AS size, finished_at IS NULL AS is_open, record FROM tasks
WHERE {condition} ORDER BY {order} DESC, id DESC LIMIT {most}
"""
COUNTED = """
SELECT count(*) AS n, min(created_at) AS oldest
FROM (SELECT created_at FROM tasks WHERE {condition} ORDER BY {order} DESC LIMIT {most}) AS matching
"""
PAGE = """
SELECT id, created_at, size, is_open,
    CASE WHEN row_number() OVER newest = 1 OR sum(size) OVER newest <= {room} THEN record END AS record
FROM ({newest}) AS matching
WINDOW newest AS (ORDER BY created_at DESC, id DESC ROWS UNBOUNDED PRECEDING) ORDER BY created_at DESC, id DESC
"""
CREATED = """
(SELECT sum(n) FROM (
    SELECT created AS n FROM rollups
    WHERE kind = 'all' AND width = {width}::integer AND at > {start}::bigint - {width}::bigint * 60000 AND at < $1
    UNION ALL SELECT n FROM uncounted WHERE kind = 'type' AND event = 'created' AND at >= {start} AND at < $1
) AS created)
"""
EXPECTED = (
    f"""SELECT {CREATED.format(width="$2", start="$3")} AS whole, {CREATED.format(width="$4", start="$5")} AS seen"""
)


class Place(msgspec.Struct, frozen=True, order=True):
    """Where a task stands in the order of the list."""

    created_at: int
    id: str


class Found(msgspec.Struct, frozen=True):
    """`record` is the last one, None where the page is full of bytes before it."""

    place: Place
    is_open: bool
    record: bytes | None


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
        reset=_as_it_is,
    )


async def _as_it_is(_connection: Connection) -> None:
    """Searches change nothing of their session."""


class Finder:
    """Raises 503 while Postgres is away or silent, 422 when it says that a search takes too long."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def find(
        self, terms: Sequence[Term], span: Span, owner: str | None, after: Place | None, limit: int
    ) -> list[Found]:
        """So many of the newest after a place."""
        rows: list[asyncpg.Record] = []
        look = Look(span, after, limit)
        while (window := look.window()) is not None:
            arguments = Arguments()
            newest = NEWEST.format(
                condition=_condition(terms, window, owner, after, arguments),
                order=order_of(terms),
                most=arguments.add(limit - len(rows)),
            )
            part = await self._fetch(PAGE.format(newest=newest, room=arguments.add(_room(rows))), arguments.values)
            rows += part
            look.note(len(part))
        return [Found(Place(row["created_at"], row["id"]), row["is_open"], row["record"]) for row in rows]

    async def count(
        self,
        terms: Sequence[Term],
        span: Span,
        owner: str | None,
        exact_max: int = COUNT_EXACT_MAX,
        *,
        after: Place | None = None,
        counted: int = 0,
    ) -> Count:
        """Exact up to `exact_max`, above that as many as there would be if all of the span were like its newest part.
        `counted` are known up to the place `after`."""
        oldest = after.created_at if after else span.start
        look = Look(span, after, exact_max + 1, counted)
        while (window := look.window()) is not None:
            arguments = Arguments()
            condition = _condition(terms, window, owner, after, arguments)
            query = COUNTED.format(
                condition=condition, order=order_of(terms), most=arguments.add(exact_max + 1 - counted)
            )
            (row,) = await self._fetch(query, arguments.values)
            counted, oldest = counted + row["n"], row["oldest"] or oldest
            look.note(row["n"])
        if counted <= exact_max:
            return Count(counted, False)
        return Count(await self._expected(counted, span, oldest), True)

    async def _expected(self, counted: int, span: Span, oldest: int) -> int:
        """From how many tasks were created in the span and since `oldest`: to plan for all days would take longer."""
        arguments = [span.end, _width(span.end - span.start), span.start, _width(span.end - oldest), oldest]
        (row,) = await self._fetch(EXPECTED, arguments)
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
        except OTHER_TABLES as error:
            log.warning("search failed", error=str(error))
            raise unavailable("the archive's tables cannot be used, `pointsman doctor` tells why") from error
        except DatabaseAway as error:
            if (getattr(error, "sqlstate", None) or "").startswith(WRONG_SQL):
                raise
            log.warning("search failed", error=str(error) or type(error).__name__)
            raise unavailable("the archive (Postgres) is not reachable: tasks can be read by id only") from error


def _width(ms: int) -> int:
    """Of the rollups that add up to so much time, few and near enough."""
    return MINUTE if ms < 2 * DAY_MS else HOUR


def order_of(terms: Sequence[Term]) -> str:
    """What a page is sorted by. Where matches are few and an index finds them, walking the order to look for them must
    not look cheap: a free text is looked up in the indexes of what it may be, and the planner takes it for frequent."""
    return "(created_at + 0)" if any(term.key == "text" and not term.negated for term in terms) else "created_at"


class Look:
    """Which part of a span is looked at next: the newest days first, for planning a day costs more than reading a page from
    it, then as far back as the rest should be by what was found so far."""

    def __init__(self, span: Span, after: Place | None, wanted: int, found: int = 0) -> None:
        """`found` are known up to the place `after`."""
        self._start = span.start
        self._end = span.end if after is None else min(span.end, after.created_at + 1)
        self._looked_ms = max(0, span.end - self._end) if found else 0
        self._wanted, self._found = wanted, found
        self._length_ms = self._rest_ms() if found else LOOK_FIRST_MS

    def window(self) -> Span | None:
        """None when enough was found, or everything looked at."""
        if self._found >= self._wanted or self._start >= self._end:
            return None
        return Span(max(self._start, self._end - self._length_ms), self._end)

    def note(self, found: int) -> None:
        """So many in the window."""
        self._found += found
        self._end -= self._length_ms
        self._looked_ms += self._length_ms
        self._length_ms = self._rest_ms() if self._found else self._end - self._start

    def _rest_ms(self) -> int:
        return max(LOOK_FIRST_MS, self._looked_ms * (self._wanted - self._found) // self._found)


def _condition(terms: Sequence[Term], span: Span, owner: str | None, after: Place | None, arguments: Arguments) -> str:
    condition = condition_of(terms, span, owner, arguments)
    if after is None:
        return condition
    at, task_id = arguments.add(after.created_at), arguments.add(after.id)
    return f"{condition} AND created_at <= {at} AND (created_at < {at} OR id < {task_id})"


def _room(rows: "Sequence[asyncpg.Record]") -> int:
    """How many bytes of records the page may still have."""
    return PAGE_BYTES_MAX - sum(int(row["size"]) for row in rows)
