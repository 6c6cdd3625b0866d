"""Tasks that are due, by requirement class: what cannot be placed never holds up what can."""

import heapq
from collections import deque
from collections.abc import Iterator

from pointsman.services.balancer.entry import Entry, Requirement, State

Ordered = tuple[int, str, Entry]


class Level:
    """One priority of one class: round robin over fairness keys, within a key by due time, then id."""

    def __init__(self) -> None:
        self._heaps: dict[str | None, list[Ordered]] = {}
        self._turns: deque[str | None] = deque()

    def add(self, entry: Entry) -> None:
        heap = self._heaps.get(entry.fairness_key)
        if heap is None:
            heap = self._heaps[entry.fairness_key] = []
            self._turns.append(entry.fairness_key)
        heapq.heappush(heap, (entry.due, entry.id, entry))

    def head(self) -> Entry | None:
        """The next entry; entries that are no longer pending are dropped on the way."""
        while self._turns:
            key = self._turns[0]
            heap = self._heaps[key]
            while heap and not _is_queued(heap[0]):
                heapq.heappop(heap)
            if heap:
                return heap[0][2]
            self._turns.popleft()
            del self._heaps[key]
        return None

    def take(self) -> None:
        """Remove the head and give the turn to the next fairness key."""
        heapq.heappop(self._heaps[self._turns[0]])
        self._turns.rotate(-1)


def _is_queued(ordered: Ordered) -> bool:
    due, _, entry = ordered
    return entry.state is State.PENDING and entry.due == due


class ClassQueue:
    """All pending entries of one requirement class, highest priority first."""

    def __init__(self) -> None:
        self._levels: dict[int, Level] = {}
        self._order: list[int] = []

    def add(self, entry: Entry) -> None:
        priority = entry.shape.priority
        if priority not in self._levels:
            self._levels[priority] = Level()
            self._order = sorted(self._levels, reverse=True)
        self._levels[priority].add(entry)

    def head(self) -> Entry | None:
        for priority in self._order:
            entry = self._levels[priority].head()
            if entry is not None:
                return entry
        return None

    def take(self, entry: Entry) -> None:
        self._levels[entry.shape.priority].take()


class PendingIndex:
    def __init__(self) -> None:
        self._classes: dict[Requirement, ClassQueue] = {}
        self._counts: dict[Requirement, int] = {}
        self.count = 0

    def add(self, entry: Entry) -> None:
        requirement = entry.shape.requirement
        queue = self._classes.get(requirement)
        if queue is None:
            queue = self._classes[requirement] = ClassQueue()
            self._counts[requirement] = 0
        entry.state = State.PENDING
        queue.add(entry)
        self._count(requirement, 1)

    def forget(self, entry: Entry) -> None:
        """The entry is no longer pending; it is dropped from its heap when it comes up."""
        self._count(entry.shape.requirement, -1)

    def take(self, entry: Entry) -> None:
        """Remove the head of its class."""
        self._classes[entry.shape.requirement].take(entry)
        self._count(entry.shape.requirement, -1)

    def heads(self) -> Iterator[Entry]:
        """The next entry of each class that has one."""
        for requirement, queue in list(self._classes.items()):
            entry = queue.head()
            if entry is not None:
                yield entry
            else:
                del self._classes[requirement], self._counts[requirement]

    def by_pool(self) -> dict[str, int]:
        counts: dict[str, int] = {}
        for (pool, _), count in self._counts.items():
            counts[pool] = counts.get(pool, 0) + count
        return counts

    def _count(self, requirement: Requirement, change: int) -> None:
        self._counts[requirement] = self._counts.get(requirement, 0) + change
        self.count += change
