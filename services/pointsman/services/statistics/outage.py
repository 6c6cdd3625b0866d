"""While the archive is away nobody waits for it again: one task looks until it answers."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

from pointsman.services.runtime.loop import Background
from pointsman.services.statistics.store import DatabaseAway

LOOK_AGAIN_S = 1.0


class Outage:
    """`look` raises one of `DatabaseAway` for as long as the outage lasts."""

    def __init__(self, look: Callable[[], Awaitable[None]], background: Background) -> None:
        self._look = look
        self._background = background
        self._watch: asyncio.Task[None] | None = None

    @property
    def lasts(self) -> bool:
        return self._watch is not None and not self._watch.done()

    def note(self) -> None:
        """Something waited for the archive in vain."""
        if not self.lasts:
            self._watch = self._background.run(self._until_back(), "archive awaited")

    async def _until_back(self) -> None:
        while True:
            with suppress(*DatabaseAway):
                await self._look()
                return
            await asyncio.sleep(LOOK_AGAIN_S)
