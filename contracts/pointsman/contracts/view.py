"""How a task is shown: one pure function from what is stored to what `GET /api/task/{id}` answers."""

from pointsman.contracts.base import NULL
from pointsman.contracts.lifecycle import Status, is_terminal
from pointsman.contracts.record import Lease, TaskRecord
from pointsman.contracts.task import AttemptView, Task


def etag(revision: int, lease_revision: int = 0) -> str:
    """Of a task as read: the revisions of its record and of its lease (0 without one)."""
    return f"{revision}-{lease_revision}"


def show(record: TaskRecord, lease: Lease | None, *, with_payload: bool) -> Task:
    """The task as clients read it: its record, overlaid with the lease while it is live."""
    if is_terminal(record.status):
        lease = None
    current = lease.current if lease else None
    attempts = attempts_of(lease) if lease else tuple(a.view() for a in record.attempts)
    spec = record.spec
    return Task(
        id=record.id,
        type=spec.type,
        status=Status.PROCESSING if current else record.status,
        priority=spec.priority,
        progress=current.progress if current else record.progress,
        server_id=current.server_id if current else record.server_id,
        result=record.result,
        error=record.error if lease is None else _last_error(lease),
        error_code=record.error_code,
        created_at=record.created_at,
        updated_at=max(record.updated_at, lease.updated_at) if lease else record.updated_at,
        started_at=attempts[0].started_at if attempts else record.started_at,
        finished_at=record.finished_at,
        run_at=_run_at(record, lease),
        deadline=spec.deadline,
        owner=record.owner,
        pool=spec.pool,
        labels=spec.labels,
        generation=record.generation,
        attempts=attempts,
        attempt=lease.attempt if lease else record.attempt,
        waiting_for=_waiting_for(record, lease),
        capabilities=spec.capabilities,
        max_attempts=spec.max_attempts,
        timeout_ms=spec.timeout_ms,
        metadata=current.metadata if current else record.metadata,
        payload=spec.payload if with_payload else NULL,
        refused=lease.refused if lease else record.refused,
    )


def attempts_of(lease: Lease) -> tuple[AttemptView, ...]:
    """Those that ended, then the one that runs."""
    ended = tuple(attempt.view() for attempt in lease.attempts)
    if lease.current is None:
        return ended
    current = lease.current
    running = AttemptView(
        number=current.number,
        server_id=current.server_id,
        started_at=current.started_at,
        due_at=current.due_at,
        choice=current.choice,
    )
    return (*ended, running)


def _last_error(lease: Lease) -> str | None:
    return lease.attempts[-1].error if lease.attempts else None


def _run_at(record: TaskRecord, lease: Lease | None) -> int | None:
    return lease.run_at if lease is not None and lease.run_at is not None else record.spec.run_at


def _waiting_for(record: TaskRecord, lease: Lease | None) -> str | None:
    if is_terminal(record.status) or (lease is not None and lease.current is not None):
        return None
    if lease is not None and lease.waiting_for:
        return lease.waiting_for
    return "schedule" if record.spec.run_at is not None else "slot"
