"""A picture of the cockpit that one can attach to a ticket."""

import re

from pointsman.tui.snapshot import svg_of, text_of
from tests.support.cockpits import cockpit


async def test_a_picture_shows_the_screen_and_needs_nothing_from_elsewhere() -> None:
    async with cockpit() as seat:
        await seat.sees("task flow")
        picture = svg_of(seat.app)
    words = re.sub(r"<[^>]+>", "", picture).replace("&#160;", " ")
    assert "task flow, last 10 s" in words
    assert "needs attention" in words
    assert set(re.findall(r"https?://[^/\"]+", picture)) == {"http://www.w3.org"}


async def test_as_text_it_is_as_wide_as_asked_for() -> None:
    async with cockpit(size=(100, 30)) as seat:
        await seat.sees("task flow")
        lines = text_of(seat.app).splitlines()
    assert len(lines) <= 30
    assert max(map(len, lines)) == 100
