"""Admission: a backlog that is full refuses new tasks early, and says when there may be room.

The leader tells once a second what waits. Until it tells again, a replica adds what it accepted itself and takes off what
has probably left since, so one replica overshoots by what is on its way to the leader (milliseconds); of R replicas
each knows only its own, so together they may overshoot by what R-1 of them accept between two frames.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from pointsman.contracts.balancer import LoadFrame, PoolLoad
from pointsman.contracts.errors import overloaded
from pointsman.contracts.limits import PoolSettings, in_force

RETRY_S_MAX, RETRY_S_UNKNOWN = 300, 30
FRAME_S = 1.0
DETAIL_NAME_LENGTH_MAX = 100

Line = tuple[str, str | None]
"""A pool, or one owner's part of it."""

EVERYTHING: Line = "", None


@dataclass(slots=True)
class Count:
    """Of one line since the last frame: accepted here, and on its way to be."""

    accepted: int = 0
    in_flight: int = 0


@dataclass(frozen=True, slots=True)
class Bound:
    line: Line
    limit: int
    waiting: int
    drain_per_s: float
    left: int


@dataclass(slots=True)
class Admission:
    """`limit` bounds all that wait, wherever."""

    limit: int
    _pools: dict[str, PoolSettings] = field(default_factory=dict)
    _frame: LoadFrame | None = None
    _heard_s: float = 0.0
    _counts: dict[Line, Count] = field(default_factory=dict)

    def heard(self, frame: LoadFrame, now_s: float) -> None:
        """The leader told what waits; it knows of all that was accepted before."""
        self._frame, self._heard_s = frame, now_s
        self._counts = {
            line: Count(in_flight=count.in_flight) for line, count in self._counts.items() if count.in_flight
        }

    def set_pool(self, pool: str, stored: PoolSettings | None) -> None:
        settings = in_force(stored)
        if settings is None:
            self._pools.pop(pool, None)
        else:
            self._pools[pool] = settings

    @contextmanager
    def admit(self, pool: str, owner: str, now_s: float) -> Iterator[None]:
        """Hold a place while the task is written; 429 when there is none. What raises has taken no place."""
        bounds = self._bounds(pool, owner)
        for bound in bounds:
            self._check(bound, now_s)
        lines = [bound.line for bound in bounds]
        for line in lines:
            self._counts.setdefault(line, Count()).in_flight += 1
        taken = 0
        try:
            yield
            taken = 1
        finally:
            for line in lines:
                count = self._counts.setdefault(line, Count())
                count.in_flight -= 1
                count.accepted += taken

    def check(self, pool: str, owner: str, now_s: float) -> None:
        for bound in self._bounds(pool, owner):
            self._check(bound, now_s)

    def _bounds(self, pool: str, owner: str) -> list[Bound]:
        frame = self._frame
        bounds = [Bound(EVERYTHING, self.limit, frame.pending if frame else 0, frame.drain_per_s if frame else 0.0, 0)]
        settings = self._pools.get(pool)
        if settings is None:
            return bounds
        load = frame.pools.get(pool, NO_LOAD) if frame else NO_LOAD
        if settings.max_backlog is not None:
            bounds.append(Bound((pool, None), settings.max_backlog, load.waiting, load.drain_per_s, load.left))
        if settings.max_backlog_per_owner is not None:
            waiting = load.owners.get(owner, 0)
            share = waiting / load.waiting if load.waiting else 0.0
            bounds.append(Bound((pool, owner), settings.max_backlog_per_owner, waiting, load.drain_per_s * share, 0))
        return bounds

    def _check(self, bound: Bound, now_s: float) -> None:
        count = self._counts.get(bound.line) or Count()
        passed_s = min(max(now_s - self._heard_s, 0.0), FRAME_S)
        gone = math.floor(max(bound.drain_per_s, bound.left) * passed_s)
        waiting = max(0, bound.waiting + count.accepted - gone) + count.in_flight
        if waiting < bound.limit:
            return
        excess = waiting - bound.limit + 1
        raise overloaded(_detail(bound, waiting), retry_after_s(excess, max(bound.drain_per_s, bound.left)))


NO_LOAD = PoolLoad(waiting=0, drain_per_s=0.0)


def retry_after_s(excess: int, drain_per_s: float) -> int:
    """When as many will have ended, in 1 to 300 s; 30 s when none ended lately: a pool that just begins has no pace yet."""
    if drain_per_s <= 0:
        return RETRY_S_UNKNOWN
    if excess >= drain_per_s * RETRY_S_MAX:
        return RETRY_S_MAX
    return max(1, math.ceil(excess / drain_per_s))


def _detail(bound: Bound, waiting: int) -> str:
    pool, owner = bound.line
    whose = "" if owner is None else f" of {owner[:DETAIL_NAME_LENGTH_MAX]}"
    where = f" in pool {pool}" if pool else ""
    return f"{waiting} tasks{whose} wait{where}, the limit is {bound.limit}; {bound.drain_per_s:.1f} end per second"
