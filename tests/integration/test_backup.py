"""Backup and restore on real brokers and databases: everything is there again, and nothing is written over."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import asyncpg
import msgspec
import pytest
from msgspec.structs import replace

from pointsman.client import nats_bus
from pointsman.client.nats_bus import NatsBus
from pointsman.contracts.actor import Actor, Role
from pointsman.contracts.base import encode
from pointsman.contracts.lifecycle import Status
from pointsman.contracts.record import TaskRecord
from pointsman.contracts.subjects import BUCKET_SERVERS, BUCKET_TASKS, STREAM_WEBHOOKS, key, stream_of
from pointsman.contracts.webhook import Completion
from pointsman.services.history import backup as backup_module
from pointsman.services.history import migrations, tables
from pointsman.services.history.backup import MANIFEST, Manifest, backup, restore, verified
from pointsman.services.history.files import BackupError
from pointsman.services.runtime import buckets
from pointsman.services.runtime.audit import Notes, entry_of, keep
from pointsman.services.runtime.bulk import every_message, last_of
from pointsman.services.runtime.kv import KvBucket
from tests.integration.test_history import NOW, Archive, archive, eventually, finished, migrated, record
from tests.support import disks
from tests.support.systems import Stores, embedded

archive = archive

ADMIN = Actor(sub="root", roles=(Role.ADMIN,))
COUNTS = "SELECT (SELECT count(*) FROM tasks), (SELECT count(*) FROM attempts), (SELECT count(*) FROM audit)"


@dataclass
class Empty:
    stores: Stores
    bus: NatsBus

    @property
    def dsn(self) -> str:
        return self.stores.dsn

    async def live(self) -> dict[str, bytes]:
        return {
            message.headers["Nats-Subject"]: message.data
            async for message in every_message(self.bus, stream_of(BUCKET_TASKS))
        }


@asynccontextmanager
async def another(folder: Path) -> AsyncIterator[Empty]:
    """A second machine, with nothing on it but streams."""
    async with embedded(folder) as stores:
        given = stores.nats_settings
        bus = await nats_bus.connect(given.url, name="test", user=given.user, password=given.password)
        await buckets.ensure(bus, relaxed=False, replicas=1)
        try:
            yield Empty(stores, bus)
        finally:
            await bus.close()


async def lived_in(archive: Archive) -> list[TaskRecord]:
    """A system with ended and open tasks in the archive, one of each that is not there yet, a server, and an act."""
    running = await archive.start()
    await archive.run_tasks(30)
    opened = [record() for _ in range(3)]
    for task in opened:
        await archive.store(task)
    await keep(archive.bus, entry_of("registry.register", ADMIN, b'{"id":"gpu-1"}', Notes(), None, NOW))
    await KvBucket(archive.bus, BUCKET_SERVERS).create("config.gpu-1", b'{"id":"gpu-1"}', operation="o")
    await eventually(archive.is_whole)
    await eventually(lambda: archive.is_empty("AUDIT"))
    await archive.stop(running)
    late, ended = record(), record()
    await archive.store(late)
    await archive.store(finished(ended, status=Status.FAILED), await archive.store(ended))
    await keep(archive.bus, entry_of("registry.unregister", ADMIN, b'{"id":"gpu-2"}', Notes(), None, NOW))
    return [*opened, late]


def asking(path: str) -> TaskRecord:
    """A task whose submitter wants to be called."""
    task = record()
    return replace(task, spec=replace(task.spec, callback_url=f"http://receiver.example/{path}"))


async def waiting(bus: NatsBus) -> set[str]:
    """The tasks whose ends wait to be told."""
    return {
        msgspec.json.decode(message.data, type=Completion).task_id
        async for message in every_message(bus, STREAM_WEBHOOKS)
    }


async def test_who_waits_to_be_told_of_an_end_is_told_after_a_restore(archive: Archive, tmp_path: Path) -> None:
    folder, announced, late = tmp_path / "backup", asking("announced"), asking("late")
    running = await archive.start()
    await archive.store(finished(announced), await archive.store(announced))
    await eventually(archive.is_whole)
    await archive.stop(running)
    await archive.store(finished(late), await archive.store(late))
    assert await waiting(archive.bus) == {announced.id}
    await backup(archive.bus, archive.stores.dsn, folder, NOW)
    async with another(tmp_path / "b") as empty:
        assert (await restore(empty.bus, empty.dsn, folder, NOW)).completions == 2
        assert await waiting(empty.bus) == {announced.id, late.id}


async def counted(dsn: str) -> tuple[int, int, int]:
    connection = await asyncpg.connect(dsn)
    try:
        row = await connection.fetchrow(COUNTS)
        assert row is not None
        return row[0], row[1], row[2]
    finally:
        await connection.close()


def names(records: list[TaskRecord]) -> set[str]:
    return {key(BUCKET_TASKS, one.id) for one in records}


async def test_everything_is_there_again_on_another_machine(archive: Archive, tmp_path: Path) -> None:
    opened, folder = await lived_in(archive), tmp_path / "backup"
    manifest = await backup(archive.bus, archive.stores.dsn, folder, NOW)
    assert verified(folder) == manifest
    assert {path.stat().st_mode & 0o77 for path in (folder, *folder.iterdir())} == {0}
    async with another(tmp_path / "b") as empty:
        done = await restore(empty.bus, empty.dsn, folder, NOW)
        assert done.open_tasks == len(opened)
        assert await counted(empty.dsn) == (35, 31, 2)
        live = await empty.live()
        assert set(live) == names(opened)
        assert all(live[key(BUCKET_TASKS, task.id)] == encode(task) for task in opened)
        subject = key(BUCKET_SERVERS, "config.gpu-1")
        assert [entry.data for entry in (await last_of(empty.bus, "KV_servers", [subject])).values()] == [
            b'{"id":"gpu-1"}'
        ]
        with pytest.raises(BackupError, match="not empty"):
            await restore(empty.bus, empty.dsn, folder, NOW)
        with pytest.raises(BackupError, match="stream KV_servers is not empty"):
            await restore(empty.bus, empty.dsn, folder, NOW, keep_database=True)


async def test_a_lost_broker_costs_nothing_that_the_archive_had(archive: Archive, tmp_path: Path) -> None:
    folder = tmp_path / "backup"
    await lived_in(archive)
    await backup(archive.bus, archive.stores.dsn, folder, NOW)
    running = await archive.start()
    newer, ended = record(), record()
    await archive.store(newer)
    await archive.store(finished(ended), await archive.store(ended))
    await eventually(archive.is_whole)
    await archive.stop(running)
    database = archive.stores.dsn
    opened = {row["id"] for row in await archive.database.fetch("SELECT id FROM tasks WHERE finished_at IS NULL")}
    assert newer.id in opened
    async with another(tmp_path / "b") as empty:
        done = await restore(empty.bus, database, folder, NOW, keep_database=True)
        assert done.open_tasks == len(opened)
        assert set(await empty.live()) == {key(BUCKET_TASKS, name) for name in opened}


class CutOff(Exception):
    """What a kill would be."""


def cut_off_after(monkeypatch: pytest.MonkeyPatch, place: object, step: str) -> None:
    """The step is done and then nothing more."""
    work = getattr(place, step)

    async def done(*args: object, **given: object) -> None:
        await work(*args, **given)
        raise CutOff

    monkeypatch.setattr(place, step, done)


@pytest.mark.parametrize(
    ("place", "step", "keep_database"),
    [
        (tables, "recount", True),
        (backup_module, "_put_all", False),
        (backup_module, "_reopen", False),
        (tables, "end", False),
    ],
)
async def test_a_restore_that_was_cut_off_goes_on_when_it_is_repeated(
    archive: Archive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: object, step: str, keep_database: bool
) -> None:
    folder, opened = tmp_path / "backup", await lived_in(archive)
    await backup(archive.bus, archive.stores.dsn, folder, NOW)
    async with another(tmp_path / "b") as empty:
        dsn = archive.stores.dsn if keep_database else empty.dsn
        cut_off_after(monkeypatch, place, step)
        with pytest.raises(CutOff):
            await restore(empty.bus, dsn, folder, NOW, keep_database=keep_database)
        monkeypatch.undo()
        if step != "end":
            assert await migrated(dsn) == (1, "pointsman: a restore has begun here and not ended: repeat it\n")
            await restore(empty.bus, dsn, folder, NOW, keep_database=keep_database)
        assert (await migrated(dsn))[0] != 1
        assert await counted(dsn) == (35, 31, 2)
        assert set(await empty.live()) == names(opened)
        servers = await last_of(empty.bus, "KV_servers", [key(BUCKET_SERVERS, "config.gpu-1")])
        assert len(servers) == 1


async def test_the_restore_of_another_backup_does_not_go_on_with_one_that_was_cut_off(
    archive: Archive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await lived_in(archive)
    for name in ("one", "two"):
        await backup(archive.bus, archive.stores.dsn, tmp_path / name, NOW)
    async with another(tmp_path / "b") as empty:
        cut_off_after(monkeypatch, tables, "recount")
        with pytest.raises(CutOff):
            await restore(empty.bus, empty.dsn, tmp_path / "one", NOW)
        rewritten(tmp_path / "two", created_at=NOW + 1)
        with pytest.raises(BackupError, match="another backup has begun"):
            await restore(empty.bus, empty.dsn, tmp_path / "two", NOW)


async def test_a_database_to_be_kept_must_hold_something(archive: Archive, tmp_path: Path) -> None:
    await lived_in(archive)
    await backup(archive.bus, archive.stores.dsn, tmp_path / "backup", NOW)
    async with another(tmp_path / "b") as empty:
        with pytest.raises(BackupError, match="without --keep-database it gets what the backup holds"):
            await restore(empty.bus, empty.dsn, tmp_path / "backup", NOW, keep_database=True)


async def test_a_live_system_is_never_written_over(archive: Archive, tmp_path: Path) -> None:
    folder = tmp_path / "backup"
    await backup(archive.bus, archive.stores.dsn, folder, NOW)
    running = await archive.start()
    with pytest.raises(BackupError, match="the service history runs"):
        await restore(archive.bus, archive.stores.dsn, folder, NOW)
    await archive.stop(running)


async def test_a_damaged_or_strange_backup_is_refused_before_anything_is_written(
    archive: Archive, tmp_path: Path
) -> None:
    folder = tmp_path / "backup"
    await lived_in(archive)
    await backup(archive.bus, archive.stores.dsn, folder, NOW)
    with pytest.raises(BackupError, match="not empty"):
        await backup(archive.bus, archive.stores.dsn, folder, NOW)
    file = folder / "tasks.copy"
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    for work in (lambda: verified(folder), lambda: verified(tmp_path)):
        with pytest.raises(BackupError):
            work()
    file.unlink()
    with pytest.raises(BackupError, match=r"tasks\.copy is missing"):
        await restore(archive.bus, archive.stores.dsn, folder, NOW)
    (folder / MANIFEST).unlink()
    with pytest.raises(BackupError, match="holds no backup"):
        verified(folder)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    with disks.small_disk(folder, "64k") as disk:
        yield disk


@pytest.mark.parametrize("room", [4, 9, 12])
async def test_a_full_disk_is_told_as_that_and_leaves_room_for_the_next_try(
    archive: Archive, small_disk: Path, room: int
) -> None:
    """In the first file, in one of a table, in one of a stream."""
    await lived_in(archive)
    folder, filler = small_disk / "backup", small_disk / "filler"
    filler.write_bytes(bytes((16 - room) * 4096))
    with pytest.raises(BackupError, match=r"disk/backup/.*: No space left on device"):
        async with asyncio.timeout(20):
            await backup(archive.bus, archive.stores.dsn, folder, NOW)
    assert list(folder.iterdir()) == []
    disks.grow(small_disk, "10m")
    await backup(archive.bus, archive.stores.dsn, folder, NOW)
    assert verified(folder).files


async def test_what_a_failed_backup_leaves_behind_does_not_hide_why_it_failed(
    archive: Archive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "backup"

    async def fall(*_given: object) -> None:
        folder.rmdir()
        raise CutOff

    monkeypatch.setattr(tables, "dump", fall)
    with pytest.raises(CutOff):
        await backup(archive.bus, archive.stores.dsn, folder, NOW)


async def test_a_folder_that_cannot_be_made_is_named(archive: Archive, tmp_path: Path) -> None:
    with pytest.raises(BackupError, match="/proc/backup: "):
        await backup(archive.bus, archive.stores.dsn, Path("/proc/backup"), NOW)


def rewritten(folder: Path, **changes: object) -> None:
    """The manifest as another version would have written it."""
    manifest = replace(verified(folder), **changes)
    (folder / MANIFEST).write_bytes(encode(manifest))


def without(folder: Path, name: str) -> None:
    (folder / name).unlink()
    manifest = msgspec.json.decode((folder / MANIFEST).read_bytes(), type=Manifest)
    kept = tuple(file for file in manifest.files if file.name != name)
    (folder / MANIFEST).write_bytes(encode(replace(manifest, files=kept)))


async def test_a_backup_from_before_webhooks_had_a_stream_is_restored_with_what_history_tells(
    archive: Archive, tmp_path: Path
) -> None:
    folder, late = tmp_path / "backup", asking("late")
    await archive.store(finished(late), await archive.store(late))
    await backup(archive.bus, archive.stores.dsn, folder, NOW)
    without(folder, f"{STREAM_WEBHOOKS}.jsonl")
    async with another(tmp_path / "b") as empty:
        assert (await restore(empty.bus, empty.dsn, folder, NOW)).completions == 1
        assert await waiting(empty.bus) == {late.id}


async def test_a_backup_of_older_tables_goes_through_their_migrations_though_the_tables_are_there_already(
    archive: Archive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, dsn, task = tmp_path / "backup", archive.stores.dsn, record()
    running = await archive.start()
    labelled = finished(replace(task, spec=replace(task.spec, labels={"team": "blue"})))
    await archive.store(labelled, await archive.store(task))
    await eventually(archive.is_whole)
    await archive.stop(running)
    await asyncio.to_thread(migrations.downgrade, dsn, "0001")
    monkeypatch.setattr(tables, "NAMES", ("tasks", "attempts", "dead_letters"))
    await backup(archive.bus, dsn, folder, NOW)
    monkeypatch.undo()
    async with another(tmp_path / "b") as empty:
        await asyncio.to_thread(migrations.upgrade, empty.dsn)
        await restore(empty.bus, empty.dsn, folder, NOW)
        connection = await asyncpg.connect(empty.dsn)
        assert await connection.fetchval("SELECT facets FROM tasks") == ["lteam=blue"]
        assert await connection.fetchval("SELECT status FROM transitions WHERE status <> 'PENDING'") == "COMPLETED"
        await connection.close()


async def test_a_backup_that_lacks_a_stream_or_is_of_tables_to_come_is_refused_before_anything_is_written(
    archive: Archive, tmp_path: Path
) -> None:
    folder, dsn = tmp_path / "backup", archive.stores.dsn
    await backup(archive.bus, dsn, folder, NOW)
    rewritten(folder, schema="9999", version="9.1")
    with pytest.raises(BackupError, match=r"revision 9999.*version 9\.1 or newer"):
        await restore(archive.bus, dsn, folder, NOW)
    rewritten(folder, schema="0005")
    without(folder, "AUDIT.jsonl")
    with pytest.raises(BackupError, match=r"lacks AUDIT\.jsonl"):
        await restore(archive.bus, dsn, folder, NOW)
