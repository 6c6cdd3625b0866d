"""How many tasks wait, per pool and owner, and how fast they leave: what admission is decided by."""

from heapq import nlargest

from pointsman.contracts.balancer import PoolLoad
from pointsman.contracts.limits import PoolSettings
from pointsman.services.balancer.entry import Entry
from pointsman.services.balancer.pace import PACE_FORGOTTEN, Pace

OWNERS_TOLD_MAX = 100
OWNER_SHARE_MIN = 0.01


class Backlog:
    def __init__(self) -> None:
        self._waiting: dict[str, dict[str, int]] = {}
        self._counts: dict[str, int] = {}
        self._ended: dict[str, Pace] = {}
        self._leaving: dict[str, int] = {}
        self._left: dict[str, int] = {}
        self._all = Pace()

    @property
    def drain_per_s(self) -> float:
        return self._all.per_second

    def pools(self) -> set[str]:
        return set(self._counts)

    def count(self, pool: str) -> int:
        return self._counts.get(pool, 0)

    def came(self, entry: Entry) -> None:
        """The entry waits from now on, be it for its time, a limit or a slot."""
        pool, owner = entry.shape.pool, entry.owner
        owners = self._waiting.setdefault(pool, {})
        owners[owner] = owners.get(owner, 0) + 1
        self._counts[pool] = self._counts.get(pool, 0) + 1

    def left(self, entry: Entry) -> None:
        """It waits no longer: it begins, or has ended."""
        pool, owner = entry.shape.pool, entry.owner
        owners = self._waiting[pool]
        owners[owner] -= 1
        self._counts[pool] -= 1
        self._leaving[pool] = self._leaving.get(pool, 0) + 1
        if not owners[owner]:
            del owners[owner]
        if not self._counts[pool]:
            del self._counts[pool], self._waiting[pool]

    def ended(self, pool: str) -> None:
        self._ended.setdefault(pool, Pace()).count()
        self._all.count()

    def tick(self, now_s: float) -> None:
        """Called about once a second; a pool that has come to rest is forgotten."""
        self._all.tick(now_s)
        self._left, self._leaving = self._leaving, {}
        for pool, pace in list(self._ended.items()):
            pace.tick(now_s)
            if pace.per_second < PACE_FORGOTTEN and pool not in self._counts:
                del self._ended[pool]

    def told(self, settings: dict[str, PoolSettings]) -> dict[str, PoolLoad]:
        """Of each pool with a bound."""
        return {pool: self._load(pool, one) for pool, one in settings.items() if _is_bounded(one)}

    def _load(self, pool: str, settings: PoolSettings) -> PoolLoad:
        pace = self._ended.get(pool)
        return PoolLoad(
            waiting=self.count(pool),
            drain_per_s=round(pace.per_second, 3) if pace else 0.0,
            left=self._left.get(pool, 0),
            owners=self._owners(pool, settings.max_backlog_per_owner),
        )

    def _owners(self, pool: str, bound: int | None) -> dict[str, int]:
        """The owners with the most waiting, above 1 % of their bound."""
        if bound is None:
            return {}
        floor = bound * OWNER_SHARE_MIN
        many = ((owner, count) for owner, count in self._waiting.get(pool, {}).items() if count > floor)
        return dict(nlargest(OWNERS_TOLD_MAX, many, key=lambda one: one[1]))


def _is_bounded(settings: PoolSettings) -> bool:
    return settings.max_backlog is not None or settings.max_backlog_per_owner is not None
