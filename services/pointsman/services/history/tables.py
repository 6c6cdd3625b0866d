"""The archive's tables as files of COPY, and back."""

from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path

import asyncpg

from pointsman.contracts.base import Record
from pointsman.contracts.search import AuditEntry
from pointsman.services.history import files
from pointsman.services.history.rules import Rows, Stored, Unarchivable, rows_of
from pointsman.services.history.store import CONNECT_TIMEOUT_S, HistoryStore, connect
from pointsman.services.history.trail import INSERT, row_of

DAYS = {"tasks": "created_at", "transitions": "created_at", "attempts": "finished_at"}
NAMES = (*DAYS, "dead_letters", "audit")
COPY_S = 3_600.0
PREFETCH = 200


class Table(Record, omit_defaults=False):
    """One table's file; `days` are its partitions, counted from the epoch."""

    name: str
    file: str
    columns: tuple[str, ...]
    days: tuple[int, ...]
    rows: int


async def dump(dsn: str, folder: Path) -> list[Table]:
    """Every table as of one moment. Nothing is waited for at the end: a COPY that is broken off at its last piece never
    tells the driver so."""
    connection = await asyncpg.connect(dsn, timeout=CONNECT_TIMEOUT_S)
    try:
        await connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        return [await _dump(connection, name, folder) for name in NAMES]
    finally:
        connection.terminate()


async def hold_rows(dsn: str) -> bool:
    """Whether anything is archived."""
    connection = await asyncpg.connect(dsn, timeout=CONNECT_TIMEOUT_S)
    try:
        for name in NAMES:
            if await connection.fetchval("SELECT to_regclass($1)", name) is None:
                continue
            if await connection.fetchval(f"SELECT EXISTS (SELECT FROM {name})"):  # noqa: S608 - our own names
                return True
        return False
    finally:
        await connection.close()


async def unfinished(dsn: str) -> str | None:
    """The backup whose restore into this database has begun and not ended."""
    connection = await asyncpg.connect(dsn, timeout=CONNECT_TIMEOUT_S)
    try:
        if await connection.fetchval("SELECT to_regclass('restoring')") is None:
            return None
        name: str = await connection.fetchval("SELECT backup FROM restoring")
        return name
    finally:
        await connection.close()


async def begin(dsn: str, name: str) -> None:
    """Mark that the restore of this backup has begun, until `end`."""
    connection = await asyncpg.connect(dsn, timeout=CONNECT_TIMEOUT_S)
    try:
        async with connection.transaction():
            await _begin(connection, name)
    finally:
        await connection.close()


async def end(dsn: str) -> None:
    connection = await asyncpg.connect(dsn, timeout=CONNECT_TIMEOUT_S)
    try:
        await connection.execute("DROP TABLE restoring")
    finally:
        await connection.close()


async def load(dsn: str, folder: Path, tables: Sequence[Table], name: str) -> dict[str, int]:
    """All of it and that the restore has begun, or nothing; returns the rows of each table. Rollups are left to `recount`."""
    connection = await asyncpg.connect(dsn, timeout=CONNECT_TIMEOUT_S)
    try:
        async with connection.transaction():
            await _begin(connection, name)
            daily = [table.name for table in tables if table.name in DAYS]
            for name in daily:
                await connection.execute(f"ALTER TABLE {name} DISABLE TRIGGER USER")
            rows = {table.name: await _load(connection, table, folder) for table in tables if table.name in NAMES}
            for name in daily:
                await connection.execute(f"ALTER TABLE {name} ENABLE TRIGGER USER")
            return rows
    finally:
        await connection.close()


async def recount(dsn: str) -> None:
    """Make the rollups anew from what the tables hold."""
    connection = await asyncpg.connect(dsn, timeout=CONNECT_TIMEOUT_S)
    try:
        await connection.execute("SELECT recount_rollups()", timeout=COPY_S)
    finally:
        await connection.close()


async def merge(dsn: str, records: Iterator[list[Stored]], entries: Iterator[AuditEntry], now_ms: int) -> None:
    """What had not reached the archive, each record where it is newer."""
    pool = await connect(dsn)
    try:
        store = HistoryStore(pool)
        for chunk in records:
            rows: list[Rows] = []
            for stored in chunk:
                try:
                    rows.append(rows_of(stored))
                except Unarchivable as error:
                    await store.bury(stored, str(error), now_ms=now_ms)
            await store.write(rows, now_ms=now_ms)
        for entry in entries:
            await pool.execute(INSERT, *row_of(entry))
    finally:
        await pool.close()


async def open_tasks(dsn: str) -> AsyncIterator[tuple[str, bytes]]:
    """Id and record of each task whose end is not archived, oldest first."""
    connection = await asyncpg.connect(dsn, timeout=CONNECT_TIMEOUT_S)
    try:
        async with connection.transaction(readonly=True):
            query = "SELECT id, record FROM tasks WHERE finished_at IS NULL ORDER BY created_at, id"
            async for row in connection.cursor(query, prefetch=PREFETCH):
                yield row["id"], row["record"]
    finally:
        await connection.close()


async def _begin(connection: "asyncpg.Connection[asyncpg.Record]", name: str) -> None:
    await connection.execute("CREATE TABLE restoring (backup text NOT NULL)")
    await connection.execute("INSERT INTO restoring VALUES ($1)", name)


async def _dump(connection: "asyncpg.Connection[asyncpg.Record]", name: str, folder: Path) -> Table:
    columns = await connection.fetch(
        "SELECT attname AS name FROM pg_attribute WHERE attrelid = $1::text::regclass AND attnum > 0 AND NOT attisdropped"
        " ORDER BY attnum",
        name,
    )
    days: list[int] = []
    if name in DAYS:
        query = f"SELECT DISTINCT ({DAYS[name]} / 86400000)::integer AS day FROM {name} ORDER BY 1"  # noqa: S608
        days = [row["day"] for row in await connection.fetch(query, timeout=COPY_S)]
    path = folder / f"{name}.copy"
    with files.sink(path) as keep:
        said = await connection.copy_from_query(f"SELECT * FROM {name}", output=keep, format="binary", timeout=COPY_S)  # noqa: S608
    return Table(
        name=name,
        file=path.name,
        columns=tuple(row["name"] for row in columns),
        days=tuple(days),
        rows=int(said.split()[-1]),
    )


async def _load(connection: "asyncpg.Connection[asyncpg.Record]", table: Table, folder: Path) -> int:
    for day in table.days:
        await connection.execute("SELECT ensure_day($1::text::regclass, $2)", table.name, day)
    said = await connection.copy_to_table(
        table.name, source=folder / f"{table.name}.copy", columns=table.columns, format="binary", timeout=COPY_S
    )
    return int(said.split()[-1])
