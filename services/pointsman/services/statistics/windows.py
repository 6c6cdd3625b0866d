"""Sums over the last seconds, in slots: what leaves the window is taken off again. Pure; the slot by argument."""

from collections import deque
from collections.abc import Mapping, Sequence

from pointsman.contracts.flow import Histogram, add, subtract


class Sums:
    """Several counts over the last `width` slots."""

    __slots__ = ("_slots", "_width", "total")

    def __init__(self, width: int, counts: int) -> None:
        self._width = width
        self._slots: deque[tuple[int, list[int]]] = deque()
        self.total = [0] * counts

    def add(self, slot: int, counts: Sequence[int]) -> None:
        self.forget(slot)
        if not self._slots or self._slots[-1][0] != slot:
            self._slots.append((slot, [0] * len(self.total)))
        kept = self._slots[-1][1]
        for at, count in enumerate(counts):
            kept[at] += count
            self.total[at] += count

    def forget(self, slot: int) -> None:
        """Slots that the window of `slot` holds no longer."""
        while self._slots and self._slots[0][0] <= slot - self._width:
            for at, count in enumerate(self._slots.popleft()[1]):
                self.total[at] -= count


class Spread:
    """A histogram over the last `width` slots."""

    __slots__ = ("_slots", "_width", "total")

    def __init__(self, width: int) -> None:
        self._width = width
        self._slots: deque[tuple[int, Histogram]] = deque()
        self.total: Histogram = {}

    def add(self, slot: int, counts: Mapping[int, int]) -> None:
        self.forget(slot)
        if not counts:
            return
        if not self._slots or self._slots[-1][0] != slot:
            self._slots.append((slot, {}))
        add(self._slots[-1][1], counts)
        add(self.total, counts)

    def forget(self, slot: int) -> None:
        while self._slots and self._slots[0][0] <= slot - self._width:
            subtract(self.total, self._slots.popleft()[1])
