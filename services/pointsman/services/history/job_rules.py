"""What a job acts on and how far it is: pure."""

from collections.abc import Sequence
from typing import NamedTuple

from msgspec.structs import replace

from pointsman.contracts.actor import Actor, Role
from pointsman.contracts.base import Record
from pointsman.contracts.errors import invalid
from pointsman.contracts.filters import Op, Term, of_parameters
from pointsman.contracts.lifecycle import TABLE, Event
from pointsman.contracts.search import BulkCommand, Job, MarkedTask
from pointsman.services.history.finder import Place
from pointsman.services.history.query import ENDED, OPEN, Span, span_of

ERRORS_MAX = 10

ACTED_ON = {
    "retry": tuple(sorted(state for state, event in TABLE if state is not None and event is Event.RETRIED_BY_HAND)),
    "cancel": tuple(sorted(OPEN)),
}


class JobRecord(Record):
    """A job as it is stored: what is shown of it, who runs it, and where it goes on: after a place, or by `job.done`."""

    job: Job
    holder: str
    roles: tuple[Role, ...]
    reason: str | None = None
    after: Place | None = None
    marked: tuple[MarkedTask, ...] = ()


class Outcome(NamedTuple):
    """Of one task; `error` says why not."""

    task_id: str
    is_skipped: bool = False
    error: str = ""


def new(command: BulkCommand, actor: Actor, job_id: str, holder: str, now_ms: int) -> JobRecord:
    """Raises 400 for a filter that is not understood."""
    if bool(command.bulk.filter) == bool(command.bulk.tasks):
        raise invalid("filter", "give either filter or tasks")
    of_parameters(command.bulk.filter)
    job = Job(
        id=job_id,
        kind=command.kind,
        status="RUNNING",
        total=0,
        filter=command.bulk.filter,
        by=actor.sub,
        started_at=now_ms,
        updated_at=now_ms,
    )
    return JobRecord(job=job, holder=holder, roles=actor.roles, reason=command.bulk.reason, marked=command.bulk.tasks)


def terms_of(record: JobRecord) -> tuple[Term, ...]:
    """What matches and was so before the job began: a task that it retried, and that failed again, is not retried again."""
    job = record.job
    terms = (*of_parameters(job.filter), Term(key="status", values=ACTED_ON[job.kind]))
    if job.kind == "retry":
        return (*terms, Term(key=ENDED, op=Op.BELOW, numbers=(job.started_at,)))
    return terms


def span(terms: Sequence[Term], record: JobRecord) -> Span:
    """Relative times count from the job's beginning."""
    began = record.job.started_at
    given = span_of(terms, began)
    return Span(given.start, min(given.end, began))


def next_marked(record: JobRecord, count: int) -> tuple[MarkedTask, ...]:
    return record.marked[record.job.done : record.job.done + count]


def after_chunk(record: JobRecord, outcomes: Sequence[Outcome], last: Place | None) -> JobRecord:
    refused = [outcome for outcome in outcomes if outcome.error and not outcome.is_skipped]
    skipped = [outcome for outcome in outcomes if outcome.is_skipped]
    job = record.job
    done = job.done + len(outcomes)
    has_more = last is not None or done < len(record.marked)
    job = replace(
        job,
        done=done,
        succeeded=job.succeeded + len(outcomes) - len(refused) - len(skipped),
        skipped=job.skipped + len(skipped),
        failed=job.failed + len(refused),
        errors=_told(job.errors, refused),
        skips=_told(job.skips, skipped),
        status="RUNNING" if has_more else "DONE",
    )
    return replace(record, job=job, after=last)


def _told(before: tuple[str, ...], outcomes: Sequence[Outcome]) -> tuple[str, ...]:
    return (*before, *(f"{outcome.task_id}: {outcome.error}" for outcome in outcomes))[:ERRORS_MAX]


def stopped(record: JobRecord, why: str) -> JobRecord:
    """Its position is kept, so what was done stays done."""
    return replace(
        record, job=replace(record.job, status="STOPPED", errors=(*record.job.errors[: ERRORS_MAX - 1], why))
    )


def is_orphan(record: JobRecord, now_ms: int, silent_ms: int) -> bool:
    return record.job.status == "RUNNING" and now_ms - record.job.updated_at > silent_ms
