"""Search on a real broker and database: what is found, in which order, by whom, and what a mistake is told."""

import asyncio
import os
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from pointsman.client.call import call
from pointsman.contracts.actor import Actor, Role
from pointsman.contracts.base import encode
from pointsman.contracts.errors import PointsmanError
from pointsman.contracts.ids import TASK_PREFIX, uuid7_hex
from pointsman.contracts.lifecycle import Status
from pointsman.contracts.record import CurrentAttempt, Lease, TaskRecord, TaskSpec
from pointsman.contracts.search import SearchTasks, TaskPage
from pointsman.contracts.subjects import BUCKET_LEASES, verb
from pointsman.contracts.task import DAY_MS
from pointsman.services.history.rules import Stored, rows_of
from pointsman.services.history.store import HistoryStore
from pointsman.services.runtime.kv import KvBucket
from tests.integration.test_history import NOW, Archive, archive, eventually, finished, record

archive = archive

ADMIN = Actor(sub="root", roles=(Role.ADMIN,))
ANN = Actor(sub="ann", roles=(Role.USER,))


@pytest.fixture
async def searched(archive: Archive) -> AsyncIterator[Archive]:
    await archive.start()
    yield archive


async def page(
    archive: Archive, actor: Actor = ADMIN, limit: int | None = None, cursor: str | None = None, **filters: str
) -> TaskPage:
    named = {name.replace("__", "."): value for name, value in filters.items()}
    request = SearchTasks(filters=named, limit=limit, cursor=cursor)
    answer = await call(archive.bus, verb("history", "search"), encode(request), actor)
    return msgspec.json.decode(answer.data, type=TaskPage)


async def every(archive: Archive, limit: int, **filters: str) -> list[str]:
    found, cursor = [], None
    while True:
        one = await page(archive, limit=limit, cursor=cursor, **filters)
        found += [task.id for task in one.tasks]
        cursor = one.cursor
        if cursor is None:
            return found


async def keep(archive: Archive, *tasks: TaskRecord) -> None:
    store = HistoryStore(archive.database)
    batch = [rows_of(Stored(subject="s", revision=at, data=encode(task))) for at, task in enumerate(tasks, 1)]
    assert await store.write(batch, now_ms=NOW) == 0


def created(ago_ms: int, number: int = 0, *, ended: bool = True, **changes: Any) -> TaskRecord:
    spec = {"type": "scan", "deadline": NOW + DAY_MS} | changes.pop("spec", {})
    task = record(id=TASK_PREFIX + uuid7_hex(NOW - ago_ms, number), spec=TaskSpec(**spec))
    return finished(task, **changes) if ended else msgspec.structs.replace(task, **changes)


async def ids(archive: Archive, **filters: str) -> list[str]:
    return [task.id for task in (await page(archive, **filters)).tasks]


async def test_pages_are_newest_first_and_together_whole_though_tasks_come_meanwhile(searched: Archive) -> None:
    tasks = [created(1000 - number, number % 3) for number in range(100)]
    await keep(searched, *tasks)
    expected = sorted((task.id for task in tasks), reverse=True)
    assert await every(searched, 7) == expected
    first = await page(searched, limit=60)
    await keep(searched, *(created(0, number) for number in range(10)))
    rest = await page(searched, limit=60, cursor=first.cursor)
    assert [task.id for task in (*first.tasks, *rest.tasks)] == expected
    assert (first.total, first.total_is_estimate, rest.total, rest.cursor) == (100, False, None, None)


@pytest.mark.parametrize("is_folded", [True, False])
async def test_above_a_thousand_the_total_is_estimated_from_the_newest(searched: Archive, is_folded: bool) -> None:
    apart_ms = 20 * DAY_MS // 3_000
    await keep(
        searched,
        *(created(number * apart_ms, number, spec={"type": f"type-{number % 2}"}) for number in range(1, 3_001)),
    )
    if is_folded:
        await HistoryStore(searched.database).fold(10_000)
    some = await page(searched, type="type-1")
    assert some.total_is_estimate
    assert some.total == pytest.approx(1_500, rel=0.1)
    few = await page(searched, type="type-1", **{"from": str(NOW - 3 * DAY_MS)})
    assert (few.total, few.total_is_estimate) == (225, False)


async def test_the_total_of_a_few_hours_is_not_estimated_from_the_whole_day(searched: Archive) -> None:
    await keep(searched, *(created(10_000 * number, number) for number in range(4_000)))
    some = await page(searched, since="5h")
    assert some.total_is_estimate
    assert some.total == pytest.approx(1_800, rel=0.1)


async def test_each_filter_finds_its_task_and_its_negation_the_others(searched: Archive) -> None:
    payload = msgspec.Raw(b'{"user":42,"deep":{"flag":true},"tags":["a","b c"]}')
    one = created(
        5_000,
        1,
        status=Status.FAILED,
        error="Connection REFUSED by 10 % of_hosts",
        error_code="E7",
        server_id="gpu-7",
        owner="ann",
        attempt=3,
        started_at=NOW,
        finished_at=NOW + 9_000,
        spec={"type": "resize-large", "pool": "eu", "labels": {"team": "blue"}, "payload": payload, "priority": 3},
    )
    others = [created(4_000 - number, number, owner="bob") for number in range(3)]
    await keep(searched, one, *others)
    for text in (
        "type:resize-*",
        "type:resize-large,none",
        "state:failed",
        "server:gpu-7",
        "owner:ann",
        "pool:eu",
        "label:team=blue",
        "labels.team:blue",
        "payload.user:42",
        "payload.deep.flag:true",
        'payload.tags:"b c"',
        "error:refused",
        "error:E7",
        'error:"10 % of_"',
        "try>2",
        "try=3",
        "priority>=3",
        "wait>4500ms",
        "ran>5s",
        "refused",
        "resize-large",
        f"id:{one.id}",
        f"id:{one.id[5:]}",
        f"to:{NOW - 4_500}",
    ):
        assert await ids(searched, q=text) == [one.id], text
        assert one.id not in await ids(searched, q=f"-{text}"), text
    assert await ids(searched, q="error:nothing-like-it") == []
    assert await ids(searched, q="state:failed state:done") == []
    assert await ids(searched, id="task_", status="FAILED") == [one.id]
    assert await ids(searched, id="TASK_", status="FAILED") == [one.id]
    assert await ids(searched, id="task_x") == []
    assert len(await ids(searched, q="-type:resize-*")) == 3
    assert await ids(searched, labels__team="blue", payload__user="42", status="FAILED", serverId="gpu-7") == [one.id]


async def test_a_user_sees_own_tasks_only_and_of_others_not_even_that_they_are(searched: Archive) -> None:
    await keep(searched, created(3, 1, owner="ann"), created(2, 2, owner="bob"))
    assert [task.owner for task in (await page(searched, ANN)).tasks] == ["ann"]
    foreign = await page(searched, ANN, owner="bob")
    assert (foreign.tasks, foreign.total, foreign.cursor) == ((), 0, None)
    with pytest.raises(PointsmanError) as refusal:
        await page(searched, Actor(sub="gpu", roles=(Role.SERVICE,)))
    assert refusal.value.status == 403


async def test_an_open_task_is_shown_as_it_is_now(searched: Archive) -> None:
    waiting, running = created(20, 1, ended=False), created(10, 2, ended=False)
    for task in (waiting, running):
        await searched.store(task)
    current = CurrentAttempt(
        number=1, server_id="gpu-9", executor="x", started_at=NOW, start_by=NOW, deadline=NOW + DAY_MS, epoch=1
    )
    lease = encode(Lease(attempt=1, current=current))
    await KvBucket(searched.bus, BUCKET_LEASES).create(running.id, lease, operation="o")
    await eventually(searched.is_whole)
    shown = {task.id: task for task in (await page(searched)).tasks}
    assert (shown[running.id].status, shown[running.id].server_id) == ("PROCESSING", "gpu-9")
    assert (shown[waiting.id].status, shown[waiting.id].server_id) == ("PENDING", None)
    assert await ids(searched, status="PROCESSING") == [running.id]
    assert await ids(searched, q="state:running server:gpu-*") == [running.id]
    assert await ids(searched, q="state:running -server:gpu-9") == []
    assert await ids(searched, status="PENDING") == [waiting.id]
    assert (await page(searched, status="PENDING")).total_is_estimate


async def test_large_tasks_make_a_page_shorter_not_wrong(searched: Archive) -> None:
    result = msgspec.Raw(b'"' + os.urandom(450_000).hex().encode() + b'"')
    tasks = [created(100 - number, number, result=result) for number in range(40)]
    await keep(searched, *tasks)
    first = await page(searched, limit=200)
    assert 1 <= len(first.tasks) < 40
    assert await every(searched, 200) == sorted((task.id for task in tasks), reverse=True)


@pytest.mark.parametrize(
    ("filters", "names", "says"),
    [
        ({"cursor": "AAAA"}, "cursor", "not one that was given"),
        ({"cursor": "%%"}, "cursor", "not one that was given"),
        ({"from": "yesterday"}, "from", "date"),
        ({"from": "2026-01-01", "to": "2026-06-01"}, "from", "at most 90 days"),
        ({"since": "91d"}, "since", "at most 90 days"),
        ({"colour": "red"}, "colour", "there are id, type, status"),
        ({"q": "colour:red"}, "q", "at character 1"),
        ({"text": "a\0b"}, "text", "NUL"),
        ({"status": "BROKEN"}, "status", "PENDING, PROCESSING"),
    ],
)
async def test_mistakes_are_told_by_name(searched: Archive, filters: dict[str, str], names: str, says: str) -> None:
    with pytest.raises(PointsmanError, match=says) as refusal:
        await page(searched, **filters)
    assert refusal.value.status == 400
    assert refusal.value.errors[0].field == names


async def test_a_cursor_of_other_filters_or_of_somebody_else_is_refused(searched: Archive) -> None:
    await keep(searched, *(created(9 - number, number, owner="ann") for number in range(5)))
    cursor = (await page(searched, limit=2, type="scan")).cursor
    assert (await page(searched, limit=2, cursor=cursor, type="scan")).tasks
    for actor, filters in ((ADMIN, {"type": "scan", "status": "FAILED"}), (ADMIN, {}), (ANN, {"type": "scan"})):
        with pytest.raises(PointsmanError, match="other filters") as refusal:
            await page(searched, actor, cursor=cursor, **filters)
        assert refusal.value.status == 400


async def test_while_the_database_is_away_search_says_what_is_missing(searched: Archive) -> None:
    await searched.stores.postgres.stop()
    with pytest.raises(PointsmanError, match="archive") as refusal:
        await page(searched)
    assert (refusal.value.status, bool(refusal.value.retry_after_s)) == (503, True)


async def test_tables_that_are_missing_are_said_to_be(searched: Archive) -> None:
    await searched.database.execute("ALTER TABLE tasks RENAME TO others")
    with pytest.raises(PointsmanError, match="tables cannot be used") as refusal:
        await page(searched)
    assert (refusal.value.status, bool(refusal.value.retry_after_s)) == (503, True)


async def test_no_text_whatever_it_holds_is_an_error_of_ours(searched: Archive) -> None:
    for text in (
        "'; DROP TABLE tasks; --",
        "%",
        "_",
        "\\\\",
        '"\\""',
        "*" * 50,
        "type:" + "*" * 40,
        "\u2028",
        "'" * 30,
    ):
        assert await ids(searched, q=text) == []
    await asyncio.gather(*(page(searched, text="x") for _ in range(8)))
