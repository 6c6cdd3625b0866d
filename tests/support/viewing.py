"""Who looks at frames, as a cockpit does: beats, folds what changed, asks for all of it after a gap."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Self

from msgspec.structs import replace

from pointsman.client.bus import Bus, BusError, Message, Subscription
from pointsman.client.client import Client
from pointsman.contracts.actor import Actor, Role
from pointsman.contracts.base import encode
from pointsman.contracts.errors import PointsmanError
from pointsman.contracts.frames import Flow, Frame, ServerPulse, ServerRow, ViewerBeat, decode_frame
from pointsman.contracts.subjects import VIEW_FRAME, VIEW_VIEWER

VIEWER = Actor(sub="eve", roles=(Role.VIEWER,))
BEAT_S = 2.0


class Sight:
    """What a reader of frames has before it."""

    def __init__(self) -> None:
        self.last: Frame | None = None
        self.rows: dict[str, ServerRow] = {}
        self.pulses: dict[str, ServerPulse] = {}

    def fold(self, frame: Frame) -> bool:
        """False when something was missed: then a full frame is needed."""
        last = self.last
        if frame.full:
            if last is None or frame.epoch > last.epoch or (frame.epoch == last.epoch and frame.seq >= last.seq):
                self.rows = {row.id: row for row in frame.servers}
                self.pulses = {pulse.id: pulse for pulse in frame.pulses}
                self.last = frame
            return True
        if last is None or frame.epoch != last.epoch or frame.seq > last.seq + 1:
            return False
        if frame.seq <= last.seq:
            return True
        for gone in frame.gone:
            self.rows.pop(gone, None)
            self.pulses.pop(gone, None)
        self.rows |= {row.id: row for row in frame.servers}
        self.pulses |= {pulse.id: pulse for pulse in frame.pulses}
        self.last = frame
        return True

    @property
    def flow(self) -> Flow:
        assert self.last is not None
        return self.last.flow

    @property
    def epoch(self) -> int:
        return self.last.epoch if self.last is not None else 0

    def without_ages(self) -> dict[str, ServerPulse]:
        return {name: replace(pulse, beat_ms=None, check_ms=None) for name, pulse in self.pulses.items()}


class Viewer:
    """Use as `async with Viewer(bus) as viewer`."""

    def __init__(self, bus: Bus, *, beats: bool = True) -> None:
        self._bus = bus
        self._beats = beats
        self._client = Client(bus, VIEWER)
        self._subscription: Subscription | None = None
        self._beating: asyncio.Task[None] | None = None
        self._asking: asyncio.Task[None] | None = None
        self.sight = Sight()
        self.frames: list[Frame] = []
        self.arrived_s: list[float] = []
        self.snapshots = 0
        self.deaf = False
        self.missed: list[Frame] = []

    async def __aenter__(self) -> Self:
        self._subscription = await self._bus.subscribe(VIEW_FRAME, self._on_frame)
        await self._bus.barrier()
        if self._beats:
            self._beating = asyncio.create_task(self._beat())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for task in (self._beating, self._asking):
            if task is not None:
                task.cancel()
                await asyncio.wait((task,))
        if self._subscription is not None:
            with suppress(BusError):
                await self._subscription.unsubscribe()

    async def until(self, claim: Callable[[Sight], object], what: str, within_s: float = 30.0) -> Frame:
        """The frame at which the claim held."""
        try:
            async with asyncio.timeout(within_s):
                while not (self.sight.last is not None and claim(self.sight)):
                    await asyncio.sleep(0.01)
        except TimeoutError:
            raise AssertionError(f"not within {within_s:g} s: {what}; last: {self.sight.last!r:.1500}") from None
        assert self.sight.last is not None
        return self.sight.last

    def heard(self, frame: Frame, size: int) -> None:
        """Of each frame as it comes."""

    async def _beat(self) -> None:
        while True:
            with suppress(BusError):
                await self._bus.publish(VIEW_VIEWER, encode(ViewerBeat(viewer="test")))
            await asyncio.sleep(BEAT_S)

    async def _on_frame(self, message: Message) -> None:
        frame = decode_frame(message.data)
        if self.deaf:
            self.missed.append(frame)
            return
        self.heard(frame, len(message.data))
        self.frames.append(frame)
        self.arrived_s.append(asyncio.get_running_loop().time())
        if not self.sight.fold(frame) and (self._asking is None or self._asking.done()):
            self._asking = asyncio.create_task(self._ask())

    async def _ask(self) -> None:
        with suppress(PointsmanError, BusError):
            frame = await self._client.statistics.frame()
            self.snapshots += 1
            self.sight.fold(frame)
