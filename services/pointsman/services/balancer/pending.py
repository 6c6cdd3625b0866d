"""Tasks that are due: in the line of their requirement when they may pass every gate, parked when not."""

import math
from collections.abc import Callable, Iterable, Iterator
from itertools import chain, islice

from pointsman.services.balancer.entry import Entry, Requirement, State
from pointsman.services.balancer.fairness import Fairness
from pointsman.services.balancer.gate import Gate, Lane, Wait
from pointsman.services.balancer.gates import Gates
from pointsman.services.balancer.lines import Line, Order
from pointsman.services.balancer.waiting import Waiting

PARKED_AT_ONCE_MAX = 500
LOOKED_AT_MAX = 5_000


class PendingIndex:
    """`now` in ms since the epoch, `now_s` monotonic."""

    def __init__(self, free_slots: Callable[[str], float] = lambda _: math.inf) -> None:
        self.fairness = Fairness()
        self.gates = Gates(self.fairness, free_slots)
        self.count = 0
        self._lines: dict[Requirement, Line] = {}
        self._counts: dict[Requirement, int] = {}
        self._is_unsettled = False

    def add(self, entry: Entry, now: int, now_s: float) -> None:
        requirement = entry.shape.requirement
        self._counts[requirement] = self._counts.get(requirement, 0) + 1
        self.count += 1
        self._queue(entry, now, now_s)

    def forget(self, entry: Entry) -> None:
        """The entry is no longer pending."""
        if isinstance(entry.place, Lane):
            self.gates.unpark(entry, entry.place)
        else:
            self._leave_line(entry)
        self.gates.gone(entry)
        self._uncount(entry)

    def begin(self, entry: Entry, now_s: float) -> None:
        """The head of a line begins: at the expense of its fairness key and its rates."""
        self._lines[entry.shape.requirement].forget(entry)
        self._uncount(entry)
        self.gates.left(entry)
        self.gates.spend(entry, now_s)
        self.fairness.charge(entry.shape.pool, entry.shape.priority, entry.fairness_key)

    def lines(self, now: int, now_s: float) -> Iterator[Line]:
        """The lines of open pools in which somebody waits, after everybody whose gate has opened is back in one."""
        for entry in self.gates.unparked(now, now_s):
            self._queue(entry, now, now_s)
        self._is_unsettled = self.gates.is_dirty
        for requirement, line in list(self._lines.items()):
            if not line.count:
                del self._lines[requirement]
            elif self.gates.pool_is_open(line.pool, now, now_s):
                yield line

    def head(self, line: Line, now: int, now_s: float) -> tuple[Order, Entry] | None:
        """The first of the line that may pass; those before it are parked."""
        for _ in range(PARKED_AT_ONCE_MAX):
            found = line.head()
            if found is None:
                return None
            gate = self.gates.closed(found[1], now, now_s)
            if gate is None:
                return found
            line.forget(found[1])
            self.gates.left(found[1])
            self.gates.park(found[1], gate, now, now_s)
        self._is_unsettled = True
        return None

    def set_aside(self, entry: Entry, wait: Wait, now: int, now_s: float) -> Line:
        """The head of a line cannot be placed for a reason of its own; the line it stood in."""
        line = self._lines[entry.shape.requirement]
        line.forget(entry)
        self.gates.left(entry)
        if wait.server_id is not None:
            self.gates.await_server(entry, wait.server_id, now, now_s)
        else:
            self.gates.await_release(entry, wait.until, now, now_s)
        return line

    def stop_short(self) -> None:
        """Not everybody was looked at: another look is due at once."""
        self._is_unsettled = True

    @property
    def is_unsettled(self) -> bool:
        """Whether the last look at the lines stopped before its end, so that another is due at once."""
        return self._is_unsettled

    def gate_of(self, entry: Entry, now: int, now_s: float) -> Gate | None:
        """The closed gate that a pending entry waits at, if it does."""
        if isinstance(entry.place, Lane) and entry.place.gate is not None:
            return self.gates.closed(entry, now, now_s) or entry.place.gate
        return self.gates.closed(entry, now, now_s)

    def line(self, requirement: Requirement) -> Line | None:
        return self._lines.get(requirement)

    def by_class(self) -> dict[Requirement, int]:
        return dict(self._counts)

    def by_pool(self) -> dict[str, int]:
        counts: dict[str, int] = {}
        for (pool, _), count in self._counts.items():
            counts[pool] = counts.get(pool, 0) + count
        return counts

    def oldest(self) -> tuple[dict[str, int], int | None]:
        """When the longest waiting fell due: of each pool's lines, and of all, those at closed gates included.

        Of very many fairness keys only those are looked at that have waited longest without a break.
        """
        of_pools: dict[str, int] = {}
        for line in self._lines.values():
            due = _oldest(chain.from_iterable(level.by_key.values() for level in line.levels.values()))
            if due is not None:
                of_pools[line.pool] = min(due, of_pools.get(line.pool, due))
        parked = _oldest(self.gates.lanes())
        return of_pools, min((*of_pools.values(), *(() if parked is None else (parked,))), default=None)

    def _queue(self, entry: Entry, now: int, now_s: float) -> None:
        entry.state = State.PENDING
        gate = self.gates.closed(entry, now, now_s)
        if gate is not None:
            self.gates.park(entry, gate, now, now_s)
            return
        requirement = entry.shape.requirement
        line = self._lines.get(requirement)
        if line is None or not line.count:
            line = self._lines[requirement] = Line(requirement, self.fairness)
        line.add(entry)

    def _leave_line(self, entry: Entry) -> None:
        line = self._lines[entry.shape.requirement]
        line.forget(entry)
        if not line.count:
            del self._lines[entry.shape.requirement]
        self.gates.left(entry)

    def _uncount(self, entry: Entry) -> None:
        requirement = entry.shape.requirement
        self.count -= 1
        self._counts[requirement] -= 1
        if not self._counts[requirement]:
            del self._counts[requirement]


def _oldest(waiting: Iterable[Waiting]) -> int | None:
    firsts = (one.first() for one in islice(waiting, LOOKED_AT_MAX))
    return min((first[0] for first in firsts if first is not None), default=None)
