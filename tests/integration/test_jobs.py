"""Acts on many tasks: counted first, done once, gone on with when their process dies."""

import os
import signal
from collections.abc import AsyncIterator

import msgspec
import pytest

from pointsman.client.client import Client
from pointsman.contracts.actor import Actor, Role
from pointsman.contracts.base import encode
from pointsman.contracts.errors import PointsmanError
from pointsman.contracts.ids import created_at_ms
from pointsman.contracts.lifecycle import Status
from pointsman.contracts.record import TaskRecord
from pointsman.contracts.search import AuditQuery, BulkCommand, BulkRequest, Job, MarkedTask
from pointsman.contracts.subjects import BUCKET_JOBS, BUCKET_TASKS, key, stream_of
from pointsman.services.history import job_rules, jobs
from pointsman.services.runtime.bulk import last_of
from pointsman.services.runtime.clock import SystemClock
from pointsman.services.runtime.context import Context
from pointsman.services.runtime.kv import KvBucket
from pointsman.services.runtime.task_store import decode_record
from pointsman.services.task import service as task
from tests.integration.test_history import Archive, archive, eventually
from tests.integration.test_search import created, keep

archive = archive

OLGA = Actor(sub="olga", roles=(Role.OPERATOR,), request_id="r-1")


@pytest.fixture
async def desk(archive: Archive) -> AsyncIterator[Archive]:
    await archive.start()
    running = task.build(
        Context(bus=archive.bus, settings=archive.stores.settings, clock=SystemClock(), instance="test")
    )
    archive.started.append(running)
    await running.start()
    yield archive


def command(kind: str, *, dry_run: bool = False, reason: str | None = None, **filters: str) -> BulkCommand:
    return BulkCommand(kind=kind, bulk=BulkRequest(filter=filters, dry_run=dry_run, reason=reason))  # type: ignore[arg-type]


async def ended(desk: Archive, job: Job) -> Job:
    async def is_over() -> bool:
        return (await Client(desk.bus, OLGA).history.job(job.id)).status != "RUNNING"

    await eventually(is_over)
    return await Client(desk.bus, OLGA).history.job(job.id)


async def live(desk: Archive, tasks: list[TaskRecord]) -> list[TaskRecord]:
    entries = await last_of(desk.bus, stream_of(BUCKET_TASKS), [key(BUCKET_TASKS, one.id) for one in tasks])
    return [decode_record(entry.data) for entry in entries.values()]


def failed(count: int) -> list[TaskRecord]:
    return [created(60_000 - number, number, status=Status.FAILED, finished_at=1) for number in range(count)]


async def test_all_that_failed_are_counted_then_retried_and_nothing_else(desk: Archive) -> None:
    wrong, right = failed(250), [created(90_000 - number, number) for number in range(10)]
    await keep(desk, *wrong, *right)
    history = Client(desk.bus, OLGA).history
    counted = await history.bulk(command("retry", dry_run=True, type="scan"))
    assert (counted.status, counted.total) == ("COUNTED", 250)
    assert await live(desk, wrong) == []
    done = await ended(desk, await history.bulk(command("retry", type="scan")))
    assert (done.status, done.done, done.succeeded, done.skipped, done.failed) == ("DONE", 250, 250, 0, 0)
    again = await live(desk, wrong)
    assert {(one.status, one.generation) for one in again} == {("PENDING", 2)}
    assert len(again) == 250
    assert await live(desk, right) == []


async def test_all_that_wait_are_cancelled_with_the_reason(desk: Archive) -> None:
    waiting = [created(5_000 - number, number, ended=False) for number in range(30)]
    for one in waiting:
        await desk.store(one)
    await eventually(desk.is_whole)
    history = Client(desk.bus, OLGA).history
    done = await ended(desk, await history.bulk(command("cancel", reason="moved", type="scan")))
    assert (done.status, done.succeeded) == ("DONE", 30)
    assert {(one.status, one.error) for one in await live(desk, waiting)} == {("CANCELLED", "moved")}


async def test_a_job_whose_process_died_is_gone_on_with_where_it_was(desk: Archive) -> None:
    wrong = failed(20)
    await keep(desk, *wrong)
    now = SystemClock().now_ms()
    record = job_rules.new(command("retry", type="scan"), OLGA, "job_0123456789abcdef", "dead", now - 60_000)
    half = max(wrong, key=lambda one: one.id)
    record = msgspec.structs.replace(record, after=job_rules.Place(created_at_ms(half.id), half.id))
    await KvBucket(desk.bus, BUCKET_JOBS).create(record.job.id, encode(record), operation="o")
    done = await ended(desk, record.job)
    assert (done.status, done.succeeded) == ("DONE", 19)
    assert half.id not in {one.id for one in await live(desk, wrong)}


async def test_marked_tasks_are_cancelled_unless_they_moved_on_and_a_repeated_request_is_one_job(desk: Archive) -> None:
    waiting = [created(5_000 - number, number, ended=False) for number in range(5)]
    for one in waiting:
        await desk.store(one)
    tasks = [MarkedTask(id=one.id, generation=2 if number == 0 else 1) for number, one in enumerate(waiting)]
    stranger = MarkedTask(id="task_" + "0" * 32)
    bulk = BulkRequest(tasks=(*tasks, stranger))
    history = Client(desk.bus, OLGA).history
    counted = await history.bulk(BulkCommand(kind="cancel", bulk=msgspec.structs.replace(bulk, dry_run=True)))
    assert (counted.status, counted.total) == ("COUNTED", 6)
    begun = [await history.bulk(BulkCommand(kind="cancel", bulk=bulk), operation="op-1") for _ in range(2)]
    assert begun[0].id == begun[1].id
    done = await ended(desk, begun[0])
    assert (done.status, done.done, done.succeeded, done.skipped, done.failed) == ("DONE", 6, 4, 2, 0)
    assert any("generation 1, it has never been in 2" in told for told in done.skips)
    assert sorted(one.status for one in await live(desk, waiting)) == ["CANCELLED"] * 4 + ["PENDING"]


async def test_too_many_at_once_are_refused_with_their_number(desk: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    await keep(desk, *failed(5))
    monkeypatch.setattr(jobs, "BULK_TASKS_MAX", 4)
    with pytest.raises(PointsmanError, match="at most 4") as refusal:
        await Client(desk.bus, OLGA).history.bulk(command("retry", type="scan"))
    assert refusal.value.status == 422


@pytest.mark.parametrize(
    ("filters", "role", "status"),
    [({"colour": "red"}, Role.OPERATOR, 400), ({}, Role.OPERATOR, 400), ({"type": "scan"}, Role.USER, 403)],
)
async def test_mistakes_and_strangers_are_refused(
    desk: Archive, filters: dict[str, str], role: Role, status: int
) -> None:
    with pytest.raises(PointsmanError) as refusal:
        await Client(desk.bus, Actor(sub="x", roles=(role,))).history.bulk(command("retry", **filters))
    assert refusal.value.status == status


async def test_one_act_on_many_is_one_entry_of_the_trail(desk: Archive) -> None:
    await keep(desk, *failed(5))
    history = Client(desk.bus, OLGA).history
    job = await history.bulk(command("retry", type="scan"))
    await ended(desk, job)
    await eventually(lambda: desk.is_empty("AUDIT"))
    (entry,) = (await history.audit(AuditQuery())).entries
    assert (entry.what, entry.target, entry.who, entry.outcome) == ("history.bulk", job.id, "olga", "done")
    assert msgspec.json.decode(entry.after)["total"] == 5


async def test_while_the_archive_is_away_a_job_waits(desk: Archive) -> None:
    await keep(desk, *failed(150))
    job = await Client(desk.bus, OLGA).history.bulk(command("retry", type="scan"))
    assert desk.stores.postgres.pid
    os.kill(desk.stores.postgres.pid, signal.SIGKILL)
    done = await ended(desk, job)
    assert (done.status, done.failed) == ("DONE", 0)
    assert done.succeeded + done.skipped >= 150
