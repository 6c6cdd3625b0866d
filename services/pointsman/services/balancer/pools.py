"""What operators set for the pools, types and keys, handed to those who heed it; the pace and retry budget of each pool."""

from collections.abc import Container

from pointsman.contracts.limits import KeySettings, PoolSettings, TypeSettings
from pointsman.services.balancer.fleet import Fleet
from pointsman.services.balancer.pace import PACE_FORGOTTEN, Pace
from pointsman.services.balancer.pending import PendingIndex

DEFAULTS = PoolSettings()
PERCENT = 100


class Pools:
    def __init__(self, fleet: Fleet, pending: PendingIndex) -> None:
        self._fleet = fleet
        self._pending = pending
        self._settings: dict[str, PoolSettings] = {}
        self._first: dict[str, Pace] = {}
        self._all: dict[str, Pace] = {}

    @property
    def all_settings(self) -> dict[str, PoolSettings]:
        """Of the pools that have any."""
        return self._settings

    def settings(self, pool: str) -> PoolSettings:
        return self._settings.get(pool, DEFAULTS)

    def set_pool(self, pool: str, settings: PoolSettings | None, now_s: float) -> None:
        """None goes back to the defaults."""
        self._settings[pool] = settings or DEFAULTS
        if settings is None:
            del self._settings[pool]
        self._fleet.set_pool(pool, self.settings(pool))
        self._pending.fairness.set_weights(pool, self.settings(pool).shares)
        self._pending.gates.set_pool(pool, settings, now_s)
        self._budget(pool, now_s)

    def set_type(self, task_type: str, settings: TypeSettings | None, now_s: float) -> None:
        self._pending.gates.set_type(task_type, settings, now_s)

    def set_key(self, key: str, settings: KeySettings | None, now_s: float) -> None:
        self._pending.gates.set_key(key, settings, now_s)

    def seen(self, pool: str, now_s: float) -> None:
        """A task of this pool is there, or begins."""
        if pool not in self._all:
            self._first[pool], self._all[pool] = Pace(), Pace()
            self._budget(pool, now_s)

    def began(self, pool: str, now_s: float, *, is_retry: bool) -> None:
        self.seen(pool, now_s)
        self._all[pool].count()
        if not is_retry:
            self._first[pool].count()

    def starts_per_s(self, pool: str) -> float:
        return self._all[pool].per_second if pool in self._all else 0.0

    def tick(self, now_s: float, waiting: Container[str] = ()) -> None:
        """Called about once a second with the pools in which tasks wait: others without settings are forgotten at rest."""
        for pool, pace in list(self._all.items()):
            pace.tick(now_s)
            self._first[pool].tick(now_s)
            if pace.per_second < PACE_FORGOTTEN and pool not in self._settings and pool not in waiting:
                self._forget(pool, now_s)
            else:
                self._budget(pool, now_s)

    def _forget(self, pool: str, now_s: float) -> None:
        del self._first[pool], self._all[pool]
        self._pending.fairness.forget(pool)
        self._pending.gates.set_retries(pool, None, now_s)

    def _budget(self, pool: str, now_s: float) -> None:
        """Retries per second: a share of the first attempts, and a few for a pool that does little."""
        settings = self.settings(pool)
        first_per_s = self._first[pool].per_second if pool in self._first else 0.0
        share = settings.retry_percent / PERCENT * first_per_s
        self._pending.gates.set_retries(pool, settings.retries_per_s + share, now_s)
