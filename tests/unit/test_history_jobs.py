"""What a job acts on, and how it counts."""

from pointsman.contracts.actor import Actor, Role
from pointsman.contracts.filters import Op, Term
from pointsman.contracts.search import BulkCommand, BulkRequest
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
