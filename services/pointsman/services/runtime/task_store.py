"""Tasks and leases in their buckets: the one path by which a task's state is read and written."""

from dataclasses import dataclass

import msgspec

from pointsman.contracts.base import encode
from pointsman.contracts.lifecycle import is_terminal
from pointsman.contracts.record import Lease, TaskRecord
from pointsman.services.runtime.kv import Bucket

LEASE_SLACK_S = 120
WAITING_SLACK_S = 86_400

_RECORD = msgspec.json.Decoder(TaskRecord)
_LEASE = msgspec.json.Decoder(Lease)


@dataclass(frozen=True, slots=True)
class StoredTask:
    """A task as read: its record, and its lease if it has one of this generation."""

    record: TaskRecord
    revision: int
    lease: Lease | None = None
    lease_revision: int = 0

    @property
    def is_terminal(self) -> bool:
        return is_terminal(self.record.status)


def lease_ttl_s(lease: Lease, now: int) -> int:
    """A lease outlives its attempt by two minutes, a wait by a day; then it is nobody's any more."""
    until = lease.current.deadline if lease.current else lease.run_at or now
    slack = LEASE_SLACK_S if lease.current else WAITING_SLACK_S
    return max(0, until - now) // 1000 + slack


def decode_record(data: bytes) -> TaskRecord:
    return _RECORD.decode(data)


def decode_lease(data: bytes) -> Lease:
    return _LEASE.decode(data)


class TaskStore:
    """Every write is a compare-and-set and raises RevisionMoved when it lost."""

    def __init__(self, tasks: Bucket, leases: Bucket, result_ttl_s: int) -> None:
        self._tasks = tasks
        self._leases = leases
        self._result_ttl_s = result_ttl_s

    async def get(self, task_id: str, *, latest: bool = False) -> StoredTask | None:
        """The task with its lease; the lease is read only while the task is live. `latest` asks the stream leaders."""
        entry = await self._tasks.get(task_id, latest=latest)
        if entry is None and not latest:
            entry = await self._tasks.get(task_id, latest=True)
        if entry is None:
            return None
        record = decode_record(entry.data)
        if is_terminal(record.status):
            return StoredTask(record, entry.revision)
        lease, revision = await self.lease(task_id, latest=latest)
        current = lease if lease is not None and lease.generation == record.generation else None
        return StoredTask(record, entry.revision, current, revision)

    async def lease(self, task_id: str, *, latest: bool = False) -> tuple[Lease | None, int]:
        entry = await self._leases.get(task_id, latest=latest)
        return (decode_lease(entry.data), entry.revision) if entry else (None, 0)

    async def create(self, record: TaskRecord, operation: str) -> int:
        return await self._tasks.create(record.id, encode(record), operation=operation)

    async def reopen(self, record: TaskRecord, revision: int, operation: str) -> int:
        """The next generation in place of a terminal record (revision 0: the record has expired from the bucket)."""
        return await self._tasks.update(record.id, encode(record), revision=revision, operation=operation)

    async def finish(self, record: TaskRecord, revision: int, operation: str) -> int:
        """The terminal record; it stays at least as long as one of its attempts may still hold a slot."""
        lingers_s = max((one.until - record.updated_at for one in record.lingering), default=0) // 1000
        ttl_s = max(self._result_ttl_s, lingers_s + LEASE_SLACK_S if record.lingering else 0)
        return await self._tasks.update(record.id, encode(record), revision=revision, operation=operation, ttl_s=ttl_s)

    async def put_lease(self, task_id: str, lease: Lease, revision: int, operation: str) -> int:
        ttl_s = lease_ttl_s(lease, lease.updated_at)
        return await self._leases.update(task_id, encode(lease), revision=revision, operation=operation, ttl_s=ttl_s)
