"""A cockpit without a terminal, fed by a made-up world."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from time import monotonic
from typing import Any

from textual.pilot import Pilot

from pointsman.client.bus import Bus
from pointsman.tui.app import Cockpit
from pointsman.tui.options import Address, Options, System
from pointsman.tui.snapshot import text_of
from tests.support.cockpit_world import World, WorldSource

NOON_S = 1_764_427_039.0


class Watcher:
    """Someone who sits before a cockpit."""

    def __init__(self, app: Cockpit, pilot: Pilot[None]) -> None:
        self.app, self.pilot = app, pilot

    @property
    def text(self) -> str:
        """The screen as text."""
        return text_of(self.app)

    async def press(self, *keys: str) -> None:
        await self.pilot.press(*keys)

    async def sees(self, wanted: str | Callable[[str], object], within_s: float = 20.0) -> str:
        """Wait until the screen shows it."""
        until = monotonic() + within_s
        while monotonic() < until:
            text = self.text
            if wanted(text) if callable(wanted) else wanted in text:
                return text
            await self.pilot.pause(0.02)
        raise AssertionError(f"never saw {wanted!r}; the screen is\n{self.text}")


class Seat(Watcher):
    """Before a cockpit that a made-up world is told to, and whose time stands still but for `time_passes`."""

    def __init__(self, app: Cockpit, pilot: Pilot[None], source: WorldSource, passed: list[float]) -> None:
        super().__init__(app, pilot)
        self._passed = passed
        self.source = source
        self.world = source.world

    def time_passes(self, seconds: float) -> None:
        self._passed[0] += seconds


@asynccontextmanager
async def cockpit(
    world: World | None = None,
    size: tuple[int, int] = (120, 36),
    *,
    started: bool = True,
    bus: Bus | None = None,
    **options: Any,
) -> AsyncIterator[Seat]:
    """`bus` is where the cockpit asks; without one it has no client. `options` are those of the system as well."""
    of_system = {field: options.pop(field) for field in System.__slots__ if field in options}
    system = System(**({"locate": nowhere} | of_system))
    async with showing(Options(system, **options), world, size, started=started, bus=bus) as seat:
        yield seat


def nowhere() -> Address:
    raise AssertionError("the made-up source connects to nothing")


@asynccontextmanager
async def showing(
    options: Options,
    world: World | None = None,
    size: tuple[int, int] = (120, 36),
    *,
    started: bool = True,
    bus: Bus | None = None,
) -> AsyncIterator[Seat]:
    """Like `cockpit`, with these options; those that another cockpit ended with, for one."""
    made: list[WorldSource] = []
    passed = [0.0]
    shown = world or World()

    def source(tell: Any) -> WorldSource:
        made.append(WorldSource(tell, shown))
        made[0].bus = bus
        return made[0]

    app = Cockpit(options, source, wall=lambda: NOON_S, clock=lambda: passed[0])
    async with app.run_test(size=size) as pilot:
        seat = Seat(app, pilot, made[0], passed)
        if started:
            seat.source.start()
        await pilot.pause()
        yield seat
