"""The archive on a real broker and database: each record once, whatever is repeated, killed or malformed."""

import asyncio
import os
import re
import secrets
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import asyncpg
import msgspec
import pytest
from click.testing import CliRunner
from structlog.testing import capture_logs
from structlog.typing import EventDict

from pointsman.cli.migrate import migrate
from pointsman.client import call, nats_bus
from pointsman.client.bus import BusError, Headers
from pointsman.client.nats_bus import NatsBus
from pointsman.contracts.actor import Actor, Role
from pointsman.contracts.base import encode
from pointsman.contracts.commands import TaskId
from pointsman.contracts.errors import PointsmanError
from pointsman.contracts.history import HistoryStatus
from pointsman.contracts.ids import new_task_id
from pointsman.contracts.lifecycle import Status
from pointsman.contracts.record import Attempt, TaskRecord, TaskSpec
from pointsman.contracts.subjects import BUCKET_TASKS, STREAM_HISTORY, verb
from pointsman.contracts.task import DAY_MS, EPOCH_MS_MAX
from pointsman.services.history import migrations, service, trail
from pointsman.services.history.loops import ACK
from pointsman.services.history.rules import Stored, day_of, rows_of
from pointsman.services.history.store import HistoryStore, connect
from pointsman.services.runtime import buckets, outcomes
from pointsman.services.runtime.audit import Notes, entry_of, keep
from pointsman.services.runtime.clock import SystemClock
from pointsman.services.runtime.context import Context, RunningService
from pointsman.services.runtime.embedded.kept import Kept
from pointsman.services.runtime.kv import KvBucket
from pointsman.services.runtime.puller import ROOM_MESSAGES, WINDOW_MESSAGES
from tests.support.systems import Stores, embedded

WITHIN_S = buckets.CONSUMER_ACK_WAIT_S + 40.0
NOW = SystemClock().now_ms()
ACTOR = Actor(sub="test", roles=(Role.ADMIN,))


def record(**changes: object) -> TaskRecord:
    given = {
        "id": new_task_id(NOW),
        "owner": "ann",
        "spec": TaskSpec(type="scan", deadline=NOW + DAY_MS, payload=msgspec.Raw(b'{"text":"' + b"x" * 200 + b'"}')),
        "created_at": NOW,
        "updated_at": NOW,
    }
    return TaskRecord(**(given | changes))  # type: ignore[arg-type]


def finished(task: TaskRecord, **changes: object) -> TaskRecord:
    attempt = Attempt(number=1, server_id="gpu-1", started_at=NOW + 5, finished_at=NOW + 25, outcome="succeeded")
    ended = {
        "status": Status.COMPLETED,
        "started_at": NOW + 5,
        "finished_at": NOW + 25,
        "server_id": "gpu-1",
        "attempts": (attempt,),
        "attempt": 1,
        "result": msgspec.Raw(b'{"ok":true}'),
    }
    return msgspec.structs.replace(task, **(ended | changes))


@dataclass
class Archive:
    """A system with buckets and schema, its connections, and what was stored in it."""

    stores: Stores
    bus: NatsBus
    database: asyncpg.Pool
    written: dict[str, bytes]

    started: list[RunningService]

    async def start(self, bus: NatsBus | None = None) -> RunningService:
        """A history service, stopped with the test at the latest."""
        context = Context(bus=bus or self.bus, settings=self.stores.settings, clock=SystemClock(), instance="test")
        running = service.build(context)
        self.started.append(running)
        await running.start()
        return running

    async def stop(self, running: RunningService) -> None:
        self.started.remove(running)
        await running.stop()

    async def store(self, task: TaskRecord, revision: int = 0) -> int:
        self.written[task.id] = encode(task)
        return await self.put(task.id, encode(task), revision)

    async def put(self, name: str, data: bytes, revision: int = 0) -> int:
        bucket = KvBucket(self.bus, BUCKET_TASKS)
        return await bucket.update(name, data, revision=revision, operation=secrets.token_hex(4))

    async def run_tasks(self, count: int) -> None:
        """Accept and finish so many tasks, a few at a time."""
        places = asyncio.Semaphore(50)

        async def one() -> None:
            async with places:
                task = record()
                await self.store(finished(task), await self.store(task))

        await asyncio.gather(*(one() for _ in range(count)))

    async def status(self) -> HistoryStatus:
        answer = await call.call(self.bus, verb("history", "status"), b"{}", ACTOR)
        return msgspec.json.decode(answer.data, type=HistoryStatus)

    async def is_drained(self) -> bool:
        """Everything sourced from the bucket, everything acknowledged."""
        return (await self._last_seq()) >= len(self.written) and (await self.status()).backlog == 0

    async def is_empty(self, stream: str) -> bool:
        info = await buckets.api(self.bus, f"STREAM.INFO.{stream}")
        return int(info["state"]["messages"]) == 0

    async def _last_seq(self) -> int:
        info = await buckets.api(self.bus, f"STREAM.INFO.{STREAM_HISTORY}")
        return int(info["state"]["last_seq"])

    async def archived(self) -> dict[str, bytes]:
        rows = await self.database.fetch("SELECT id, record FROM tasks")
        assert len(rows) == len({row["id"] for row in rows})
        return {row["id"]: row["record"] for row in rows}

    async def is_whole(self) -> bool:
        return await self.is_drained() and await self.archived() == self.written


async def eventually(is_true: Callable[[], Awaitable[bool]]) -> None:
    """Returns once the condition holds; a store that is away for the moment does not make it fail."""
    async with asyncio.timeout(WITHIN_S):
        while True:
            try:
                if await is_true():
                    return
            except (BusError, PointsmanError, OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
                pass
            await asyncio.sleep(0.05)


@pytest.fixture
async def archive(tmp_path: Path) -> AsyncIterator[Archive]:
    async with embedded(tmp_path) as stores:
        await asyncio.to_thread(migrations.upgrade, stores.dsn)
        given = stores.nats_settings
        bus = await nats_bus.connect(given.url, name="test", user=given.user, password=given.password)
        await buckets.ensure(bus, relaxed=False, replicas=1)
        database = await connect(stores.dsn)
        archive = Archive(stores, bus, database, {}, [])
        try:
            yield archive
        finally:
            for running in archive.started:
                await running.stop()
            database.terminate()
            await bus.close()


class Refusing:
    """A bus that turns the first acknowledgement of every record into a refusal, so that all come twice."""

    def __init__(self, bus: NatsBus) -> None:
        self._bus = bus
        self.refused: set[str] = set()

    def __getattr__(self, name: str) -> object:
        return getattr(self._bus, name)

    async def publish(self, subject: str, data: bytes, headers: Headers | None = None, reply: str = "") -> None:
        sequence = subject.split(".")[5] if data == ACK else ""
        if sequence and sequence not in self.refused:
            self.refused.add(sequence)
            data = b"-NAK"
        await self._bus.publish(subject, data, headers, reply)


async def test_each_record_is_archived_once_though_all_come_twice(archive: Archive) -> None:
    bus = Refusing(archive.bus)
    await archive.start(bus)  # type: ignore[arg-type]
    await archive.run_tasks(300)
    await eventually(archive.is_whole)
    status = await archive.status()
    assert len(bus.refused) >= 300
    assert status.committed >= 2 * len(bus.refused)
    assert await archive.database.fetchval("SELECT count(*) FROM attempts") == 300


async def test_what_is_archived_is_folded_into_the_rollups_soon(archive: Archive) -> None:
    await archive.start()
    await archive.run_tasks(40)
    await eventually(lambda: _is_folded(archive, 40))


async def _is_folded(archive: Archive, completed: int) -> bool:
    rolled = await archive.database.fetchval("SELECT sum(completed) FROM rollups WHERE kind = 'all' AND width = 1440")
    return rolled == completed and await archive.database.fetchval("SELECT count(*) FROM uncounted") == 0


async def test_a_database_killed_in_the_middle_loses_and_doubles_nothing(archive: Archive) -> None:
    await archive.start()
    load = asyncio.create_task(archive.run_tasks(1500))
    for floor in (300, 900):
        await eventually(lambda floor=floor: _committed_at_least(archive, floor))  # type: ignore[misc]
        os.kill(archive.stores.postgres.pid or 0, signal.SIGKILL)
    await load
    await eventually(archive.is_whole)
    assert await archive.database.fetchval("SELECT count(*) FROM attempts") == 1500
    assert await archive.database.fetchval("SELECT count(*) FROM dead_letters") == 0


async def _committed_at_least(archive: Archive, floor: int) -> bool:
    return (await archive.status()).committed >= floor


async def test_a_broker_killed_in_the_middle_loses_and_doubles_nothing(archive: Archive) -> None:
    await archive.start()
    await archive.run_tasks(200)
    os.kill(archive.stores.nats.pid or 0, signal.SIGKILL)
    await archive.run_tasks(200)
    await eventually(archive.is_whole)


async def test_while_the_database_is_away_records_wait_within_the_window_and_reads_say_503(archive: Archive) -> None:
    await archive.stores.postgres.stop()
    await archive.start()
    await archive.run_tasks(2200)
    await eventually(lambda: _is_away(archive))
    with pytest.raises(PointsmanError) as refusal:
        await get(archive, next(iter(archive.written)))
    assert refusal.value.status == 503
    again = Kept(archive.stores.postgres.launcher)
    again.start()
    try:
        await eventually(archive.is_whole)
    finally:
        await again.stop()


async def _is_away(archive: Archive) -> bool:
    status = await archive.status()
    is_full = WINDOW_MESSAGES - ROOM_MESSAGES < status.held <= WINDOW_MESSAGES
    waits = is_full and (status.backlog or 0) >= len(archive.written)
    return waits and not status.connected and status.last_commit is None


async def test_a_database_that_is_away_is_told_once_though_nothing_waits_for_it(
    archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trail, "RETRY_S", 0.01)
    await archive.start()
    await archive.run_tasks(1)
    await eventually(archive.is_whole)
    assert (await archive.status()).connected
    await archive.stores.postgres.stop()
    status = await archive.status()
    assert (status.backlog, status.connected, status.dead_letters) == (0, False, None)
    assert status.trouble
    with capture_logs() as lines:
        await keep(archive.bus, entry_of("registry.register", ACTOR, b'{"id":"gpu-1"}', Notes(), None, NOW))
        await archive.put("task_garbage", b"no json")

        async def is_told() -> bool:
            return {"audit trail is away, entries wait", "archive is away, records wait"} <= {*_events(lines)}

        await eventually(is_told)
        again = Kept(archive.stores.postgres.launcher)
        again.start()
        try:
            await eventually(lambda: archive.is_empty("AUDIT"))
            await eventually(lambda: archive.is_empty(STREAM_HISTORY))
            assert (await archive.status()).trouble is None
        finally:
            await again.stop()
    assert sorted(_events(lines)) == [
        "archive is away, records wait",
        "archive is back",
        "audit trail is away, entries wait",
        "audit trail is back",
        "record buried",
    ]


def _events(lines: list[EventDict]) -> list[str]:
    return [
        line["event"]
        for line in lines
        if "archive" in line["event"] or "audit" in line["event"] or "buried" in line["event"]
    ]


async def test_a_stopped_writer_leaves_what_it_held_to_the_next(archive: Archive) -> None:
    await archive.run_tasks(100)
    first = await archive.start()
    await archive.stop(first)
    await archive.start()
    await archive.run_tasks(100)
    await eventually(archive.is_whole)


async def get(archive: Archive, task_id: str) -> bytes:
    return (await call.call(archive.bus, verb("history", "get"), encode(TaskId(id=task_id)), ACTOR)).data


async def test_a_record_is_found_by_its_id_with_the_bytes_that_were_stored(archive: Archive) -> None:
    await archive.start()
    await archive.run_tasks(3)
    await eventually(archive.is_whole)
    for task_id, data in archive.written.items():
        assert await get(archive, task_id) == data
    for unknown in (new_task_id(NOW), "task_x", "'"):
        with pytest.raises(PointsmanError) as refusal:
            await get(archive, unknown)
        assert refusal.value.status == 404


async def test_poison_is_set_aside_and_stops_nobody(archive: Archive) -> None:
    await archive.run_tasks(20)
    no_index_takes_this = secrets.token_hex(10_000)
    poison = {
        "task_garbage": b"\x00 no json",
        "task_other": b'{"id":"task_other"}',
        **{task.id: encode(task) for task in (record(owner=no_index_takes_this), record(generation=2**40))},
        **{task.id: encode(task) for task in (finished(record(), finished_at=2**62) for _ in range(4))},
    }
    for name, data in poison.items():
        await archive.put(name, data)
    await archive.run_tasks(20)
    await archive.store(finished(record(), error="with \0 inside"))
    nowhere = TaskSpec(type="scan", deadline=NOW + DAY_MS, callback_url="http://[nowhere")
    await archive.store(finished(record(spec=nowhere)))
    await archive.start()
    await eventually(archive.is_whole)
    dead = await archive.database.fetch("SELECT subject, record, reason, revision FROM dead_letters")
    assert {row["subject"].split(".")[2]: row["record"] for row in dead} == poison
    assert all(row["reason"] and row["revision"] for row in dead)
    assert (await archive.status()).buried == len(poison)
    await eventually(lambda: _is_folded(archive, 42))


async def test_a_record_that_comes_late_changes_nothing(archive: Archive) -> None:
    store = HistoryStore(archive.database)
    task = record()
    failed = finished(task, status=Status.FAILED)
    history = [(task, 10), (failed, 11), (msgspec.structs.replace(task, generation=2), 12)]
    rows = [rows_of(Stored(subject="s", revision=at, data=encode(one))) for one, at in history]
    for batch in ([rows[2]], [rows[0], rows[1]], rows, rows[:1]):
        await store.write(batch, now_ms=NOW)
    assert await store.get(task.id) == encode(history[2][0])
    assert await archive.database.fetch("SELECT generation, revision, status FROM tasks") == [(2, 12, "PENDING")]


async def test_an_end_replaced_by_a_retry_before_it_was_sourced_reaches_the_archive_with_the_retry(
    archive: Archive,
) -> None:
    store = HistoryStore(archive.database)
    failed = finished(record(), status=Status.FAILED, error_code="boom")
    again = outcomes.renew(failed, NOW + 50, "r-2")
    await store.write([rows_of(Stored(subject="s", revision=12, data=encode(again)))], now_ms=NOW)
    transitions = "SELECT generation, status, at, error_code FROM transitions ORDER BY generation"
    assert await archive.database.fetch(transitions) == [
        (1, "FAILED", NOW + 25, "boom"),
        (2, "PENDING", NOW + 50, None),
    ]
    assert await archive.database.fetch("SELECT generation, number FROM attempts") == [(1, 1)]


async def test_an_end_counts_though_the_bucket_began_to_count_anew(archive: Archive) -> None:
    store = HistoryStore(archive.database)
    task = record()
    await store.write([rows_of(Stored(subject="s", revision=5_000, data=encode(task)))], now_ms=NOW)
    await store.write([rows_of(Stored(subject="s", revision=7, data=encode(finished(task))))], now_ms=NOW)
    assert await store.get(task.id) == encode(finished(task))


async def test_a_lookup_by_id_reads_one_partition(archive: Archive) -> None:
    store = HistoryStore(archive.database)
    await store.ensure_days(("tasks", day_of(NOW) + ahead) for ahead in range(5))
    plan = await archive.database.fetch("EXPLAIN SELECT record FROM tasks WHERE id = 'x' AND created_at = 0" + str(NOW))
    assert sum("tasks_2" in row[0] and "Scan" in row[0] for row in plan) == 1


async def test_retention_drops_whole_days(archive: Archive) -> None:
    store = HistoryStore(archive.database)
    old = record(id=new_task_id(NOW - 9 * DAY_MS))
    new = record()
    await store.write([rows_of(Stored(subject="s", revision=1, data=encode(one))) for one in (old, new)], now_ms=NOW)
    dropped = await store.drop_days_before(day_of(NOW) - 5)
    assert {name.rpartition("_")[0] for name in dropped} == {"tasks", "transitions"}
    assert await store.get(old.id) is None
    assert await store.get(new.id) == encode(new)
    await store.write([rows_of(Stored(subject="s", revision=1, data=encode(old)))], now_ms=NOW)
    assert await store.get(old.id) == encode(old)


async def test_a_day_that_another_process_dropped_is_made_again_for_a_task_that_ends_late(archive: Archive) -> None:
    writer, other = HistoryStore(archive.database), HistoryStore(archive.database)
    old = record(id=new_task_id(NOW - 100 * DAY_MS))
    for task in (old, finished(old)):
        await writer.write([rows_of(Stored(subject="s", revision=1, data=encode(task)))], now_ms=NOW)
        assert await writer.get(old.id) == encode(task)
        assert await other.drop_days_before(day_of(NOW) - 90)
    assert await archive.database.fetchval("SELECT count(*) FROM dead_letters") == 0


async def test_tasks_of_the_first_and_the_last_day_there_is_are_archived(archive: Archive) -> None:
    store = HistoryStore(archive.database)
    ages = (0, DAY_MS - 1, DAY_MS, EPOCH_MS_MAX)
    tasks = [finished(record(id=new_task_id(at)), attempts=(), finished_at=max(at, NOW)) for at in ages]
    rows = [rows_of(Stored(subject="s", revision=1, data=encode(task))) for task in tasks]
    assert await store.write(rows, now_ms=NOW) == 0
    assert [await store.get(task.id) for task in tasks] == [encode(task) for task in tasks]


async def test_what_was_archived_survives_a_step_down_and_up_again(archive: Archive) -> None:
    store = HistoryStore(archive.database)
    spec = TaskSpec(type="scan", deadline=NOW + DAY_MS, labels={"team": "blue"})
    await store.write([rows_of(Stored(subject="s", revision=1, data=encode(record(spec=spec))))], now_ms=NOW)
    dsn = archive.stores.dsn
    await asyncio.to_thread(migrations.downgrade, dsn, "0001")
    assert await archive.database.fetchval("SELECT to_regclass('transitions')") is None
    await asyncio.to_thread(migrations.upgrade, dsn)
    assert await archive.database.fetchval("SELECT facets FROM tasks") == ["lteam=blue"]
    assert await archive.database.fetchval("SELECT count(*) FROM transitions") == 1


async def test_the_schema_goes_up_and_down_and_two_may_try_at_once(archive: Archive) -> None:
    dsn = archive.stores.dsn
    await asyncio.to_thread(migrations.downgrade, dsn, "base")
    assert await archive.database.fetchval("SELECT to_regclass('tasks')") is None
    await asyncio.gather(*(asyncio.to_thread(migrations.upgrade, dsn) for _ in range(4)))
    await asyncio.to_thread(migrations.upgrade, dsn)
    assert await archive.database.fetch("SELECT version_num FROM alembic_version") == [("0005",)]
    assert await archive.database.fetchval("SELECT count(*) FROM tasks") == 0


async def migrated(dsn: str) -> tuple[int, str]:
    """Exit code of `pointsman migrate` and what it says."""
    runner = CliRunner(env={"POINTSMAN_POSTGRES_DSN": dsn})
    done = await asyncio.to_thread(runner.invoke, migrate, [])
    assert done.exception is None or isinstance(done.exception, SystemExit)
    return done.exit_code, done.stderr


async def test_a_database_that_cannot_be_migrated_is_told_in_one_line(archive: Archive) -> None:
    dsn, database = archive.stores.dsn, archive.database
    wrong_password = dsn.replace("@", "x@", 1)
    assert await migrated(wrong_password) == (
        69,
        'pointsman: Postgres cannot be reached: password authentication failed for user "pointsman"\n',
    )
    await database.execute("CREATE ROLE reader LOGIN PASSWORD 'reader'")
    reader = re.sub(r"//.*@", "//reader:reader@", dsn)
    assert await migrated(reader) == (1, "pointsman: Postgres refuses: permission denied for table alembic_version\n")
    await database.execute("UPDATE alembic_version SET version_num = '9999'")
    code, said = await migrated(dsn)
    assert (code, said.startswith("pointsman: the tables are of revision 9999, newer than version")) == (1, True)
