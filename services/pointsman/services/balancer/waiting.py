"""Entries that wait in one place, by due time: any of them may leave, and what has left does not pile up."""

import heapq

from pointsman.services.balancer.entry import Entry

Queued = tuple[int, str, Entry]
SPARE = 64


class Waiting:
    """A heap whose first always waits; others that left are dropped as they come up, or once they are the majority.

    An entry's `place` says whether it waits here. A standby sees every task leave out of turn: it takes none itself.
    """

    __slots__ = ("_heap", "count")

    def __init__(self) -> None:
        self.count = 0
        self._heap: list[Queued] = []

    @property
    def queued(self) -> list[Queued]:
        """All there is; up to half of it, and a few, may wait no longer."""
        return self._heap

    def first(self) -> Queued | None:
        return self._heap[0] if self._heap else None

    def add(self, entry: Entry) -> bool:
        """Whether the entry is now the first."""
        entry.place = self
        self.count += 1
        heapq.heappush(self._heap, (entry.due, entry.id, entry))
        return self._heap[0][2] is entry

    def take(self) -> Entry:
        """Remove the first; there must be one."""
        entry = self._heap[0][2]
        self.forget(entry)
        return entry

    def forget(self, entry: Entry) -> bool:
        """The entry waits no longer; whether it was the first."""
        was_first = self._heap[0][2] is entry
        entry.place = None
        self.count -= 1
        while self._heap and not self._waits(self._heap[0]):
            heapq.heappop(self._heap)
        if len(self._heap) > 2 * self.count + SPARE:
            self._sweep()
        return was_first

    def _sweep(self) -> None:
        self._heap = list({one[1]: one for one in self._heap if self._waits(one)}.values())
        heapq.heapify(self._heap)

    def _waits(self, queued: Queued) -> bool:
        due, _, entry = queued
        return entry.place is self and entry.due == due
