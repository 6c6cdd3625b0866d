"""Retention: one elected process drops the days that are older than the setting says, within a minute."""

import structlog

from pointsman.services.history.rules import day_of
from pointsman.services.history.store import DatabaseAway, HistoryStore
from pointsman.services.runtime.clock import Clock
from pointsman.services.runtime.leader import Leadership

log = structlog.get_logger()


class Retention:
    """`days` = 0 keeps everything. Dead letters and the audit trail are kept."""

    def __init__(self, store: HistoryStore, leadership: Leadership, clock: Clock, days: int) -> None:
        self._store = store
        self._leadership = leadership
        self._clock = clock
        self._days = days

    async def step(self) -> None:
        """A day is dropped when all of it is older than so many days; nothing while Postgres is away."""
        if not self._days or not self._leadership.is_leader():
            return
        day = day_of(self._clock.now_ms()) - self._days
        try:
            dropped = await self._store.drop_days_before(day)
        except DatabaseAway as error:
            log.warning("retention waits", error=str(error) or type(error).__name__)
            return
        if dropped:
            log.info("days dropped", partitions=dropped)
