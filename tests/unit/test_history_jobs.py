"""What a job acts on, and how it counts."""

import pytest

from pointsman.contracts.actor import Actor, Role
from pointsman.contracts.errors import PointsmanError
from pointsman.contracts.filters import Op, Term
from pointsman.contracts.ids import JOB_ID, new_job_id
from pointsman.contracts.search import BulkCommand, BulkRequest, MarkedTask
from pointsman.services.history import job_rules
from pointsman.services.history.finder import Place
from pointsman.services.history.job_rules import JobRecord, Outcome

NOW = 1_795_000_000_000


def job(kind: str = "retry", **filters: str) -> JobRecord:
    command = BulkCommand(kind=kind, bulk=BulkRequest(filter=filters or {"type": "scan"}))  # type: ignore[arg-type]
    return job_rules.new(command, Actor(sub="olga", roles=(Role.OPERATOR,)), "job_1", "here", NOW)


def test_a_task_that_fails_again_while_the_job_runs_is_not_retried_by_it_again() -> None:
    terms = job_rules.terms_of(job())
    assert Term(key="status", values=("CANCELLED", "FAILED", "TIMEOUT")) in terms
    assert Term(key="ended", op=Op.BELOW, numbers=(NOW,)) in terms


def test_only_what_existed_when_it_began_is_cancelled() -> None:
    record = job("cancel", since="1h")
    terms = job_rules.terms_of(record)
    assert Term(key="status", values=("PENDING", "PROCESSING")) in terms
    assert (job_rules.span(terms, record).start, job_rules.span(terms, record).end) == (NOW - 3_600_000, NOW)


def marked(count: int) -> JobRecord:
    tasks = tuple(MarkedTask(id=f"task_{number:032x}", generation=1) for number in range(count))
    command = BulkCommand(kind="cancel", bulk=BulkRequest(tasks=tasks))
    return job_rules.new(command, Actor(sub="olga", roles=(Role.OPERATOR,)), "job_1", "here", NOW)


def test_marked_tasks_are_gone_through_once_wherever_the_job_is_taken_up_again() -> None:
    record, seen = marked(250), []
    while record.job.status == "RUNNING":
        chunk = job_rules.next_marked(record, 100)
        seen += [one.id for one in chunk]
        outcomes = [Outcome(one.id, is_skipped=True, error="moved on") for one in chunk]
        record = job_rules.after_chunk(record, outcomes, None)
    assert (len(seen), len(set(seen)), record.job.skipped, len(record.job.skips)) == (250, 250, 250, 10)


@pytest.mark.parametrize("bulk", [BulkRequest(), BulkRequest(filter={"type": "x"}, tasks=marked(1).marked)])
def test_a_job_has_a_filter_or_marked_tasks(bulk: BulkRequest) -> None:
    with pytest.raises(PointsmanError, match="either filter or tasks"):
        job_rules.new(BulkCommand(kind="cancel", bulk=bulk), Actor(sub="o"), "job_1", "here", NOW)


def test_an_operation_names_one_job_of_one_caller() -> None:
    assert new_job_id("ann", "op-1") == new_job_id("ann", "op-1")
    assert len({new_job_id("ann", "op-1"), new_job_id("bob", "op-1"), new_job_id("ann", "op-2"), new_job_id()}) == 4
    assert JOB_ID.fullmatch(new_job_id("ann", "op-1"))


def test_each_task_of_a_chunk_is_counted_once_and_errors_are_bounded() -> None:
    outcomes = [
        Outcome("a"),
        Outcome("b", is_skipped=True, error="live"),
        *(Outcome(str(n), error="no") for n in range(20)),
    ]
    record = job_rules.after_chunk(job(), outcomes, Place(1, "x"))
    counted = record.job
    assert (counted.done, counted.succeeded, counted.skipped, counted.failed) == (22, 1, 1, 20)
    assert (len(counted.errors), counted.status, record.after) == (10, "RUNNING", Place(1, "x"))
    assert job_rules.after_chunk(record, [], None).job.status == "DONE"


def test_a_job_is_orphaned_when_nobody_was_heard_of_for_long() -> None:
    assert not job_rules.is_orphan(job(), NOW + 15_000, 15_000)
    assert job_rules.is_orphan(job(), NOW + 15_001, 15_000)
    assert not job_rules.is_orphan(job_rules.stopped(job(), "why"), NOW + 99_000, 15_000)
