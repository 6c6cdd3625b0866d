"""The demo as somebody meets it who has just cloned the repository and sits at a terminal."""

import asyncio

import pytest

from tests.support.terminal import terminal

pytestmark = pytest.mark.timeout(420)


async def test_at_a_terminal_the_demo_opens_the_cockpit_and_shows_the_sums_when_it_is_left() -> None:
    async with terminal("demo", "--modules", "30") as screen:
        await screen.shows(b"Overview")
        await screen.shows(b"live")
        screen.press(b"q")
        await screen.shows(b"equal: every module's counts are the same")
        await screen.shows(b"Ctrl-C ends it.")


async def test_asked_to_end_while_the_cockpit_is_open_it_gives_the_terminal_back() -> None:
    async with terminal("demo", "--modules", "30") as screen:
        await screen.shows(b"Overview")
        screen.process.terminate()
        await asyncio.wait_for(screen.process.wait(), 60)
        leaves_other_screen = b"\x1b[?1049l"
        assert leaves_other_screen in screen.drawn
