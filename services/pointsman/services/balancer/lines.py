"""Tasks that are due, in one line per requirement: what cannot be placed never holds up what can."""

import heapq

from pointsman.services.balancer.entry import Entry, Requirement
from pointsman.services.balancer.fairness import Fairness, Shares
from pointsman.services.balancer.waiting import SPARE, Queued, Waiting

Order = tuple[int, float, int, str]
"""What goes first: -priority, start tag of its fairness key, due time, id."""


class Level:
    """One priority of one line: those that wait per fairness key, and a heap of the first of each by start tag.

    A head in `_heads` that is outdated (no longer the first of its key, its key's tag moved on) is mended when it comes up.
    """

    def __init__(self, shares: Shares) -> None:
        self._shares = shares
        self._heads: list[tuple[float, int, str, str]] = []
        self.by_key: dict[str, Waiting] = {}

    def add(self, entry: Entry) -> None:
        waiting = self.by_key.get(entry.fairness_key)
        if waiting is None:
            waiting = self.by_key[entry.fairness_key] = Waiting()
        if waiting.add(entry):
            self._show(entry.fairness_key, waiting)

    def head(self) -> tuple[float, Entry] | None:
        """The next entry and the start tag of its key."""
        while self._heads:
            tag, due, entry_id, key = self._heads[0]
            waiting = self.by_key.get(key)
            first = waiting.first() if waiting is not None else None
            if first is None or (due, entry_id) != first[:2]:
                heapq.heappop(self._heads)
            elif tag < self._shares.tag(key):
                heapq.heapreplace(self._heads, self._head(key, first))
            else:
                return tag, first[2]
        return None

    def forget(self, entry: Entry) -> None:
        """The entry waits here no longer."""
        key = entry.fairness_key
        waiting = self.by_key[key]
        was_first = waiting.forget(entry)
        if not waiting.count:
            del self.by_key[key]
        elif was_first:
            self._show(key, waiting)

    def _show(self, key: str, waiting: Waiting) -> None:
        first = waiting.first()
        if first is not None:
            heapq.heappush(self._heads, self._head(key, first))
        if len(self._heads) > 2 * len(self.by_key) + SPARE:
            firsts = ((name, one.first()) for name, one in self.by_key.items())
            self._heads = [self._head(name, first) for name, first in firsts if first is not None]
            heapq.heapify(self._heads)

    def _head(self, key: str, first: Queued) -> tuple[float, int, str, str]:
        return self._shares.tag(key), first[0], first[1], key


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
        level.add(entry)
        self.count += 1

    def head(self) -> tuple[Order, Entry] | None:
        for priority in self._priorities:
            found = self.levels[priority].head()
            if found is not None:
                tag, entry = found
                return (-priority, tag, entry.due, entry.id), entry
        return None

    def forget(self, entry: Entry) -> None:
        """The entry waits here no longer, be it the head or any other."""
        self.levels[entry.shape.priority].forget(entry)
        self.count -= 1
