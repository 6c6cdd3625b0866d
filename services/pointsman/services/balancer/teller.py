"""The leader tells of its work: five times a second while somebody looks at a cockpit, else once."""

import asyncio
from collections.abc import Callable
from contextlib import suppress

from pointsman.client.bus import Bus, BusDown, Message
from pointsman.contracts.flow import FLOW_IDLE_S, VIEWER_GONE_S, encode_flow
from pointsman.contracts.frames import RATE_HZ
from pointsman.contracts.subjects import VIEW_FLOW
from pointsman.services.balancer.executors import Executors
from pointsman.services.balancer.flow_frame import Term, Told, flow_frame
from pointsman.services.balancer.model import Model
from pointsman.services.balancer.settings_book import SettingsBook
from pointsman.services.runtime.clock import Clock

WHOLE_EVERY_S = 0.9


class FlowTeller:
    """`term` is None while this process may not dispatch: what it counts then, it forgets."""

    def __init__(
        self,
        bus: Bus,
        model: Model,
        book: SettingsBook,
        executors: Executors,
        clock: Clock,
        *,
        term: Callable[[], Term | None],
    ) -> None:
        self._bus = bus
        self._model = model
        self._book = book
        self._executors = executors
        self._clock = clock
        self._term = term
        self._told = Told()
        self._viewed_until_s = float("-inf")
        self._viewed = asyncio.Event()
        self._told_s = clock.monotonic_s()
        self._whole_s = float("-inf")

    async def on_viewer(self, _message: Message) -> None:
        self._viewed_until_s = self._clock.monotonic_s() + VIEWER_GONE_S
        self._viewed.set()

    def begin_term(self) -> None:
        """What was counted until now was counted while others led, or twice in a replay."""
        self._model.flow.take()
        self._told_s = self._clock.monotonic_s()

    async def step(self) -> None:
        """Wait for the next moment to tell, then tell."""
        await self._pause()
        term = self._term()
        if term is None:
            self.begin_term()
            return
        now_s = self._clock.monotonic_s()
        span_ms, self._told_s = round((now_s - self._told_s) * 1000), now_s
        whole = now_s - self._whole_s >= WHOLE_EVERY_S
        self._whole_s = now_s if whole else self._whole_s
        frame = flow_frame(
            self._model,
            self._book,
            self._told,
            self._model.flow.take(),
            term,
            whole=whole,
            executors=self._executors.count(now_s),
            span_ms=span_ms,
            now=self._clock.now_ms(),
            now_s=now_s,
        )
        with suppress(BusDown):
            await self._bus.publish(VIEW_FLOW, encode_flow(frame))

    async def _pause(self) -> None:
        """A viewer that comes is not kept waiting for the rest of a second."""
        now_s = self._clock.monotonic_s()
        if now_s < self._viewed_until_s:
            await asyncio.sleep(max(0.0, self._told_s + 1 / RATE_HZ - now_s))
            return
        self._viewed.clear()
        try:
            async with asyncio.timeout(max(0.0, self._told_s + FLOW_IDLE_S - now_s)):
                await self._viewed.wait()
        except TimeoutError:
            return
