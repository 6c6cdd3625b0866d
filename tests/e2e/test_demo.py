"""The demo as somebody meets it who has just cloned the repository and sits at a terminal."""

import pytest

from tests.support.terminal import terminal

pytestmark = pytest.mark.timeout(420)


async def test_at_a_terminal_the_demo_opens_the_cockpit_and_shows_the_sums_when_it_is_left() -> None:
    async with terminal("demo", "--modules", "30", within_s=150) as screen:
        await screen.draws(b"Overview")
        await screen.draws(b"live")
        screen.press(b"q")
        await screen.draws(b"/30")
        await screen.draws(b"equal: every module's counts are the same")
        await screen.draws(b"Ctrl-C ends it.")


async def test_asked_to_end_while_the_cockpit_is_open_it_gives_the_terminal_back() -> None:
    async with terminal("demo", "--modules", "30", within_s=150) as screen:
        await screen.draws(b"Overview")
        screen.process.terminate()
        await screen.ended()
        assert screen.state == screen.before
