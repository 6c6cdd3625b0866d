"""Who is next among fairness keys: start-time fair queueing, so that a key's share follows its weight, not its backlog.

Each key ("" for none) carries the start tag of its next task (Goyal, Vin, Cheng 1996). The smallest goes first and moves on by
1 / weight; a key that had nothing waiting starts at the present, so that silence saves nothing up.
"""

from collections.abc import Mapping

SWEEP_AT = 256


class Shares:
    """The tags of one pool and priority, whatever classes its tasks are in."""

    def __init__(self) -> None:
        self._tags: dict[str, float] = {}
        self._now = 0.0
        self._sweep_at = SWEEP_AT

    def tag(self, key: str) -> float:
        return max(self._tags.get(key, self._now), self._now)

    def charge(self, key: str, weight: float) -> None:
        """One task of this key begins."""
        start = self.tag(key)
        self._now = max(self._now, start)
        self._tags[key] = start + 1 / weight
        if len(self._tags) >= self._sweep_at:
            self._sweep()

    def _sweep(self) -> None:
        """A key that the present has caught up with is like one never seen."""
        self._tags = {key: tag for key, tag in self._tags.items() if tag > self._now}
        self._sweep_at = max(SWEEP_AT, 2 * len(self._tags))


class Fairness:
    """All shares, and the weights that operators gave to keys."""

    def __init__(self) -> None:
        self._shares: dict[tuple[str, int], Shares] = {}
        self._weights: dict[str, Mapping[str, int]] = {}

    def set_weights(self, pool: str, weights: Mapping[str, int]) -> None:
        self._weights[pool] = weights

    def of(self, pool: str, priority: int) -> Shares:
        shares = self._shares.get((pool, priority))
        if shares is None:
            shares = self._shares[pool, priority] = Shares()
        return shares

    def forget(self, pool: str) -> None:
        """Nobody waits in this pool, and nobody began there lately."""
        for known in [one for one in self._shares if one[0] == pool]:
            del self._shares[known]

    def weight(self, pool: str, key: str) -> int:
        weights = self._weights.get(pool)
        return weights.get(key, 1) if weights else 1

    def charge(self, pool: str, priority: int, key: str) -> None:
        self.of(pool, priority).charge(key, self.weight(pool, key))
