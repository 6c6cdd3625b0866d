"""Folding: what triggers noted of each commit moves into the rollups, soon after it and in bounded steps."""

import asyncio

import structlog

from pointsman.services.history.store import DatabaseAway, HistoryStore

log = structlog.get_logger()

STEP_MAX = 50_000
PAUSE_S = 1.0
VACUUM_AFTER = 200_000


class Folding:
    """Reports add what is not folded yet, so nothing depends on when this runs, only how much they have to add."""

    def __init__(self, store: HistoryStore) -> None:
        self._store = store
        self._news = asyncio.Event()
        self._news.set()
        self._since_vacuum = 0

    def note(self) -> None:
        """Something was committed."""
        self._news.set()

    async def step(self) -> None:
        """Fold what is there; once at the start, for what an earlier process left."""
        await self._news.wait()
        self._news.clear()
        try:
            while await self._fold() >= STEP_MAX:
                pass
        except DatabaseAway as error:
            log.debug("folding waits", error=str(error) or type(error).__name__)
            self._news.set()
        await asyncio.sleep(PAUSE_S)

    async def _fold(self) -> int:
        folded = await self._store.fold(STEP_MAX)
        self._since_vacuum += folded
        if self._since_vacuum >= VACUUM_AFTER:
            self._since_vacuum = 0
            await self._store.vacuum_notes()
        return folded
