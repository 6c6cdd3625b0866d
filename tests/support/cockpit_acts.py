"""Someone who acts before a cockpit with services behind it, and what they wait for."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from pointsman.tui.dialogs.confirm import ConfirmDialog
from pointsman.tui.link import State as LinkState
from pointsman.tui.widgets.livetable import LiveTable
from tests.support.cockpit_services import Services
from tests.support.cockpit_world import World
from tests.support.cockpits import Seat, cockpit


@asynccontextmanager
async def seated(
    servers: int = 12, size: tuple[int, int] = (120, 36), **options: Any
) -> AsyncIterator[tuple[Seat, Services]]:
    services = Services(World(servers=servers))
    await services.fill()
    async with cockpit(services.world, size=size, bus=services, **options) as seat:  # type: ignore[arg-type]
        beating = asyncio.create_task(beat(seat))
        try:
            yield seat, services
        finally:
            beating.cancel()


async def beat(seat: Seat) -> None:
    """Frames come, or the link would be stale."""
    while True:
        await asyncio.sleep(0.3)
        if seat.app.link.state is not LinkState.DISCONNECTED:
            seat.source.frame(seat.world.step(0))


async def told(seat: Seat, text: str) -> None:
    """A toast says it."""
    for _ in range(200):
        if any(text in note.message for note in seat.app._notifications):
            return
        await seat.pilot.pause(0.02)
    raise AssertionError(f"nobody said {text!r}: {[note.message for note in seat.app._notifications]}\n{seat.text}")


async def at_server(seat: Seat, name: str) -> None:
    await seat.press("2")
    await seat.sees("[2 Servers")
    await seat.sees(name)
    assert seat.app.screen.query_one(LiveTable).go_to(name)
    await seat.pilot.pause()


async def settled(seat: Seat, services: Services, count: int = 1) -> None:
    for _ in range(200):
        if len(services.writes) >= count and not seat.app.acts.running:
            return
        await seat.pilot.pause(0.02)
    raise AssertionError(f"{len(services.writes)} writes, {seat.app.acts.running}\n{seat.text}")


def dialog(seat: Seat) -> ConfirmDialog:
    assert isinstance(seat.app.screen, ConfirmDialog), seat.app.screen
    return seat.app.screen


async def asked(seat: Seat, *keys: str) -> str:
    """The dialog with its plan, as text."""
    await seat.press(*keys)
    return await seat.sees(lambda text: "same from the shell" in text and "asking for the plan" not in text)
