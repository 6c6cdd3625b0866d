"""Frames for who cannot reach NATS: the same arrays as server-sent events, whole at first and after a gap."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator

import msgspec
import structlog

from pointsman.client.bus import Bus, BusError, Message, Subscription
from pointsman.client.call import call
from pointsman.contracts.actor import Actor
from pointsman.contracts.base import encode
from pointsman.contracts.errors import PointsmanError
from pointsman.contracts.frames import VIEWER_BEAT_S, Part, ViewerBeat
from pointsman.contracts.subjects import VIEW_FRAME, VIEW_VIEWER, verb
from pointsman.services.gateway.sse import HEARTBEAT, notice, too_many
from pointsman.services.runtime.loop import Background

log = structlog.get_logger()

READERS_MAX = 200
QUEUED_MAX = 50
RECENT_MAX = 50
SILENCE_S = 15.0
ASK_AGAIN_S = 1.0
SNAPSHOT = verb("statistics", "frame")


type Place = tuple[int, int]
"""Epoch and sequence of a frame."""


class Head(Part):
    """What is read of a frame here."""

    epoch: int
    seq: int
    at: int
    full: bool

    @property
    def place(self) -> Place:
        return self.epoch, self.seq

    def fits(self, place: Place | None) -> bool:
        """Whether a reader that is at `place` can go on with it."""
        return self.full or (place is not None and self.place == (place[0], place[1] + 1))


_HEAD = msgspec.json.Decoder(Head)


class Reader:
    """What waits for one reader. `place` is that of the last frame it was given, None when it needs a full one."""

    def __init__(self) -> None:
        self.place: Place | None = None
        self.why = ""
        self._waiting: list[bytes] = []
        self._woken = asyncio.Event()

    def put(self, framed: bytes) -> None:
        if len(self._waiting) >= QUEUED_MAX:
            self.lose("slow-reader")
        else:
            self._waiting.append(framed)
            self._woken.set()

    def lose(self, why: str) -> None:
        self.why = self.why or why
        self._woken.set()

    async def next(self) -> bytes:
        """All that waits, or a sign of life after a while of silence."""
        try:
            async with asyncio.timeout(SILENCE_S):
                await self._woken.wait()
        except TimeoutError:
            return HEARTBEAT
        self._woken.clear()
        waiting, self._waiting = self._waiting, []
        return b"".join(waiting)


class ViewHub:
    """One subscription while somebody reads, and beats, as any viewer does."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._readers: set[Reader] = set()
        self._recent: deque[tuple[Head, bytes]] = deque(maxlen=RECENT_MAX)
        self._actor = Actor(sub="")
        self._subscription: Subscription | None = None
        self._background = Background()
        self._opening = asyncio.Lock()
        self._is_asking = False

    async def frames(self, actor: Actor) -> AsyncIterator[bytes]:
        """Everything at first, then what changes."""
        reader = Reader()
        try:
            await self._join(reader, actor)
            yield b": pointsman frames\n\n"
            while not reader.why:
                yield await reader.next()
            yield notice("interrupted", reader.why)
        except (PointsmanError, BusError) as error:
            yield notice("interrupted", error.slug if isinstance(error, PointsmanError) else "unavailable")
        finally:
            await self._leave(reader)

    def check_room(self) -> None:
        """Raises 503 when so many read already."""
        if len(self._readers) >= READERS_MAX:
            raise too_many(READERS_MAX)

    def stop(self) -> None:
        """End every stream, so that its client comes back elsewhere."""
        for reader in self._readers:
            reader.lose("shutdown")

    async def _join(self, reader: Reader, actor: Actor) -> None:
        async with self._opening:
            self._readers.add(reader)
            self._actor = actor
            if self._subscription is None:
                self._recent.clear()
                self._subscription = await self._bus.subscribe(VIEW_FRAME, self._on_frame)
                await self._bus.barrier()
                self._background.every(VIEWER_BEAT_S, self._beat, "viewer beat")
        if not self._make_whole(await self._snapshot()):
            self._ask_soon()

    async def _leave(self, reader: Reader) -> None:
        async with self._opening:
            self._readers.discard(reader)
            if not self._readers and self._subscription is not None:
                subscription, self._subscription = self._subscription, None
                await self._background.stop()
                await subscription.unsubscribe()

    async def _beat(self) -> None:
        await self._bus.publish(VIEW_VIEWER, encode(ViewerBeat(viewer="gateway")))

    async def _snapshot(self) -> bytes:
        return (await call(self._bus, SNAPSHOT, b"{}", self._actor)).data

    async def _on_frame(self, message: Message) -> None:
        head, framed = _HEAD.decode(message.data), _framed(message.data)
        self._recent.append((head, framed))
        for reader in self._readers:
            if reader.place is not None and head.place <= reader.place:
                continue
            if head.fits(reader.place):
                reader.place = head.place
                reader.put(framed)
            elif reader.place is not None:
                reader.place = None
                self._ask_soon()

    def _ask_soon(self) -> None:
        if not self._is_asking:
            self._is_asking = True
            self._background.run(self._ask(), "frames asked for")

    async def _ask(self) -> None:
        """Until it is answered: readers are given nothing meanwhile."""
        try:
            while True:
                try:
                    if self._make_whole(await self._snapshot()):
                        return
                except (PointsmanError, BusError) as error:
                    log.warning("no whole frame to be had", error=str(error))
                    await asyncio.sleep(ASK_AGAIN_S)
        finally:
            self._is_asking = False

    def _make_whole(self, data: bytes) -> bool:
        """For all who wait for it, and what came since; False when some of that is missing."""
        place, framed = _HEAD.decode(data).place, [_framed(data)]
        for head, one in self._recent:
            if head.place > place:
                if not head.fits(place):
                    self._recent.clear()
                    return False
                place = head.place
                framed.append(one)
        for reader in self._readers:
            if reader.place is None:
                reader.place = place
                reader.put(b"".join(framed))
        return True


def _framed(data: bytes) -> bytes:
    return b"data: %b\n\n" % data
