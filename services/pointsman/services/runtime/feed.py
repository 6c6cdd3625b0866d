"""Everything that happens to tasks, once for all readers: the buckets' republish while somebody reads.

The republish may lose messages, so a gap or a reconnect ends the streams; a reader that comes back with its cursor is
given what it missed from the streams behind the buckets. These keep the last record of each task: what was overwritten
in the meantime shows in the record that replaced it.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol

import msgspec

from pointsman.client.bus import Bus, Message, Subscription
from pointsman.contracts.errors import unavailable
from pointsman.contracts.events import TaskEvent, of_lease, of_record
from pointsman.contracts.record import Lease, TaskRecord
from pointsman.contracts.subjects import BUCKET_LEASES, BUCKET_TASKS, key_name, stream_of, view_lease, view_task
from pointsman.services.runtime.buckets import api
from pointsman.services.runtime.follow import Followed, Follower

SILENCE_S = 15.0
QUEUED_MAX = 2_000
GATHER_S = 0.02
MISSED_MAX = 50_000
CATCH_UP_S = 20.0
START_S = 5.0
SEQUENCE = "Nats-Sequence"
EVERY = "*"

type Render[T] = Callable[[str, TaskEvent | None], T]
"""What readers get: of an event and the cursor after it ("" within a replay), and of None for more than can be told."""

_RECORD = msgspec.json.Decoder(TaskRecord)
_LEASE = msgspec.json.Decoder(Lease)


@dataclass(frozen=True, slots=True)
class Cursor:
    """The last sequences seen of the streams behind `tasks` and `leases`."""

    tasks: int = 0
    leases: int = 0

    def __str__(self) -> str:
        return f"{self.tasks}-{self.leases}"

    def is_within(self, read: "Cursor") -> bool:
        """Whether all of it has been read."""
        return self.tasks <= read.tasks and self.leases <= read.leases


class Interrupted(Exception):
    """No more comes, for this reason; who comes back with a cursor gets what was missed."""


type Batch[T] = list[tuple[Cursor, T]]
"""What came within a moment, with the cursor after each; all readers are given the same."""


class Reader[T](Protocol):
    def take(self, batch: Batch[T]) -> None: ...

    def lose(self, why: str) -> None:
        """No more comes, for this reason; the first counts."""


class Queue[T]:
    """A reader that comes for what waits; `why` says why no more comes."""

    def __init__(self) -> None:
        self._waiting: Batch[T] = []
        self._woken: asyncio.Future[None] | None = None
        self.why = ""

    def take(self, batch: Batch[T]) -> None:
        self._waiting += batch
        if len(self._waiting) > QUEUED_MAX:
            del self._waiting[QUEUED_MAX:]
            self.lose("slow-reader")
        self._wake()

    def lose(self, why: str) -> None:
        self.why = self.why or why
        self._wake()

    async def next(self) -> Batch[T]:
        """All that waits; nothing after a while of silence, and when no more comes."""
        if not self._waiting and not self.why:
            loop = asyncio.get_running_loop()
            self._woken = loop.create_future()
            silence = loop.call_later(SILENCE_S, self._wake)
            try:
                await self._woken
            finally:
                silence.cancel()
        waiting, self._waiting = self._waiting, []
        return waiting

    def _wake(self) -> None:
        if self._woken is not None and not self._woken.done():
            self._woken.set_result(None)


class Feed[T]:
    """Each event is rendered once, whoever reads."""

    def __init__(self, bus: Bus, render: Render[T]) -> None:
        self._bus = bus
        self._render = render
        self._readers: set[Reader[T]] = set()
        self._cursor = Cursor()
        self._subscriptions: list[Subscription] = []
        self._forget_reconnect: Callable[[], None] = lambda: None
        self._opening = asyncio.Lock()
        self._gathered: Batch[T] = []

    async def follow(self, since: Cursor | None) -> AsyncGenerator[list[T]]:
        """What was missed `since` (None: nothing), then all that comes; nothing at first and after a while of silence.

        Raises Interrupted when no more comes, 503 when what was missed cannot be read in time.
        """
        reader = Queue[T]()
        read = await self.join(reader)
        try:
            yield []
            if since is not None:
                shown, read = await missed(self._bus, since, self._render)
                yield shown
            while not reader.why:
                found = await reader.next()
                yield [one for cursor, one in found if not cursor.is_within(read)]
            raise Interrupted(reader.why)
        finally:
            await self.leave(reader)

    def stop(self) -> None:
        """End every stream, so that its client comes back elsewhere."""
        self._lose_all("shutdown")

    async def join(self, reader: Reader[T]) -> Cursor:
        """Give it all that comes after this cursor, and perhaps a little before."""
        async with self._opening:
            if not self._subscriptions:
                try:
                    await self._open()
                except BaseException:
                    await self._close()
                    raise
            self._readers.add(reader)
            return self._cursor

    async def leave(self, reader: Reader[T]) -> None:
        async with self._opening:
            self._readers.discard(reader)
            if not self._readers:
                await self._close()

    async def _open(self) -> None:
        """What is heard while the streams' ends are asked for lies behind the cursor, too."""
        self._cursor = Cursor()
        self._forget_reconnect = self._bus.on_reconnect(lambda: self._lose_all("reconnected"))
        for subject, handler in ((view_task(EVERY), self._on_task), (view_lease(EVERY), self._on_lease)):
            self._subscriptions.append(await self._bus.subscribe(subject, handler))
        await self._bus.barrier()
        last = await last_cursor(self._bus)
        self._cursor = Cursor(max(last.tasks, self._cursor.tasks), max(last.leases, self._cursor.leases))

    async def _close(self) -> None:
        self._forget_reconnect()
        self._forget_reconnect = lambda: None
        while self._subscriptions:
            await self._subscriptions.pop().unsubscribe()

    async def _on_task(self, message: Message) -> None:
        sequence = int(message.headers.get(SEQUENCE, "0"))
        if sequence > self._cursor.tasks + 1:
            self._lose_all("gap")
        if message.data and sequence > self._cursor.tasks:
            self._cursor = Cursor(sequence, self._cursor.leases)
            self._tell(of_record(_RECORD.decode(message.data)))

    async def _on_lease(self, message: Message) -> None:
        sequence = int(message.headers.get(SEQUENCE, "0"))
        if sequence > self._cursor.leases + 1:
            self._lose_all("gap")
        if message.data and sequence > self._cursor.leases:
            self._cursor = Cursor(self._cursor.tasks, sequence)
            self._tell(of_lease(message.subject.rpartition(".")[2], _LEASE.decode(message.data)))

    def _tell(self, event: TaskEvent | None) -> None:
        if event is not None:
            if not self._gathered:
                asyncio.get_running_loop().call_later(GATHER_S, self._give)
            self._gathered.append((self._cursor, self._render(str(self._cursor), event)))

    def _give(self) -> None:
        """A write to each reader costs more than all else, and events come in threes: so they wait for each other."""
        batch, self._gathered = self._gathered, []
        for reader in tuple(self._readers):
            reader.take(batch)

    def _lose_all(self, why: str) -> None:
        for reader in tuple(self._readers):
            reader.lose(why)


async def missed[T](
    bus: Bus, since: Cursor, render: Render[T], *, whole_from: int | None = None
) -> tuple[list[T], Cursor]:
    """What the streams hold after `since`, by time, and how far they were read; the last frame alone moves the cursor.

    The first tells a gap where there may be one: for more than can be told, for a cursor from beyond the streams' ends,
    which lost their tail then, and for tasks that ended before `whole_from`, in ms since the epoch, and are held no more.
    Raises 503 when the streams cannot be read in time.
    """
    events: list[tuple[int, TaskEvent]] = []
    ends = await last_cursor(bus)
    is_whole = since.is_within(ends)
    since = Cursor(min(since.tasks, ends.tasks), min(since.leases, ends.leases))
    forgettable = max(since.tasks, await _before(bus, whole_from)) if whole_from is not None else since.tasks
    still_held = 0

    def keep(event: TaskEvent | None) -> None:
        nonlocal is_whole
        is_whole = is_whole and len(events) < MISSED_MAX
        if event is not None and len(events) < MISSED_MAX:
            events.append((event.at, event))

    def on_task(entry: Followed) -> None:
        nonlocal still_held
        still_held += entry.sequence <= forgettable
        if not entry.deleted:
            keep(of_record(_RECORD.decode(entry.data)))

    def on_lease(entry: Followed) -> None:
        if not entry.deleted:
            keep(of_lease(key_name(entry.subject), _LEASE.decode(entry.data)))

    tasks = Follower(bus, stream_of(BUCKET_TASKS), on_task, after=since.tasks)
    leases = Follower(bus, stream_of(BUCKET_LEASES), on_lease, after=since.leases)
    try:
        async with asyncio.timeout(CATCH_UP_S):
            for follower in (tasks, leases):
                await follower.start()
                await follower.caught_up()
    except TimeoutError:
        raise unavailable("the missed events cannot be read at the moment") from None
    finally:
        await tasks.stop()
        await leases.stop()
    is_whole = is_whole and still_held == forgettable - since.tasks
    events.sort(key=lambda one: one[0])
    read = Cursor(max(since.tasks, tasks.sequence), max(since.leases, leases.sequence))
    shown = [render("", event) for _, event in events[:-1]] + [render(str(read), event) for _, event in events[-1:]]
    return (shown if is_whole else [render("", None), *shown]), read


async def _before(bus: Bus, at: int) -> int:
    """The sequence before the first record of a task written at `at` or later, by a direct get (ADR-31)."""
    stream, start = stream_of(BUCKET_TASKS), datetime.fromtimestamp(at / 1000, UTC).isoformat()
    request = msgspec.json.encode({"start_time": start, "next_by_subj": ">"})
    answer = await bus.request(f"$JS.API.DIRECT.GET.{stream}", request, timeout_s=START_S)
    if sequence := answer.headers.get(SEQUENCE):
        return int(sequence) - 1
    return (await last_cursor(bus)).tasks


async def last_cursor(bus: Bus) -> Cursor:
    infos = [await api(bus, f"STREAM.INFO.{stream_of(bucket)}") for bucket in (BUCKET_TASKS, BUCKET_LEASES)]
    return Cursor(*(int(info["state"]["last_seq"]) for info in infos))
