"""The cockpit as someone who sits before it sees it."""

import pytest

from pointsman.tui.topbar import SCREENS
from pointsman.tui.widgets.bars import KeysLine
from pointsman.tui.widgets.livetable import LiveTable
from tests.support.cockpit_world import World
from tests.support.cockpits import cockpit

SIZES = [(200, 60), (120, 36), (100, 30), (80, 24), (60, 16), (40, 10), (20, 5)]


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
@pytest.mark.parametrize("place", range(1, len(SCREENS) + 1))
async def test_every_screen_opens_at_every_size(place: int, size: tuple[int, int]) -> None:
    async with cockpit(size=size) as seat:
        await seat.press(str(place))
        seat.source.frame()
        name = list(SCREENS.values())[place - 1]
        too_small = size[0] < 60 or size[1] < 16
        await seat.sees(f"needs 60x16, this is {size[0]}x{size[1]}"[: size[0]] if too_small else f"[{place} {name}")
        assert all(len(line) <= size[0] for line in seat.text.splitlines())


async def test_keys_work_as_before_when_the_terminal_was_too_small_for_a_while() -> None:
    async with cockpit(World(servers=5), (80, 24), screen="servers") as seat:
        await seat.sees("srv-0005")
        await seat.pilot.resize_terminal(20, 5)
        await seat.sees("needs 60x16")
        await seat.pilot.resize_terminal(80, 24)
        await seat.sees("srv-0005")
        await seat.press("j")
        await seat.sees(lambda _: seat.app.screen.query_one(LiveTable).cursor == "srv-0002")
        await seat.press("question_mark")
        await seat.sees("keys of Servers")
        await seat.press("escape")
        await seat.sees("filter none")
        await seat.press("k")
        await seat.sees(lambda _: seat.app.screen.query_one(LiveTable).cursor == "srv-0001")


async def test_before_the_first_frame_nothing_is_zero() -> None:
    async with cockpit(started=False) as seat:
        text = await seat.sees("connecting")
        assert "alerts --" in text


async def test_frames_reach_the_screen() -> None:
    async with cockpit(World(servers=12)) as seat:
        await seat.sees("2 Servers 12")
        await seat.sees("● live")


async def test_the_line_of_keys_may_be_resized_while_the_cockpit_closes() -> None:
    async with cockpit() as seat:
        await seat.sees("● live")
        keys = seat.app.screen.query_one(KeysLine)
        stack = seat.app._screen_stack
        screens = list(stack)
        stack.clear()
        try:
            keys.on_resize()
        finally:
            stack.extend(screens)
