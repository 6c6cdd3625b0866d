"""A cockpit without a terminal, fed by a made-up world."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from textual.pilot import Pilot

from pointsman.client.bus import Bus
from pointsman.tui.app import Cockpit
from pointsman.tui.options import Address, Options
from tests.support.cockpit_world import World, WorldSource

NOON_S = 1_764_427_039.0


class Seat:
    """Someone who sits before the cockpit."""

    def __init__(self, app: Cockpit, pilot: Pilot[None], source: WorldSource) -> None:
        self.app, self.pilot, self.source = app, pilot, source
        self.world = source.world

    @property
    def text(self) -> str:
        """The screen as text."""
        lines = self.app.screen._compositor.render_strips()
        return "\n".join("".join(segment.text for segment in strip).rstrip() for strip in lines)

    async def press(self, *keys: str) -> None:
        await self.pilot.press(*keys)

    async def sees(self, wanted: str | Callable[[str], bool], tries: int = 200) -> str:
        """Wait until the screen shows it."""
        for _ in range(tries):
            text = self.text
            if wanted(text) if callable(wanted) else wanted in text:
                return text
            await self.pilot.pause(0.02)
        raise AssertionError(f"never saw {wanted!r}; the screen is\n{self.text}")


@asynccontextmanager
async def cockpit(
    world: World | None = None,
    size: tuple[int, int] = (120, 36),
    *,
    started: bool = True,
    bus: Bus | None = None,
    **options: Any,
) -> AsyncIterator[Seat]:
    """`bus` is where the cockpit asks; without one it has no client."""
    made: list[WorldSource] = []
    shown = world or World()

    def source(tell: Any) -> WorldSource:
        made.append(WorldSource(tell, shown))
        made[0].bus = bus
        return made[0]

    def nowhere() -> Address:
        raise AssertionError("the made-up source connects to nothing")

    app = Cockpit(Options(locate=nowhere, **options), source, wall=lambda: NOON_S)
    async with app.run_test(size=size) as pilot:
        seat = Seat(app, pilot, made[0])
        if started:
            seat.source.start()
        await pilot.pause()
        yield seat
