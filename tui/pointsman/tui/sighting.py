"""What is known of a task from wherever it was seen: a frame's sample, the republish of its records, a page of history."""

from typing import Final

import msgspec

from pointsman.contracts.base import Record
from pointsman.contracts.events import Kind
from pointsman.contracts.frames import Sample
from pointsman.contracts.ids import created_at_ms, is_task_id
from pointsman.contracts.lifecycle import Status, is_terminal
from pointsman.contracts.record import Attempt, Lease
from pointsman.contracts.task import Task

PAYLOAD_BYTES_MAX = 2_048

_STATUSES: Final[dict[str, Status]] = {
    Kind.SUBMITTED: Status.PENDING,
    Kind.ASSIGNED: Status.PROCESSING,
    Kind.ACCEPTED: Status.PROCESSING,
    Kind.PROGRESSED: Status.PROCESSING,
    Kind.ATTEMPT_ENDED: Status.PENDING,
    Kind.COMPLETED: Status.COMPLETED,
    Kind.FAILED: Status.FAILED,
    Kind.TIMEOUT: Status.TIMEOUT,
    Kind.CANCELLED: Status.CANCELLED,
}


class Sighting(msgspec.Struct, frozen=True, kw_only=True):
    """A task as of `at`, in ms since the epoch; None is not known. `payload` is there when it is needed and small."""

    id: str
    at: int
    status: Status
    generation: int | None = None
    type: str | None = None
    pool: str | None = None
    owner: str | None = None
    priority: int | None = None
    attempt: int | None = None
    max_attempts: int | None = None
    server_id: str | None = None
    run_at: int | None = None
    started_at: int | None = None
    waited_ms: int | None = None
    ran_ms: int | None = None
    error: str | None = None
    error_code: str | None = None
    labels: dict[str, str] | None = None
    payload: msgspec.Raw | None = None

    @property
    def created_at(self) -> int:
        return created_at_ms(self.id) if is_task_id(self.id) else self.at

    @property
    def is_delayed(self) -> bool:
        """It waits for its time or its next attempt."""
        return self.status is Status.PENDING and self.run_at is not None and self.run_at > self.at


class SeenSpec(Record):
    """What a list shows of a `TaskSpec`."""

    type: str
    priority: int = 0
    pool: str = "default"
    run_at: int | None = None
    max_attempts: int = 4
    labels: dict[str, str] = {}
    payload: msgspec.Raw = msgspec.Raw(b"{}")


class SeenRecord(Record):
    """What a list shows of a `TaskRecord`; decoding skips the result."""

    id: str
    owner: str
    spec: SeenSpec
    created_at: int
    updated_at: int
    status: Status = Status.PENDING
    generation: int = 1
    started_at: int | None = None
    finished_at: int | None = None
    server_id: str | None = None
    error: str | None = None
    error_code: str | None = None
    attempt: int = 0


_KNOWN = Sighting.__struct_fields__
_NOW: Final = frozenset({"run_at", "ran_ms", "error", "error_code"})
"""What the newer sighting tells by leaving it out."""


def merged(known: Sighting, seen: Sighting) -> Sighting:
    """Both together: of the newer one what it tells, of the older one the rest."""
    newer, older = (seen, known) if _order(seen) >= _order(known) else (known, seen)
    same_run = newer.generation in (None, older.generation) or older.generation is None
    values = {}
    for name in _KNOWN:
        value = getattr(newer, name)
        values[name] = getattr(older, name) if value is None and (same_run and name not in _NOW) else value
    return Sighting(**values)


def _order(seen: Sighting) -> tuple[int, bool]:
    return seen.at, is_terminal(seen.status)


def of_sample(sample: Sample) -> Sighting | None:
    """None for kinds that say nothing of a task's state."""
    status = _STATUSES.get(sample.kind)
    if status is None:
        return None
    return Sighting(
        id=sample.task_id,
        at=sample.at,
        status=status,
        type=sample.type,
        attempt=sample.attempt,
        server_id=sample.server_id,
        waited_ms=sample.waited_ms,
        ran_ms=sample.ms if is_terminal(status) else None,
    )


def of_record(record: SeenRecord, *, with_payload: bool = False) -> Sighting:
    spec = record.spec
    begun = max(record.created_at, spec.run_at or 0)
    started, finished = record.started_at, record.finished_at
    return Sighting(
        id=record.id,
        at=record.updated_at,
        status=record.status,
        generation=record.generation,
        type=spec.type,
        pool=spec.pool,
        owner=record.owner,
        priority=spec.priority,
        attempt=record.attempt,
        max_attempts=spec.max_attempts,
        server_id=record.server_id,
        run_at=spec.run_at if record.status is Status.PENDING else None,
        started_at=started,
        waited_ms=None if started is None else max(0, started - begun),
        ran_ms=None if started is None or finished is None else finished - started,
        error=record.error,
        error_code=record.error_code,
        labels=spec.labels,
        payload=spec.payload.copy() if with_payload and len(bytes(spec.payload)) <= PAYLOAD_BYTES_MAX else None,
    )


def of_lease(task_id: str, lease: Lease) -> Sighting:
    current, attempts = lease.current, lease.attempts
    first = attempts[0].started_at if attempts else current.started_at if current else None
    return Sighting(
        id=task_id,
        at=lease.updated_at,
        status=Status.PENDING if current is None else Status.PROCESSING,
        generation=lease.generation,
        attempt=lease.attempt,
        server_id=current.server_id if current else _last(attempts),
        run_at=lease.run_at if current is None else None,
        started_at=first,
        waited_ms=_waited(task_id, first) if lease.generation == 1 else None,
        error=attempts[-1].error if attempts else None,
    )


def of_task(task: Task) -> Sighting:
    begun = max(task.created_at, task.run_at or 0) if is_terminal(task.status) else task.created_at
    started, finished = task.started_at, task.finished_at
    return Sighting(
        id=task.id,
        at=task.updated_at,
        status=task.status,
        generation=task.generation,
        type=task.type,
        pool=task.pool,
        owner=task.owner,
        priority=task.priority,
        attempt=task.attempt,
        max_attempts=task.max_attempts,
        server_id=task.server_id,
        run_at=task.run_at if task.status is Status.PENDING else None,
        started_at=started,
        waited_ms=None if started is None else max(0, started - begun),
        ran_ms=None if started is None or finished is None else finished - started,
        error=task.error,
        error_code=task.error_code,
        labels=task.labels,
    )


def _last(attempts: tuple[Attempt, ...]) -> str | None:
    return attempts[-1].server_id if attempts else None


def _waited(task_id: str, started_at: int | None) -> int | None:
    if started_at is None or not is_task_id(task_id):
        return None
    return max(0, started_at - created_at_ms(task_id))
