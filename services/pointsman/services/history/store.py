"""The archive in Postgres: batches written once whatever is repeated or reordered, records found by id."""

import asyncio
from collections.abc import Iterable, Sequence

import asyncpg
import msgspec
import structlog

from pointsman.contracts.ids import created_at_ms, is_task_id
from pointsman.services.history.rules import (
    AttemptRow,
    Rows,
    Stored,
    TaskRow,
    TransitionRow,
    attempts_of,
    day_of,
    newest,
    transitions_of,
)

log = structlog.get_logger()

POOL_MAX = 4
CONNECT_TIMEOUT_S = 5.0
COMMAND_TIMEOUT_S = 30.0
STATUS_S = 0.5
SESSION = {"application_name": "pointsman-history", "statement_timeout": "25s", "lock_timeout": "10s"}
DAYS_KNOWN_MAX = 10_000
ROW_FAULT_CLASSES = frozenset({"22", "23", "54"})
UNENCODABLE = (ValueError, OverflowError)

TASK_COLUMNS = TaskRow.__struct_fields__
ATTEMPT_COLUMNS = AttemptRow.__struct_fields__
TRANSITION_COLUMNS = TransitionRow.__struct_fields__
DAILY_TABLES = ("tasks", "attempts", "transitions")

type Connection = asyncpg.Connection[asyncpg.Record] | asyncpg.pool.PoolConnectionProxy[asyncpg.Record]
type Pool = asyncpg.Pool[asyncpg.Record]
DatabaseAway = (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)
NotLetIn = (
    asyncpg.PostgresConnectionError,
    asyncpg.InvalidAuthorizationSpecificationError,
    asyncpg.InvalidCatalogNameError,
    asyncpg.TooManyConnectionsError,
    asyncpg.OperatorInterventionError,
)

MERGE = f"""
WITH kept_tasks AS (
    INSERT INTO tasks ({", ".join(TASK_COLUMNS)}) SELECT {", ".join(TASK_COLUMNS)} FROM unnest($1::tasks[])
    ON CONFLICT (id, created_at) DO UPDATE SET
        {", ".join(f"{name} = excluded.{name}" for name in TASK_COLUMNS if name not in ("id", "created_at"))}
    WHERE (excluded.generation, excluded.finished_at IS NOT NULL, excluded.revision)
        > (tasks.generation, tasks.finished_at IS NOT NULL, tasks.revision)
), kept_transitions AS (
    INSERT INTO transitions ({", ".join(TRANSITION_COLUMNS)})
    SELECT {", ".join(TRANSITION_COLUMNS)} FROM unnest($2::transitions[]) ON CONFLICT DO NOTHING
), kept_attempts AS (
    INSERT INTO attempts ({", ".join(ATTEMPT_COLUMNS)}) SELECT {", ".join(ATTEMPT_COLUMNS)} FROM unnest($3::attempts[])
    ON CONFLICT (task_id, number, started_at, finished_at) DO UPDATE SET generation = excluded.generation
    WHERE excluded.generation < attempts.generation
)
SELECT
"""  # noqa: S608 - names of our own columns

BURY = """
INSERT INTO dead_letters (subject, revision, reason, record, at) VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (subject, revision) DO NOTHING
"""


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


class HistoryStore:
    """Its errors are those of `DatabaseAway`: nothing of the call was kept, or it may be repeated."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._days: set[tuple[str, int]] = set()

    async def write(self, batch: Sequence[Rows], *, now_ms: int) -> int:
        """Keep all of it, except records that Postgres refuses: they are buried one by one. Returns how many were."""
        if not batch:
            return 0
        try:
            await self._merge(batch)
        except (*DatabaseAway, *UNENCODABLE) as error:
            if not is_row_fault(error):
                await self._pool.expire_connections()
                raise
            if len(batch) == 1:
                await self.bury(batch[0].stored, str(error), now_ms=now_ms)
                return 1
            half = len(batch) // 2
            return await self.write(batch[:half], now_ms=now_ms) + await self.write(batch[half:], now_ms=now_ms)
        return 0

    async def bury(self, stored: Stored, reason: str, *, now_ms: int) -> None:
        """Keep what cannot be archived as it came."""
        await self._pool.execute(BURY, stored.subject, stored.revision, reason, stored.data, now_ms)
        log.error("record buried", subject=stored.subject, revision=stored.revision, reason=reason)

    async def get(self, task_id: str) -> bytes | None:
        """The last record of a task as it was stored."""
        if not is_task_id(task_id):
            return None
        record: bytes | None = await self._pool.fetchval(
            "SELECT record FROM tasks WHERE id = $1 AND created_at = $2", task_id, created_at_ms(task_id)
        )
        return record

    async def dead_letters(self) -> int:
        """How many records were set aside; gives up soon, for a database may be silent."""
        async with asyncio.timeout(STATUS_S):
            count: int = await self._pool.fetchval("SELECT count(*) FROM dead_letters")
        return count

    async def ensure_days(self, days: Iterable[tuple[str, int]]) -> None:
        """Make the partitions, (table, day since the epoch), that this process has not seen yet."""
        missing = sorted(set(days) - self._days)
        for table, day in missing:
            await self._pool.execute("SELECT ensure_day($1::text::regclass, $2)", table, day)
        if len(self._days) > DAYS_KNOWN_MAX:
            self._days.clear()
        self._days.update(missing)

    async def drop_days_before(self, day: int) -> list[str]:
        """Retention: drop all that was created, and attempts that ended, before this day; returns what went."""
        self._days.clear()
        dropped = [
            await self._pool.fetch("SELECT drop_days_before($1::text::regclass, $2) AS name", table, day)
            for table in DAILY_TABLES
        ]
        return [row["name"] for rows in dropped for row in rows]

    async def fold(self, most: int) -> int:
        """Move so many notes into the rollups; returns how many, 0 while another process does it."""
        folded: int = await self._pool.fetchval("SELECT fold_uncounted($1)", most)
        return folded

    async def vacuum_notes(self) -> None:
        """Notes live for a second; without this the table keeps their room until autovacuum comes."""
        await self._pool.execute("VACUUM uncounted")

    async def _merge(self, batch: Sequence[Rows]) -> None:
        """A day that this process has seen may have been dropped by another: then once more, with the days made anew."""
        try:
            await self._merge_into_days(batch)
        except asyncpg.CheckViolationError:
            self._days.clear()
            await self._merge_into_days(batch)

    async def _merge_into_days(self, batch: Sequence[Rows]) -> None:
        tasks, attempts = newest(batch), attempts_of(batch)
        created = {day_of(row.created_at) for row in tasks}
        await self.ensure_days((table, day) for table in ("tasks", "transitions") for day in created)
        await self.ensure_days(("attempts", day_of(row.finished_at)) for row in attempts)
        await self._pool.execute(MERGE, _tuples(tasks), _tuples(transitions_of(batch)), _tuples(attempts))


def refuses(error: Exception) -> bool:
    """Whether Postgres let us in and says no to what is asked."""
    return isinstance(error, asyncpg.PostgresError) and not isinstance(error, NotLetIn)


def is_row_fault(error: Exception) -> bool:
    """Whether the data is to blame, so that repeating cannot help: by SQLSTATE class, or found before it was sent."""
    state = getattr(error, "sqlstate", None)
    if state:
        return state[:2] in ROW_FAULT_CLASSES
    return isinstance(error, UNENCODABLE) and not isinstance(error, asyncpg.exceptions.ClientConfigurationError)


def _tuples(rows: Sequence[msgspec.Struct]) -> list[tuple[object, ...]]:
    return [msgspec.structs.astuple(row) for row in rows]
