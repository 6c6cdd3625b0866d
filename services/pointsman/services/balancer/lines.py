"""Tasks that are due, in one line per requirement: what cannot be placed never holds up what can."""

import heapq

from pointsman.services.balancer.entry import Entry, Requirement
from pointsman.services.balancer.fairness import Fairness, Shares

Queued = tuple[int, str, Entry]
Order = tuple[int, float, int, str]
"""What goes first: -priority, start tag of its fairness key, due time, id."""


class Level:
    """One priority of one line: a heap per fairness key, and a heap of their heads by start tag.

    A head in `_heads` that is outdated (taken, no longer waiting, its key's tag moved on) is mended when it comes up.
    """

    def __init__(self, shares: Shares) -> None:
        self._shares = shares
        self._heaps: dict[str, list[Queued]] = {}
        self._heads: list[tuple[float, int, str, str]] = []

    def add(self, entry: Entry) -> None:
        heap = self._heaps.setdefault(entry.fairness_key, [])
        queued = (entry.due, entry.id, entry)
        heapq.heappush(heap, queued)
        if heap[0] is queued:
            self._show(queued)

    def head(self) -> tuple[float, Entry] | None:
        """The next entry and the start tag of its key."""
        while self._heads:
            tag, due, entry_id, key = self._heads[0]
            heap = self._heaps.get(key)
            if not heap or (due, entry_id) != heap[0][:2]:
                heapq.heappop(self._heads)
            elif not self._waits(heap[0]):
                self._next(key, heap)
            elif tag < self._shares.tag(key):
                self._show(heap[0], in_place=True)
            else:
                return tag, heap[0][2]
        return None

    def take(self, entry: Entry) -> None:
        """Remove the head."""
        self._next(entry.fairness_key, self._heaps[entry.fairness_key])

    @property
    def queued(self) -> dict[str, list[Queued]]:
        """All there is, by fairness key; it may hold entries that no longer wait."""
        return self._heaps

    def _next(self, key: str, heap: list[Queued]) -> None:
        heapq.heappop(heap)
        if heap:
            self._show(heap[0])
        else:
            del self._heaps[key]

    def _show(self, queued: Queued, *, in_place: bool = False) -> None:
        """As it was queued: its entry may be due at another time by now, and then it is dropped when it comes up."""
        due, entry_id, entry = queued
        head = (self._shares.tag(entry.fairness_key), due, entry_id, entry.fairness_key)
        put = heapq.heapreplace if in_place else heapq.heappush
        put(self._heads, head)

    def _waits(self, queued: Queued) -> bool:
        due, _, entry = queued
        return entry.place is self and entry.due == due


class Line:
    """All waiting entries of one requirement, highest priority first."""

    def __init__(self, requirement: Requirement, fairness: Fairness) -> None:
        self.requirement = requirement
        self.count = 0
        self.levels: dict[int, Level] = {}
        self._fairness = fairness
        self._priorities: list[int] = []

    @property
    def pool(self) -> str:
        return self.requirement[0]

    def add(self, entry: Entry) -> None:
        priority = entry.shape.priority
        level = self.levels.get(priority)
        if level is None:
            level = self.levels[priority] = Level(self._fairness.of(self.pool, priority))
            self._priorities = sorted(self.levels, reverse=True)
        entry.place = level
        level.add(entry)
        self.count += 1

    def head(self) -> tuple[Order, Entry] | None:
        for priority in self._priorities:
            found = self.levels[priority].head()
            if found is not None:
                tag, entry = found
                return (-priority, tag, entry.due, entry.id), entry
        return None

    def take(self, entry: Entry) -> None:
        """Remove the head."""
        self.levels[entry.shape.priority].take(entry)
        self.forget(entry)

    def forget(self, entry: Entry) -> None:
        """The entry waits here no longer; it is dropped from its heap when it comes up."""
        entry.place = None
        self.count -= 1
