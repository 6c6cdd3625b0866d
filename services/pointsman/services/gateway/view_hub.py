"""Frames for who cannot reach NATS: the same arrays as server-sent events, whole at first and after a gap."""

import asyncio
from collections import deque

import msgspec
import structlog

from pointsman.client.bus import Bus, BusError, Message, Subscription
from pointsman.client.call import call
from pointsman.contracts.actor import Actor
from pointsman.contracts.base import encode
from pointsman.contracts.errors import PointsmanError, unavailable
from pointsman.contracts.frames import VIEWER_BEAT_S, Part, ViewerBeat
from pointsman.contracts.subjects import VIEW_FRAME, VIEW_VIEWER, verb
from pointsman.services.gateway.sink import Sink, Sinks
from pointsman.services.gateway.sse import more
from pointsman.services.runtime.feed import Cursor
from pointsman.services.runtime.loop import Background

log = structlog.get_logger()

READERS_MAX = 200
QUEUED_MAX = 50
RECENT_MAX = 50
ASK_AGAIN_S = 1.0
SNAPSHOT = verb("statistics", "frame")
NOWHERE = Cursor()

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


class ViewHub:
    """One subscription while somebody reads, and beats, as any viewer does.

    `_places` are those of the last frames that readers were given, None of one that needs a full one.
    """

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._sinks = Sinks(READERS_MAX)
        self._places: dict[Sink, Place | None] = {}
        self._recent: deque[tuple[Head, bytes]] = deque(maxlen=RECENT_MAX)
        self._actor = Actor(sub="")
        self._subscription: Subscription | None = None
        self._background = Background()
        self._opening = asyncio.Lock()
        self._is_asking = False

    def __len__(self) -> int:
        return len(self._sinks)

    async def join(self, sink: Sink, actor: Actor) -> None:
        """Give it everything at first, then what changes. Raises 503."""
        self._sinks.add(sink)
        try:
            await self._open(actor)
            self._places[sink] = None
            if not self._make_whole(await self._snapshot()):
                self._ask_soon()
        except BaseException as error:
            await self.leave(sink)
            if isinstance(error, BusError):
                raise unavailable("frames cannot be heard at the moment") from error
            raise

    async def leave(self, sink: Sink) -> None:
        self._sinks.discard(sink)
        self._places.pop(sink, None)
        async with self._opening:
            if not self._sinks and self._subscription is not None:
                subscription, self._subscription = self._subscription, None
                await self._background.stop()
                await subscription.unsubscribe()

    def stop(self) -> None:
        """End every stream, so that its client comes back elsewhere."""
        self._sinks.lose("shutdown")

    async def _open(self, actor: Actor) -> None:
        async with self._opening:
            self._actor = actor
            if self._subscription is None:
                self._recent.clear()
                self._subscription = await self._bus.subscribe(VIEW_FRAME, self._on_frame)
                await self._bus.barrier()
                self._background.every(VIEWER_BEAT_S, self._beat, "viewer beat")

    async def _beat(self) -> None:
        await self._bus.publish(VIEW_VIEWER, encode(ViewerBeat(viewer="gateway")))

    async def _snapshot(self) -> bytes:
        return (await call(self._bus, SNAPSHOT, b"{}", self._actor)).data

    async def _on_frame(self, message: Message) -> None:
        head, framed = _HEAD.decode(message.data), _framed(message.data)
        self._recent.append((head, framed))
        body = more(framed)

        def give(sink: Sink) -> None:
            place = self._places.get(sink)
            if place is not None and head.place <= place:
                return
            if head.fits(place):
                self._places[sink] = head.place
                sink.take(body, [(NOWHERE, framed)])
            elif place is not None:
                self._places[sink] = None
                self._ask_soon()

        self._sinks.each(give)

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
        whole = b"".join(framed)
        for sink in [sink for sink, at in self._places.items() if at is None]:
            self._places[sink] = place
            sink.take(more(whole), [(NOWHERE, whole)])
        return True


def _framed(data: bytes) -> bytes:
    return b"data: %b\n\n" % data
