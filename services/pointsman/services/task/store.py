"""What the task service reads and writes: live tasks, idempotency keys, and the archive behind them."""

import msgspec

from pointsman.client.bus import Bus
from pointsman.client.call import call
from pointsman.contracts.actor import Actor, Role
from pointsman.contracts.base import Record, encode
from pointsman.contracts.commands import TaskId
from pointsman.contracts.errors import PointsmanError
from pointsman.contracts.subjects import BUCKET_TASKS, STREAM_HISTORY, key, verb
from pointsman.services.runtime.kv import Bucket, last_message
from pointsman.services.runtime.task_store import StoredTask, TaskStore, decode_record

IDEMPOTENCY_TTL_S = 86_400
ARCHIVE_TIMEOUT_S = 5.0
NOT_FOUND = 404


class KeptRequest(Record):
    """What an idempotency key stands for."""

    task_id: str
    request_hash: str


_KEPT = msgspec.json.Decoder(KeptRequest)


class IdempotencyKeys:
    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket

    async def claim(self, name: str, kept: KeptRequest, operation: str) -> None:
        """Raises RevisionMoved when the key is taken."""
        await self._bucket.create(name, encode(kept), operation=operation, ttl_s=IDEMPOTENCY_TTL_S)

    async def get(self, name: str) -> KeptRequest | None:
        entry = await self._bucket.get(name, latest=True)
        return _KEPT.decode(entry.data) if entry else None


class Archive:
    """Tasks that have left the bucket: the HISTORY stream by subject, then Postgres."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus

    async def get(self, task_id: str) -> StoredTask | None:
        """The archived task with revision 0; raises 503 when the archive cannot be asked."""
        waiting = await last_message(self._bus, STREAM_HISTORY, key(BUCKET_TASKS, task_id))
        if waiting is not None:
            return StoredTask(decode_record(waiting.data), 0)
        reader = Actor(sub="task-service", roles=(Role.VIEWER,))
        try:
            answer = await call(
                self._bus, verb("history", "get"), encode(TaskId(id=task_id)), reader, timeout_s=ARCHIVE_TIMEOUT_S
            )
        except PointsmanError as error:
            if error.status == NOT_FOUND:
                return None
            raise
        return StoredTask(decode_record(answer.data), 0)


class Shelf:
    """Live tasks first, then the archive."""

    def __init__(self, live: TaskStore, archive: Archive) -> None:
        self.live = live
        self._archive = archive

    async def get(self, task_id: str) -> StoredTask | None:
        return await self.live.get(task_id) or await self._archive.get(task_id)
