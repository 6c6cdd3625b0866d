"""One picture of the cockpit, as text or SVG, without a terminal."""

import asyncio
import re

from pointsman.tui.app import Cockpit
from pointsman.tui.link import State
from pointsman.tui.options import Options

REMOTE_FONTS = re.compile(r"\s*@font-face \{[^}]*\}|<!--.*?-->")
SETTLE_S = 0.6
POLL_S = 0.05


class NothingTold(Exception):
    """No frame came in time."""


async def snapshot(options: Options, form: str, size: tuple[int, int], timeout_s: float) -> str:
    """Raises NothingTold."""
    app = Cockpit(options)
    async with app.run_test(size=size) as pilot:
        try:
            async with asyncio.timeout(timeout_s):
                while not app.model.is_known:
                    if app.link.state is State.DENIED:
                        raise NothingTold(app.link.refused)
                    await asyncio.sleep(POLL_S)
        except TimeoutError:
            why = f" ({app.link.reason})" if app.link.reason else ""
            raise NothingTold(f"no frame within {timeout_s:g} s: the link is {app.link.state}{why}") from None
        await asyncio.sleep(SETTLE_S)
        await pilot.pause()
        return svg_of(app) if form == "svg" else text_of(app)


def svg_of(app: Cockpit) -> str:
    """The screen as a picture that needs nothing from elsewhere: the library's would fetch its font from the net."""
    return REMOTE_FONTS.sub("", app.export_screenshot())


def text_of(app: Cockpit) -> str:
    """The screen as text, without blanks at the ends of lines."""
    lines = app.screen._compositor.render_strips()
    return "\n".join("".join(segment.text for segment in line).rstrip() for line in lines).rstrip() + "\n"
