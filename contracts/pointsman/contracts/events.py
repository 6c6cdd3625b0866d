"""What happens to tasks, as events: derived from what is stored, so that a stream can be replayed from it."""

from collections.abc import Iterator
from enum import StrEnum

from msgspec.structs import replace

from pointsman.contracts.base import NULL, Message
from pointsman.contracts.lifecycle import Status, is_terminal
from pointsman.contracts.record import Lease, TaskRecord
from pointsman.contracts.task import AttemptView, RefusedAnswer, Task
from pointsman.contracts.view import attempts_of, show


class Kind(StrEnum):
    SUBMITTED = "submitted"
    ASSIGNED = "assigned"
    ACCEPTED = "accepted"
    PROGRESSED = "progressed"
    ATTEMPT_ENDED = "attempt-ended"
    REFUSED = "answer-refused"
    COMPLETED = "completed"
    FAILED = "failed"
    TIMEOUT = "timeout"
    CANCELLED = "cancelled"


ENDINGS = {
    Status.COMPLETED: Kind.COMPLETED,
    Status.FAILED: Kind.FAILED,
    Status.TIMEOUT: Kind.TIMEOUT,
    Status.CANCELLED: Kind.CANCELLED,
}

Place = tuple[int, int, int, int]
"""Where an event stands in the life of its task: generation, attempt, stage; of progress and refused answers the time."""
SUBMITTED, ASSIGNED, PROGRESSED, ATTEMPT_ENDED, ENDED = range(5)


class TaskEvent(Message):
    """`at` in ms since the epoch; `run_at` when the next attempt is due; `type`, `pool`, `owner` where they are known.

    A refused answer names the attempt it spoke of, with its `outcome`.
    """

    event: Kind
    task_id: str
    status: Status
    at: int
    generation: int
    attempt: int | None = None
    server_id: str | None = None
    outcome: str | None = None
    http_status: int | None = None
    progress: float | None = None
    error: str | None = None
    run_at: int | None = None
    type: str | None = None
    pool: str | None = None
    owner: str | None = None


def life_of(task: Task) -> Iterator[tuple[Place, TaskEvent]]:
    """All that has happened in this generation of the task, in order."""
    told = [*_of_attempts(task), *(_refused(task, answer) for answer in task.refused)]
    yield from sorted(told, key=lambda one: one[0])


def _of_attempts(task: Task) -> Iterator[tuple[Place, TaskEvent]]:
    def event(kind: Kind, status: Status, at: int, **more: object) -> TaskEvent:
        return _event(task, kind, status, at, **more)

    submitted_at = task.created_at if task.generation == 1 else min(task.updated_at, task.started_at or task.updated_at)
    yield (task.generation, 0, SUBMITTED, 0), event(Kind.SUBMITTED, Status.PENDING, submitted_at)
    for attempt in task.attempts:
        tried = {"attempt": attempt.number, "server_id": attempt.server_id}
        place = (task.generation, attempt.number)
        yield (*place, ASSIGNED, 0), event(Kind.ASSIGNED, Status.PROCESSING, attempt.started_at, **tried)
        if attempt.finished_at is None:
            if task.progress is not None:
                moved = event(Kind.PROGRESSED, Status.PROCESSING, task.updated_at, progress=task.progress, **tried)
                yield (*place, PROGRESSED, task.updated_at), moved
            continue
        ended = tried | _ended(attempt)
        run_at = task.run_at if attempt is task.attempts[-1] and not is_terminal(task.status) else None
        status = task.status if attempt is task.attempts[-1] else Status.PENDING
        yield (*place, ATTEMPT_ENDED, 0), event(Kind.ATTEMPT_ENDED, status, attempt.finished_at, run_at=run_at, **ended)
    if is_terminal(task.status):
        ending = event(
            ENDINGS[task.status], task.status, task.finished_at or task.updated_at, error=task.error,
            attempt=task.attempt or None, server_id=task.server_id,
        )  # fmt: skip
        yield (task.generation, task.attempt, ENDED, 0), ending


def _refused(task: Task, answer: RefusedAnswer) -> tuple[Place, TaskEvent]:
    """It stands after all that had happened when it came."""
    before = [attempt for attempt in task.attempts if attempt.started_at <= answer.at]
    number, stage = task.attempt, PROGRESSED
    if before:
        last = before[-1]
        number = last.number
        stage = PROGRESSED if last.finished_at is None or last.finished_at >= answer.at else ATTEMPT_ENDED
    event = _event(
        task, Kind.REFUSED, task.status, answer.at,
        attempt=answer.number, server_id=answer.server_id, outcome=answer.outcome, error=answer.error,
    )  # fmt: skip
    return (task.generation, number, stage, answer.at), event


def _event(task: Task, kind: Kind, status: Status, at: int, **more: object) -> TaskEvent:
    known = {
        "task_id": task.id,
        "generation": task.generation,
        "type": task.type,
        "pool": task.pool,
        "owner": task.owner,
    }
    return TaskEvent(event=kind, status=status, at=at, **(known | more))  # type: ignore[arg-type]


def after_record(record: TaskRecord) -> Task:
    """What `life_of` needs of a task once this record is stored; a lease of an earlier generation says no more."""
    return replace(show(record, None, with_payload=False), result=NULL, metadata=NULL)


def after_lease(task: Task, lease: Lease) -> Task:
    """What `life_of` needs of a live task once this lease of its generation is stored."""
    current, attempts = lease.current, attempts_of(lease)
    return replace(
        task,
        status=Status.PROCESSING if current else Status.PENDING,
        progress=current.progress if current else None,
        server_id=current.server_id if current else None,
        updated_at=max(task.updated_at, lease.updated_at),
        started_at=attempts[0].started_at if attempts else task.started_at,
        run_at=lease.run_at if lease.run_at is not None else task.run_at,
        attempts=attempts,
        attempt=lease.attempt,
        refused=lease.refused,
    )


def _ended(attempt: AttemptView) -> dict[str, object]:
    return {"outcome": attempt.outcome, "http_status": attempt.http_status, "error": attempt.error}


def of_record(record: TaskRecord) -> TaskEvent:
    """What a record of the bucket `tasks` tells: accepted, retried by hand, or ended."""
    kind = ENDINGS.get(record.status, Kind.SUBMITTED)
    return TaskEvent(
        event=kind,
        task_id=record.id,
        status=record.status,
        at=record.updated_at,
        generation=record.generation,
        attempt=record.attempt or None,
        server_id=record.server_id,
        error=record.error,
        run_at=record.spec.run_at if kind is Kind.SUBMITTED else None,
        type=record.spec.type,
        pool=record.spec.pool,
        owner=record.owner,
    )


def of_lease(task_id: str, lease: Lease) -> TaskEvent | None:
    """What a record of the bucket `leases` tells: assigned, accepted, moved on, an attempt's end, an answer too late."""
    if late := _just_refused(lease):
        return TaskEvent(
            event=Kind.REFUSED,
            task_id=task_id,
            status=Status.PENDING if lease.current is None else Status.PROCESSING,
            at=late.at,
            generation=lease.generation,
            attempt=late.number,
            server_id=late.server_id,
            outcome=late.outcome,
            error=late.error,
        )
    if lease.current is not None:
        current = lease.current
        kind = Kind.ASSIGNED
        if current.progress is not None:
            kind = Kind.PROGRESSED
        elif current.accepted:
            kind = Kind.ACCEPTED
        return TaskEvent(
            event=kind,
            task_id=task_id,
            status=Status.PROCESSING,
            at=lease.updated_at,
            generation=lease.generation,
            attempt=current.number,
            server_id=current.server_id,
            progress=current.progress,
        )
    if not lease.attempts:
        return None
    last = lease.attempts[-1]
    return TaskEvent(
        event=Kind.ATTEMPT_ENDED,
        task_id=task_id,
        status=Status.PENDING,
        at=last.finished_at,
        generation=lease.generation,
        attempt=last.number,
        server_id=last.server_id,
        outcome=last.outcome,
        http_status=last.http_status,
        error=last.error,
        run_at=lease.run_at,
    )


def _just_refused(lease: Lease) -> RefusedAnswer | None:
    """The late answer for which the lease was written, if that was why."""
    if not lease.refused or lease.refused[-1].at != lease.updated_at:
        return None
    began = lease.current is not None and lease.current.started_at == lease.updated_at
    return None if began else lease.refused[-1]
