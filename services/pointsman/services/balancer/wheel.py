"""What falls due when, for a million: by the second."""

import heapq

WHEEL_MS = 1_000


class Wheel[K]:
    """Keys by the second in which they fall due; never early, at most a second late. What is over is taken out."""

    def __init__(self) -> None:
        self._slots: dict[int, set[K]] = {}
        self._order: list[int] = []

    def __len__(self) -> int:
        return sum(len(slot) for slot in self._slots.values())

    def add(self, at: int, key: K) -> None:
        second = _second(at)
        slot = self._slots.get(second)
        if slot is None:
            slot = self._slots[second] = set()
            heapq.heappush(self._order, second)
        slot.add(key)

    def discard(self, at: int, key: K) -> None:
        slot = self._slots.get(_second(at))
        if slot is not None:
            slot.discard(key)

    def tidy(self, now: int) -> None:
        """Drop past seconds of which everything was taken out: who never asks what is due would keep them all."""
        while self._order and self._order[0] <= now // WHEEL_MS and not self._slots[self._order[0]]:
            del self._slots[heapq.heappop(self._order)]

    def due(self, now: int) -> list[K]:
        keys: list[K] = []
        while self._order and self._order[0] <= now // WHEEL_MS:
            keys += self._slots.pop(heapq.heappop(self._order))
        return keys


def _second(at: int) -> int:
    return -(-at // WHEEL_MS)
