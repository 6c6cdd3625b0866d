"""Compare what the stream `tasks` holds with what the leader remembers, and mend what differs (promise R2).

Headers tell enough: a live task's record has no TTL, a terminal one has. So a look moves no payload.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from math import inf
from typing import NamedTuple

import msgspec
import structlog

from pointsman.client.bus import Bus
from pointsman.contracts.lifecycle import Status, is_terminal
from pointsman.contracts.record import TaskHead, TaskNeeds
from pointsman.contracts.subjects import BUCKET_TASKS, key_name, stream_of
from pointsman.services.balancer.entry import Entry
from pointsman.services.balancer.model import Model
from pointsman.services.runtime.clock import Clock
from pointsman.services.runtime.follow import Followed, Follower
from pointsman.services.runtime.kv import Entry as Stored
from pointsman.services.runtime.kv import KvBucket
from pointsman.services.runtime.loop import gather_all

log = structlog.get_logger()

LOOKED_AT_MAX = 100_000
LOOK_S_MAX = 45.0
MENDED_MAX = 1_000
AT_ONCE = 32
CHUNK = 5_000

_HEAD = msgspec.json.Decoder(TaskHead)


class Read(NamedTuple):
    """A suspect read from the stream's leader, and the revision that memory had of it then (None: no live task)."""

    stored: Stored | None
    remembered: int | None


class Look:
    """What one pass through a part of the stream showed; of what agrees only the ids that memory has anyway are kept."""

    def __init__(self, entries: Mapping[str, Entry]) -> None:
        self._entries = entries
        self._agreed: set[str] = set()
        self._differing: dict[str, int | None] = {}
        self.count = 0
        self.last = 0

    def see(self, message: Followed) -> None:
        self.count, self.last = self.count + 1, message.sequence
        task_id, shown = key_name(message.subject), None
        if not message.deleted and not message.expires:
            shown = message.sequence
        entry = self._entries.get(task_id)
        if (entry.revision if entry is not None else None) != shown:
            self._differing[task_id] = shown
            return
        self._differing.pop(task_id, None)
        if entry is not None:
            self._agreed.add(entry.id)

    async def suspects(self, first: int, last: float) -> list[str]:
        """Ids in which memory and the stream from `first` to `last` disagree; either may just have been quicker."""
        differing = [i for i, shown in self._differing.items() if _remembered(self._entries, i) != shown]
        entries, unseen = list(self._entries.values()), list[str]()
        for start in range(0, len(entries), CHUNK):
            within = (one.id for one in entries[start : start + CHUNK] if first <= one.revision <= last)
            unseen += [i for i in within if i not in self._agreed and i not in self._differing]
            await asyncio.sleep(0)
        return differing + unseen


def _remembered(entries: Mapping[str, Entry], task_id: str) -> int | None:
    entry = entries.get(task_id)
    return entry.revision if entry is not None else None


class Audit:
    """One step looks at a bounded part of the stream and goes on from there the next time.

    `refresh` returns when everything that is in the stream by then has been folded.
    """

    def __init__(self, bus: Bus, model: Model, clock: Clock, *, refresh: Callable[[], Awaitable[None]]) -> None:
        self._bus = bus
        self._model = model
        self._clock = clock
        self._refresh = refresh
        self._tasks = KvBucket(bus, BUCKET_TASKS)
        self._position = 0

    async def step(self) -> int:
        """How many differences were mended."""
        found = await self._look(self._position + 1)
        return await self._mend(found[:MENDED_MAX]) if found else 0

    async def _look(self, first: int) -> list[str]:
        """The suspects from sequence `first` on; compared while the look still follows, so that both sides are fresh."""
        look, enough = Look(self._model.entries), asyncio.Event()

        def see(message: Followed) -> None:
            if look.count < LOOKED_AT_MAX:
                look.see(message)
            else:
                enough.set()

        follower = Follower(self._bus, stream_of(BUCKET_TASKS), see, headers_only=True, after=first - 1)
        await follower.start()
        try:
            async with asyncio.timeout(LOOK_S_MAX):
                await _first_of(follower.caught_up(), enough.wait())
            self._position, last = (look.last, look.last) if enough.is_set() else (0, inf)
            return await look.suspects(first, last)
        finally:
            await follower.stop()

    async def _mend(self, task_ids: list[str]) -> int:
        """Mend what still differs, unchanged on both sides, after memory has caught up."""
        before = await self._read(task_ids)
        await self._refresh()
        after = await self._read(task_ids)
        mended = [task_id for task_id in task_ids if self._mended(task_id, before[task_id], after[task_id])]
        if mended:
            log.error("memory differed from the store and was mended", tasks=len(mended), examples=mended[:5])
        return len(mended)

    async def _read(self, task_ids: Iterable[str]) -> dict[str, Read]:
        ids, read = list(task_ids), {}
        for start in range(0, len(ids), AT_ONCE):
            part = ids[start : start + AT_ONCE]
            stored = await gather_all([self._tasks.get(task_id, latest=True) for task_id in part])
            for task_id, one in zip(part, stored, strict=True):
                read[task_id] = Read(one, _remembered(self._model.entries, task_id))
        return read

    def _mended(self, task_id: str, before: Read, after: Read) -> bool:
        entry = self._model.entries.get(task_id)
        has_moved = _revision(before) != _revision(after) or before.remembered != after.remembered
        if has_moved or after.remembered != _remembered(self._model.entries, task_id):
            return False
        if after.stored is None:
            return entry is not None and self._vanished(entry)
        try:
            head = _HEAD.decode(after.stored.data)
        except msgspec.MsgspecError as error:
            log.error("a task's record is not readable", task_id=task_id, error=str(error))
            return False
        return self._set_right(entry, head, after.stored)

    def _set_right(self, entry: Entry | None, head: TaskHead, stored: Stored) -> bool:
        shown = None if is_terminal(head.status) else stored.revision
        if shown == (entry.revision if entry is not None else None):
            return False
        if entry is not None and entry.generation == head.generation and not is_terminal(head.status):
            entry.revision = stored.revision
            return True
        if entry is not None:
            entry.revision = min(entry.revision, stored.revision - 1)
        self._fold(head, stored.revision, stored.data)
        return True

    def _vanished(self, entry: Entry) -> bool:
        """Its record is in the store no more: nothing can end it there, so nothing may start; what runs lingers."""
        needs = TaskNeeds(type=entry.shape.type, deadline=entry.deadline)
        head = TaskHead(
            id=entry.id, owner="", spec=needs, created_at=0, status=Status.CANCELLED, generation=entry.generation
        )
        self._fold(head, entry.revision + 1, b"")
        return True

    def _fold(self, head: TaskHead, revision: int, raw: bytes) -> None:
        self._model.fold_task(head, revision, raw, self._clock.now_ms(), self._clock.monotonic_s())


def _revision(read: Read) -> int | None:
    return read.stored.revision if read.stored is not None else None


async def _first_of(*works: "asyncio._CoroutineLike[object]") -> None:
    tasks = [asyncio.ensure_future(work) for work in works]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
