"""Acceptance: a task is acknowledged only after its record is stored, and an idempotency key names one task for ever."""

import asyncio
from dataclasses import dataclass

import msgspec

from pointsman.contracts.actor import Actor
from pointsman.contracts.base import encode
from pointsman.contracts.errors import PointsmanError, conflict, from_validation, refused
from pointsman.contracts.ids import new_operation_id, new_task_id
from pointsman.contracts.lifecycle import Status
from pointsman.contracts.record import TaskRecord
from pointsman.contracts.task import BatchItem, TaskRequest
from pointsman.services.runtime.clock import Clock
from pointsman.services.runtime.egress import EgressPolicy, check_url
from pointsman.services.runtime.kv import RevisionMoved
from pointsman.services.runtime.serve import decode
from pointsman.services.runtime.task_store import StoredTask
from pointsman.services.task import rules
from pointsman.services.task.admission import Admission
from pointsman.services.task.store import IdempotencyKeys, KeptRequest, Shelf
from pointsman.services.task.types import Types

BATCH_CONCURRENCY = 128

_REQUEST = msgspec.json.Decoder(TaskRequest, strict=True)


@dataclass(frozen=True, slots=True)
class Accepted:
    task: StoredTask
    replayed: bool = False


class Submission:
    def __init__(
        self,
        shelf: Shelf,
        keys: IdempotencyKeys,
        clock: Clock,
        egress: EgressPolicy,
        types: Types,
        admission: Admission,
    ) -> None:
        self._shelf = shelf
        self._keys = keys
        self._clock = clock
        self._egress = egress
        self._types = types
        self._admission = admission
        self._batch = asyncio.Semaphore(BATCH_CONCURRENCY)

    async def submit(self, data: bytes, actor: Actor, key: str | None = None, task_id: str | None = None) -> Accepted:
        """Raises 400, 413, 422 or 429; when it returns, the task is durable.

        A caller that names the task (`task_id`) may ask again after an unknown outcome.
        """
        record = self._record(data, actor, task_id or new_task_id(self._clock.now_ms()))
        if key is None:
            return await self._create_new(record)
        rules.check_idempotency_key(key)
        return await self._submit_once(record, data, actor, rules.idempotency_name(actor.sub, key))

    async def submit_item(self, data: bytes, actor: Actor) -> BatchItem:
        """One item of a batch; its refusal is its own."""
        try:
            async with self._batch:
                accepted = await self.submit(data, actor)
        except (msgspec.ValidationError, msgspec.DecodeError) as error:
            problem = from_validation(error)
            return BatchItem(error=problem.detail, code=problem.status)
        except PointsmanError as error:
            return BatchItem(error=error.detail, code=error.status)
        return BatchItem(id=accepted.task.record.id, status=Status.PENDING)

    def _record(self, data: bytes, actor: Actor, task_id: str) -> TaskRecord:
        request = decode(_REQUEST, data)
        if request.callback_url is not None:
            check_url(request.callback_url, self._egress, field="callbackUrl")
        declared = self._types.of(request.type)
        return rules.accept(request, actor, task_id=task_id, now=self._clock.now_ms(), declared=declared)

    async def _create(self, record: TaskRecord) -> Accepted:
        with self._admission.admit(record.spec.pool, record.owner, self._clock.monotonic_s()):
            revision = await self._shelf.live.create(record, new_operation_id())
        return Accepted(StoredTask(record, revision))

    async def _create_new(self, record: TaskRecord) -> Accepted:
        """A new id that is taken is our own write, unacknowledged, and the task has moved on meanwhile."""
        try:
            return await self._create(record)
        except RevisionMoved:
            task = await self._shelf.get(record.id)
            if task is None:
                raise
            if task.record.owner != record.owner:
                raise conflict(f"task {record.id} exists already") from None
            return Accepted(task)

    async def _submit_once(self, record: TaskRecord, data: bytes, actor: Actor, name: str) -> Accepted:
        kept = KeptRequest(task_id=record.id, request_hash=rules.request_hash(data))
        found = await self._keys.get(name)
        if found is None:
            self._admission.check(record.spec.pool, record.owner, self._clock.monotonic_s())
            try:
                await self._keys.claim(name, kept, new_operation_id())
            except RevisionMoved:
                found = await self._keys.get(name)
        if found is None or found.task_id == record.id:
            return await self._create_new(record)
        return await self._replay(data, actor, found)

    async def _replay(self, data: bytes, actor: Actor, found: KeptRequest) -> Accepted:
        """The first answer again; a key whose task was never written (a crash between the two) makes it now."""
        if found.request_hash != rules.request_hash(data):
            raise refused("Idempotency-Key", "was used with another request")
        task = await self._shelf.get(found.task_id)
        if task is not None:
            return Accepted(task, replayed=True)
        try:
            return await self._create(self._record(data, actor, found.task_id))
        except RevisionMoved:
            task = await self._shelf.get(found.task_id)
            if task is None:
                raise
            return Accepted(task, replayed=True)


def encoded_view(task: StoredTask, *, with_payload: bool) -> bytes:
    return encode(rules.show(task, with_payload=with_payload))
