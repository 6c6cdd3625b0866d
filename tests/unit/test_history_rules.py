"""What is archived of a record, whatever order and however often it comes."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pointsman.contracts.base import encode
from pointsman.contracts.ids import TASK_PREFIX, uuid7_hex
from pointsman.contracts.lifecycle import Status
from pointsman.contracts.record import Attempt, PastGeneration, TaskRecord, TaskSpec
from pointsman.contracts.task import DAY_MS
from pointsman.services.history.rules import (
    Stored,
    Unarchivable,
    attempts_of,
    day_of,
    newest,
    origin_revision,
    rows_of,
)

NOW = 1_795_000_000_000


def task_id(number: int = 0, created_at: int = NOW) -> str:
    return TASK_PREFIX + uuid7_hex(created_at, number)


def record(**changes: object) -> TaskRecord:
    given = {
        "id": task_id(),
        "owner": "ann",
        "spec": TaskSpec(type="scan", deadline=NOW + DAY_MS, labels={"team": "blue"}),
        "created_at": NOW,
        "updated_at": NOW + 500,
    }
    return TaskRecord(**(given | changes))  # type: ignore[arg-type]


def stored(task: TaskRecord, revision: int = 1) -> Stored:
    return Stored(subject=f"$KV.tasks.{task.id}", revision=revision, data=encode(task))


def attempt(number: int = 1, **changes: object) -> Attempt:
    given = {"server_id": "gpu-1", "started_at": NOW + 10, "finished_at": NOW + 40, "outcome": "succeeded"}
    return Attempt(number=number, **(given | changes))  # type: ignore[arg-type]


def test_the_revision_is_the_sequence_in_the_tasks_bucket() -> None:
    assert origin_revision("KV_tasks 17 > > $KV.tasks.task_1 yQl4Kfu0") == 17


@pytest.mark.parametrize("header", ["", "KV_tasks", "KV_tasks x", "KV_tasks -1"])
def test_without_a_readable_source_the_revision_is_zero(header: str) -> None:
    assert origin_revision(header) == 0


def test_the_exact_bytes_are_kept() -> None:
    message = stored(record())
    assert rows_of(message).task.record == message.data


def test_the_partition_follows_from_the_id_alone() -> None:
    row = rows_of(stored(record(created_at=NOW + 3 * DAY_MS))).task
    assert day_of(row.created_at) == day_of(NOW)


def test_an_accepted_task_has_no_end() -> None:
    assert rows_of(stored(record())).task.finished_at is None


def test_a_finished_task_always_has_an_end() -> None:
    row = rows_of(stored(record(status=Status.TIMEOUT))).task
    assert row.finished_at == NOW + 500


def test_nul_never_reaches_a_column_but_stays_in_the_record() -> None:
    task = record(error="a\0b", spec=TaskSpec(type="scan", deadline=1, labels={"k\0": "\0v"}))
    row = rows_of(stored(task)).task
    assert row.error == "a\ufffdb"
    assert row.labels == '{"k\ufffd":"\ufffdv"}'
    assert b"\\u0000" in row.record


@pytest.mark.parametrize(
    "data",
    [b"", b"{", b"[]", b"\xff", b'{"id":"task_1"}', b'{"id":"\\ud800"}', encode(record(id="task_1"))],
    ids=["empty", "cut", "list", "not utf-8", "incomplete", "lone surrogate", "bad id"],
)
def test_what_is_no_task_record_is_named_so(data: bytes) -> None:
    with pytest.raises(Unarchivable):
        rows_of(Stored(subject="$KV.tasks.x", revision=1, data=data))


@pytest.mark.parametrize("at", [-1, 2**62])
@pytest.mark.parametrize(
    "changes",
    [
        lambda at: {"attempts": (attempt(finished_at=at),)},
        lambda at: {"attempts": (attempt(started_at=at),)},
        lambda at: {"started_at": at},
        lambda at: {"finished_at": at},
        lambda at: {"updated_at": at},
        lambda at: {"spec": TaskSpec(type="scan", deadline=NOW, run_at=at)},
        lambda at: {"past": (PastGeneration(generation=1, status=Status.FAILED, finished_at=at),)},
    ],
    ids=["attempt's end", "attempt's start", "start", "end", "update", "due", "earlier end"],
)
def test_a_time_outside_the_calendar_makes_no_partition_and_enters_no_sum(
    changes: Callable[[int], dict[str, object]], at: int
) -> None:
    with pytest.raises(Unarchivable, match="not a time"):
        rows_of(stored(record(**changes(at))))


def test_of_many_attempts_all_are_counted_though_not_all_are_kept() -> None:
    assert rows_of(stored(record(attempts=(attempt(),), attempt=70))).task.attempts == 70


def test_an_attempt_carried_into_the_next_generation_is_one_attempt() -> None:
    first = rows_of(stored(record(status=Status.FAILED, attempts=(attempt(),)), 1))
    second = rows_of(stored(record(generation=2, attempts=(attempt(),)), 2))
    assert [row.generation for row in attempts_of([second, first])] == [1]


versions = st.lists(st.tuples(st.integers(0, 3), st.integers(1, 3), st.integers(1, 99)), max_size=20)


@given(versions)
def test_the_newest_of_each_task_wins_in_any_order(seen: list[tuple[int, int, int]]) -> None:
    batch = [rows_of(stored(record(id=task_id(task), generation=gen), rev)) for task, gen, rev in seen]
    expected = {task_id(task): max((g, r) for t, g, r in seen if t == task) for task, _, _ in seen}
    kept = newest(batch)
    assert {row.id: (row.generation, row.revision) for row in kept} == expected
    assert [row.id for row in kept] == sorted(expected)
