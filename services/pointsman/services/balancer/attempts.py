"""What a record or a lease says of one attempt: whether it runs, whether it ended, which of two views is the newer."""

from dataclasses import dataclass

from pointsman.contracts.execution import Abort, attempt_key
from pointsman.contracts.record import CurrentAttempt, Lease, TaskHead
from pointsman.contracts.task import Choice
from pointsman.services.balancer.entry import Entry


@dataclass(frozen=True, slots=True)
class Decision:
    """This task goes to this server; the slot is already held under `attempt`. The lease is that of the decision."""

    entry: Entry
    lease: Lease | None
    lease_revision: int
    server_id: str
    attempt: str
    choice: Choice


@dataclass(frozen=True, slots=True)
class Wish:
    type: str
    affinity_key: str | None


def knows_the_end(head: TaskHead, entry: Entry, current: CurrentAttempt) -> bool:
    """Whether the record tells that this attempt ran to its end, and was not just left behind."""
    attempt = (entry.generation, current.number)
    if head.generation != entry.generation or any((one.generation, one.number) == attempt for one in head.lingering):
        return False
    return any(attempt.number == current.number for attempt in head.attempts)


def runs(entry: Entry, decision: Decision) -> bool:
    """Whether the decided attempt is the one that runs: its lease was seen before its acknowledgement."""
    current = entry.lease.current if entry.lease is not None else None
    if current is None or current.server_id != decision.server_id:
        return False
    return attempt_key(entry.id, entry.generation, current.number) == decision.attempt


def is_newer(held: Lease, other: Lease) -> bool:
    """By what happened first, and only then by the writers' clocks, which may differ."""
    return _stage(held) > _stage(other)


def _stage(lease: Lease) -> tuple[int, bool, int]:
    return lease.attempt, lease.current is None, lease.updated_at


def abort_of(entry: Entry, current: CurrentAttempt, reason: str) -> Abort:
    return Abort(
        task_id=entry.id,
        generation=entry.generation,
        number=current.number,
        server_id=current.server_id,
        reason=reason,
        start_by=current.start_by,
    )
