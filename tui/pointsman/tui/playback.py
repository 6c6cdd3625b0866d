"""A recording instead of the bus: it tells how all ended, and then nothing more. What was before is looked at by replaying."""

import asyncio
from functools import partial

from pointsman.client.bus import Bus
from pointsman.tui.feed import Feed, MakeSource, Tell
from pointsman.tui.options import System
from pointsman.tui.recording import Recording
from pointsman.tui.told import FrameCame, Opened


class Playback:
    def __init__(self, recording: Recording, tell: Tell) -> None:
        self._recording = recording
        self._tell = tell

    @property
    def bus(self) -> Bus | None:
        return None

    async def run(self) -> None:
        self._tell(Opened())
        self._tell(FrameCame(self._recording.last, 0))
        await asyncio.Event().wait()

    def want_snapshot(self) -> None:
        """There is none but the last."""


def source_of(system: System, actor: str) -> MakeSource:
    """Who tells a cockpit: the bus, or a recording."""
    return partial(Feed, system.locate, actor) if system.recording is None else partial(Playback, system.recording)
