"""Backup and restore: the archive and the streams that matter, as files with a manifest of hashes.

Postgres is written first, the streams after it, so that what moves meanwhile is in both rather than in none. At restore
everything that a stream held of tasks goes into Postgres, each record where it is newer; what is open there then is
accepted anew, and who waits to be told of an end is told. So a lost NATS costs nothing that the archive had (RELIABILITY R9).
"""

import asyncio
import base64
import hashlib
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from pathlib import Path

import msgspec

from pointsman.client.bus import Bus, NoResponders
from pointsman.contracts.base import Record, encode
from pointsman.contracts.ids import new_operation_id
from pointsman.contracts.search import AuditEntry
from pointsman.contracts.subjects import (
    BUCKET_IDEMPOTENCY,
    BUCKET_SERVERS,
    BUCKET_SETTINGS,
    BUCKET_TASKS,
    HEADER_OPERATION,
    STREAM_AUDIT,
    STREAM_HISTORY,
    STREAM_WEBHOOKS,
    key_name,
    stream_of,
)
from pointsman.contracts.webhook import Completion
from pointsman.services.history import files, migrations, tables
from pointsman.services.history.files import BackupError
from pointsman.services.history.rules import Stored
from pointsman.services.history.tables import Table
from pointsman.services.history.webhooks import FULL, completion_of, key_of, put
from pointsman.services.runtime import buckets
from pointsman.services.runtime.bulk import every_message
from pointsman.services.runtime.embedded.polling import until
from pointsman.services.runtime.kv import TTL, KvBucket, RevisionMoved
from pointsman.services.runtime.loop import gather_all
from pointsman.services.version import VERSION

FORMAT = 1
MANIFEST = "manifest.json"
BUCKETS = (BUCKET_SERVERS, BUCKET_SETTINGS, BUCKET_IDEMPOTENCY)
STREAMS = (
    *(stream_of(name) for name in BUCKETS),
    stream_of(BUCKET_TASKS),
    STREAM_HISTORY,
    STREAM_AUDIT,
    STREAM_WEBHOOKS,
)
NOT_ALWAYS = frozenset({STREAM_WEBHOOKS})
"""Streams that a backup of an older version does not hold."""
CHUNK, ABREAST = 500, 50
SOURCED_S = 2.0
KEPT_HEADERS = (HEADER_OPERATION, TTL)


class File(Record, omit_defaults=False):
    name: str
    bytes: int
    sha256: str
    rows: int


class Manifest(Record, omit_defaults=False):
    """Times in ms since the epoch; `schema` is the revision of the tables."""

    format: int
    version: str
    created_at: int
    schema: str
    files: tuple[File, ...]
    tables: tuple[Table, ...]


class Kept(Record):
    """One message of a stream, a line of its file."""

    subject: str
    sequence: int
    data: str
    headers: dict[str, str] = {}


class Restored(msgspec.Struct, frozen=True):
    """How much was brought back."""

    rows: dict[str, int]
    keys: int
    open_tasks: int
    completions: int


_MANIFEST = msgspec.json.Decoder(Manifest)
_KEPT = msgspec.json.Decoder(Kept)
_ENTRY = msgspec.json.Decoder(AuditEntry)
_COMPLETION = msgspec.json.Decoder(Completion)


async def backup(bus: Bus, dsn: str, folder: Path, now_ms: int) -> Manifest:
    """Into an absent or empty folder, readable by its owner only: it holds keys of servers. Raises BackupError."""
    files.make(folder)
    try:
        return await _written(bus, dsn, folder, now_ms)
    except BaseException:
        files.discard(folder)
        raise


async def _written(bus: Bus, dsn: str, folder: Path, now_ms: int) -> Manifest:
    schema = await migrations.current(dsn)
    if schema is None:
        raise BackupError("the database has no tables of ours")
    dumped = await tables.dump(dsn, folder)
    described = [_described(folder / table.file, table.rows) for table in dumped]
    await _sourced(bus)
    for stream in STREAMS:
        described.append(await _dump_stream(bus, stream, folder))
    manifest = Manifest(
        format=FORMAT, version=VERSION, created_at=now_ms, schema=schema, files=tuple(described), tables=tuple(dumped)
    )
    draft = folder / f"{MANIFEST}.draft"
    with files.opened(draft) as file:
        file.write(msgspec.json.format(msgspec.json.encode(manifest), indent=2))
    with files.disk(draft):
        draft.rename(folder / MANIFEST)
    return manifest


async def _sourced(bus: Bus) -> None:
    """HISTORY takes what is stored a moment later: who waits to be told of an end that is only on its way is in no stream
    yet. After a restart the broker may not know how far it is; then this waits in vain, and the task itself is kept."""
    stored = (await buckets.api(bus, f"STREAM.INFO.{stream_of(BUCKET_TASKS)}"))["state"]["last_seq"]

    async def taken() -> bool:
        (source,) = (await buckets.api(bus, f"STREAM.INFO.{STREAM_HISTORY}"))["sources"]
        return bool(source.get("seq", 0) >= stored)

    with suppress(TimeoutError):
        async with asyncio.timeout(SOURCED_S):
            await until(taken, every_s=0.05)


def verified(folder: Path) -> Manifest:
    """The manifest of a whole backup; raises BackupError that names the first file that is not as it was written."""
    try:
        manifest = _MANIFEST.decode((folder / MANIFEST).read_bytes())
    except (OSError, msgspec.MsgspecError) as error:
        raise BackupError(f"{folder} holds no backup: {error}") from None
    if manifest.format != FORMAT:
        raise BackupError(f"the backup has format {manifest.format}, this version reads {FORMAT}")
    for file in manifest.files:
        path = folder / Path(file.name).name
        if not path.is_file() or _described(path, file.rows) != file:
            raise BackupError(f"{path} is missing or not as it was written")
    return manifest


async def restore(bus: Bus, dsn: str, folder: Path, now_ms: int, *, keep_database: bool = False) -> Restored:
    """Into stores that hold nothing and that no service uses; `keep_database` when only NATS was lost.

    Raises BackupError before anything is written. One that was cut off, by a full disk or a kill, goes on when it is
    repeated; the database is marked until then.
    """
    manifest = verified(folder)
    _refuse_partial(manifest)
    await _refuse_running(bus)
    name = hashlib.sha256(encode(manifest)).hexdigest()
    rows: dict[str, int] = {}
    begun = await tables.unfinished(dsn)
    if begun is None:
        await _refuse_full(bus, dsn, keep_database=keep_database)
        rows = await _begin(dsn, folder, manifest, name, keep_database=keep_database)
    elif begun != name:
        raise BackupError("the restore of another backup has begun here and not ended: repeat it, or empty both stores")
    await asyncio.to_thread(migrations.upgrade, dsn)
    await tables.recount(dsn)
    await tables.merge(dsn, _records(folder), _entries(folder), now_ms)
    keys = 0
    for bucket in BUCKETS:
        keys += await _put_all(bus, bucket, _lines(folder / f"{stream_of(bucket)}.jsonl"))
    open_tasks, completions = await _reopen(bus, dsn), await _announce(bus, folder, now_ms)
    await tables.end(dsn)
    return Restored(rows, keys, open_tasks, completions)


async def _begin(dsn: str, folder: Path, manifest: Manifest, name: str, *, keep_database: bool) -> dict[str, int]:
    """Empty tables are made anew as the backup's were, so that what it holds goes through the same migrations as if it
    had been there."""
    if keep_database:
        await tables.begin(dsn, name)
        return {}
    await asyncio.to_thread(migrations.downgrade, dsn, "base")
    await asyncio.to_thread(migrations.upgrade, dsn, manifest.schema)
    return await tables.load(dsn, folder, manifest.tables, name)


def _refuse_partial(manifest: Manifest) -> None:
    """Whole is not enough: it has to hold all that is needed, in a schema that is known here."""
    held = {file.name for file in manifest.files}
    needed = {f"{stream}.jsonl" for stream in STREAMS if stream not in NOT_ALWAYS}
    if missing := sorted(needed - held):
        raise BackupError(f"the backup of version {manifest.version} lacks {', '.join(missing)}")
    if not migrations.knows(manifest.schema):
        raise BackupError(
            f"the backup's tables are of revision {manifest.schema}, which version {VERSION} does not know;"
            f" restore it with version {manifest.version} or newer"
        )


async def _refuse_running(bus: Bus) -> None:
    for service in ("task", "balancer", "history", "registry"):
        try:
            await bus.request(f"$SRV.PING.{service}", b"", timeout_s=2.0)
        except NoResponders:
            continue
        raise BackupError(f"the service {service} runs; stop every service before a restore")


async def _refuse_full(bus: Bus, dsn: str, *, keep_database: bool) -> None:
    for stream in STREAMS:
        info = await buckets.api(bus, f"STREAM.INFO.{stream}")
        if info["state"]["messages"]:
            raise BackupError(f"the stream {stream} is not empty")
    is_full = await tables.hold_rows(dsn)
    if is_full and not keep_database:
        raise BackupError("the database is not empty; a lost NATS alone is restored with --keep-database")
    if keep_database and not is_full:
        raise BackupError("the database is empty; without --keep-database it gets what the backup holds")


async def _dump_stream(bus: Bus, stream: str, folder: Path) -> File:
    path, lines = folder / f"{stream}.jsonl", 0
    with files.opened(path) as file:
        async for message in every_message(bus, stream):
            headers = {name: message.headers[name] for name in KEPT_HEADERS if name in message.headers}
            kept = Kept(
                subject=message.headers["Nats-Subject"],
                sequence=int(message.headers["Nats-Sequence"]),
                data=base64.b64encode(message.data).decode(),
                headers=headers,
            )
            if message.data:
                file.write(msgspec.json.encode(kept) + b"\n")
                lines += 1
    return _described(path, lines)


async def _put_all(bus: Bus, name: str, lines: Iterator[Kept]) -> int:
    bucket, count = KvBucket(bus, name), 0
    for chunk in _chunks(lines, ABREAST):
        await gather_all(
            [
                _put(
                    bucket,
                    key_name(kept.subject),
                    base64.b64decode(kept.data),
                    ttl_s=_ttl_s(kept.headers.get(TTL, "")),
                )
                for kept in chunk
            ]
        )
        count += len(chunk)
    return count


async def _put(bucket: KvBucket, name: str, data: bytes, *, ttl_s: int | None = None) -> None:
    """What is there is from an earlier try."""
    with suppress(RevisionMoved):
        await bucket.create(name, data, operation=new_operation_id(), ttl_s=ttl_s)


async def _reopen(bus: Bus, dsn: str) -> int:
    """Accept every open task of the archive anew, under its own id and generation."""
    bucket, count = KvBucket(bus, BUCKET_TASKS), 0
    async for chunk in _open_tasks(dsn):
        await gather_all([_put(bucket, name, data) for name, data in chunk])
        count += len(chunk)
    return count


async def _announce(bus: Bus, folder: Path, now_ms: int) -> int:
    """Put back who waited to be told of an end, and who would have been told of what HISTORY held."""
    told: set[str] = set()
    for chunk in _chunks(_completions(folder, now_ms), ABREAST):
        new = {key_of(completion): completion for completion in chunk if key_of(completion) not in told}
        errors = await gather_all([put(bus, key, completion) for key, completion in new.items()])
        if failed := [error for error in errors if error and not error.startswith(FULL)]:
            raise BackupError(f"a completion could not be put back: {failed[0]}")
        told.update(new)
    return len(told)


def _completions(folder: Path, now_ms: int) -> Iterator[Completion]:
    """A backup of an older version holds none that had left HISTORY."""
    waiting = folder / f"{STREAM_WEBHOOKS}.jsonl"
    if waiting.is_file():
        yield from (_COMPLETION.decode(base64.b64decode(kept.data)) for kept in _lines(waiting))
    for kept in _lines(folder / f"{STREAM_HISTORY}.jsonl"):
        completion = completion_of(base64.b64decode(kept.data), now_ms)
        if completion is not None:
            yield completion


async def _open_tasks(dsn: str) -> AsyncIterator[list[tuple[str, bytes]]]:
    chunk: list[tuple[str, bytes]] = []
    async for row in tables.open_tasks(dsn):
        chunk.append(row)
        if len(chunk) == ABREAST:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


def _records(folder: Path) -> Iterator[list[Stored]]:
    for stream in (stream_of(BUCKET_TASKS), STREAM_HISTORY):
        stored = (
            Stored(subject=kept.subject, revision=kept.sequence, data=base64.b64decode(kept.data))
            for kept in _lines(folder / f"{stream}.jsonl")
        )
        yield from _chunks(stored, CHUNK)


def _entries(folder: Path) -> Iterator[AuditEntry]:
    for kept in _lines(folder / f"{STREAM_AUDIT}.jsonl"):
        yield _ENTRY.decode(base64.b64decode(kept.data))


def _lines(path: Path) -> Iterator[Kept]:
    with path.open("rb") as file:
        for line in file:
            yield _KEPT.decode(line)


def _chunks[T](items: Iterator[T], size: int) -> Iterator[list[T]]:
    chunk: list[T] = []
    for item in items:
        chunk.append(item)
        if len(chunk) == size:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


def _ttl_s(text: str) -> int | None:
    return int(text.removesuffix("s")) if text.endswith("s") else None


def _described(path: Path, rows: int) -> File:
    with files.disk(path):
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        return File(name=path.name, bytes=path.stat().st_size, sha256=digest, rows=rows)
