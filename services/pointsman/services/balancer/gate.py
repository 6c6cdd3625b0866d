"""One gate: how many may pass it now, and the lanes of tasks that sleep at it."""

import heapq
import math
from collections.abc import Iterator
from typing import NamedTuple

from pointsman.contracts.explain import Gate as Scope
from pointsman.contracts.limits import Limit
from pointsman.services.balancer.entry import Entry, Requirement
from pointsman.services.balancer.fairness import Shares
from pointsman.services.balancer.token_bucket import TokenBucket
from pointsman.services.balancer.waiting import SPARE, Waiting

Urgency = tuple[int, float, int, str]
"""-priority, start tag of the fairness key, due time, id."""


class GateId(NamedTuple):
    """`name` is that of a type, a concurrency key or a pool; the retries of a pool have a gate of their own."""

    scope: Scope
    name: str


class Wait(NamedTuple):
    """For what a task waits that no free server takes: a certain server, or the time when one may be tried."""

    server_id: str | None = None
    until: int = 0


class LaneId(NamedTuple):
    """What tasks share that wait in one lane; `aside` when the fleet, not a limit, made them wait."""

    gates: tuple[GateId, ...]
    aside: GateId | None
    requirement: Requirement
    priority: int
    fairness_key: str


class Lane(Waiting):
    """Tasks that pass the same gates, while one of these is closed: of one priority and fairness key, by due time."""

    __slots__ = ("_shares", "gate", "id")

    def __init__(self, lane_id: LaneId, shares: Shares) -> None:
        super().__init__()
        self.id = lane_id
        self.gate: Gate | None = None
        self._shares = shares

    def __lt__(self, other: "Lane") -> bool:
        """Only for heaps that hold a lane twice: any order will do."""
        return False

    def urgency(self) -> Urgency | None:
        """Of the first that waits here; None when nobody does."""
        first = self.first()
        if first is None:
            return None
        return -self.id.priority, self._shares.tag(self.id.fairness_key), first[0], first[1]

    def forget(self, entry: Entry) -> bool:
        was_first = super().forget(entry)
        if was_first and self.gate is not None:
            self.gate.keep(self)
        return was_first


class Queue:
    """The lanes of one requirement at one gate.

    `loose` are those released to their line that have not begun yet, with their priorities: another requirement's may
    wait for a server that will not come, so each has as many as there is room for.
    """

    __slots__ = ("_lanes", "_sweep_at", "loose")

    def __init__(self) -> None:
        self.loose: dict[str, int] = {}
        self._lanes: list[tuple[Urgency, Lane]] = []
        self._sweep_at = SPARE

    def keep(self, urgency: Urgency, lane: Lane) -> None:
        heapq.heappush(self._lanes, (urgency, lane))
        if len(self._lanes) > self._sweep_at:
            self._sweep(lane.gate)

    def _sweep(self, gate: "Gate | None") -> None:
        lanes = dict.fromkeys(lane for _, lane in self._lanes if lane.gate is gate)
        self._lanes = [(urgency, lane) for lane in lanes if (urgency := lane.urgency()) is not None]
        heapq.heapify(self._lanes)
        self._sweep_at = 2 * len(self._lanes) + SPARE

    def lanes(self, gate: "Gate") -> Iterator[Lane]:
        """Once each, though the heap may hold one several times."""
        seen: set[LaneId] = set()
        for _, lane in list(self._lanes):
            if lane.gate is gate and lane.id not in seen:
                seen.add(lane.id)
                yield lane

    def first(self, gate: "Gate") -> Lane | None:
        """The lane whose first is the most urgent; what is outdated is mended when it comes up."""
        while self._lanes:
            kept, lane = self._lanes[0]
            urgency = lane.urgency() if lane.gate is gate else None
            if urgency == kept:
                return lane
            if urgency is not None and urgency[2:] == kept[2:]:
                heapq.heapreplace(self._lanes, (urgency, lane))
            else:
                heapq.heappop(self._lanes)
        return None

    def releases(self, priority: int, room: float) -> bool:
        """Whether one more may go to its line: as many as there is room for, and any that should go before these."""
        if len(self.loose) < room:
            return True
        return room >= 1 and min(self.loose.values()) < priority


class Gate:
    __slots__ = ("blocked_until", "bucket", "id", "limit", "queues", "remembered")

    def __init__(self, gate_id: GateId) -> None:
        self.id = gate_id
        self.limit: int | None = None
        self.bucket: TokenBucket | None = None
        self.blocked_until = 0
        self.remembered = 0
        self.queues: dict[Requirement, Queue] = {}

    def bound(self, limit: Limit, now_s: float) -> None:
        self.limit = limit.max_concurrent
        if limit.rate is None:
            self.bucket = None
        elif self.bucket is None:
            self.bucket = TokenBucket(limit.rate, now_s)
        elif self.bucket.rate != limit.rate:
            self.bucket.change(limit.rate, now_s)

    def room(self, running: int, now: int, now_s: float) -> float:
        """How many may begin now."""
        if self.blocked_until > now:
            return 0
        room = math.inf if self.limit is None else max(0, self.limit - running)
        return min(room, self.bucket.whole(now_s)) if self.bucket else room

    def opens_at(self, now: int, now_s: float) -> int | None:
        """When time alone may open it, in ms since the epoch."""
        if self.blocked_until > now:
            return self.blocked_until
        wait_s = self.bucket.wait_s(now_s) if self.bucket else 0.0
        return now + math.ceil(wait_s * 1000) if wait_s > 0 else None

    def bounds_like(self, default: Limit, now: int, now_s: float) -> bool:
        """Whether a gate made anew with this limit would do the same."""
        if self.blocked_until > now or self.limit != default.max_concurrent:
            return False
        if self.bucket is None or default.rate is None:
            return self.bucket is None and default.rate is None
        return self.bucket.rate == default.rate and self.bucket.is_full(now_s)

    def keep(self, lane: Lane) -> None:
        """The lane sleeps here from now on, or its first has changed."""
        lane.gate = self
        urgency = lane.urgency()
        if urgency is not None:
            self.queue(lane.id.requirement).keep(urgency, lane)

    def sleeping(self, requirement: Requirement) -> Iterator[Lane]:
        """Each lane of this requirement that sleeps here; those of now, though more may come while they are counted."""
        queue = self.queues.get(requirement)
        return queue.lanes(self) if queue is not None else iter(())

    def queue(self, requirement: Requirement) -> Queue:
        queue = self.queues.get(requirement)
        if queue is None:
            queue = self.queues[requirement] = Queue()
        return queue

    def left(self, entry: Entry) -> bool:
        """Whether it had been released here."""
        queue = self.queues.get(entry.shape.requirement)
        return queue is not None and queue.loose.pop(entry.id, None) is not None

    def ready(self, room: float) -> Lane | None:
        """A lane of which one may go now."""
        for requirement, queue in list(self.queues.items()):
            lane = queue.first(self)
            if lane is not None and queue.releases(lane.id.priority, room):
                return lane
            if lane is None and not queue.loose:
                del self.queues[requirement]
        return None
