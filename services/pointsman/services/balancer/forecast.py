"""What an algorithm would make of a pool: its own policy decides over copies of the servers, on simulated arrivals. Pure."""

import asyncio
import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from heapq import heappop, heappush
from random import Random
from statistics import median

from pointsman.contracts.balancer import Algorithm
from pointsman.services.balancer.policies import make
from pointsman.services.balancer.server_state import ServerState

PICKS_PER_SERVER, PICKS_MIN, PICKS_MAX = 20, 500, 4_000
PICKS_AT_A_TIME = 25
SERVICE_MS_UNKNOWN = 100.0
IDLE_SHARE = 0.05
WARM_UP = 0.2
SEED = 7


@dataclass(slots=True)
class Stand:
    """A server as a policy sees it; its service time is what was estimated when the forecast began."""

    id: str
    weight: int
    limit: int
    maximum: int
    priority: int
    service_ms: float
    active: int = 0
    turn: int = 0
    levels: dict[str, float] = field(default_factory=dict)

    def look(self, task_type: str, now_s: float) -> None:
        self.levels[task_type] = math.log(self.service_ms) - math.log(self.weight)


@dataclass(frozen=True, slots=True)
class AnyTask:
    type: str = ""
    affinity_key: str | None = None


def stands(servers: Iterable[ServerState], now_s: float) -> list[Stand]:
    """Those that serve, by id; one that was never tried is taken to be as fast as the others."""
    serving = sorted((one for one in servers if one.serves and one.limit > 0), key=lambda one: one.id)
    known = {one.id: ms for one in serving if (ms := one.estimator.read_ms("", now_s)) > 0}
    usual = median(known.values()) if known else SERVICE_MS_UNKNOWN
    return [
        Stand(
            id=one.id,
            weight=one.weight,
            limit=one.limit,
            maximum=one.maximum,
            priority=one.config.priority,
            service_ms=known.get(one.id, usual),
        )
        for one in serving
    ]


def pace(servers: Sequence[Stand], per_s: float) -> float:
    """Starts per second to simulate: as measured, but at most what the servers can do and at least a little of it."""
    capacity = sum(one.limit / one.service_ms * 1000 for one in servers)
    return min(max(per_s, capacity * IDLE_SHARE), capacity)


async def shares(algorithm: Algorithm, servers: Sequence[Stand], per_s: float) -> dict[str, float]:
    """The part (0-1) of the tasks that each would get; others have their turn in between."""
    policy, rng, wish = make(algorithm), Random(SEED), AnyTask()
    fleet = [_fresh(one) for one in servers]
    wanted = min(max(PICKS_PER_SERVER * len(fleet), PICKS_MIN), PICKS_MAX) if fleet else 0
    ends: list[tuple[float, int]] = []
    place = {one.id: number for number, one in enumerate(fleet)}
    counted: Counter[str] = Counter()
    now_s = 0.0
    for pick in range(wanted):
        now_s += rng.expovariate(per_s)
        now_s = _ended(fleet, ends, now_s)
        chosen = policy.pick(_free(fleet), wish, now_s, rng)
        chosen.active += 1
        heappush(ends, (now_s + chosen.service_ms / 1000, place[chosen.id]))
        if pick >= wanted * WARM_UP:
            counted[chosen.id] += 1
        if pick % PICKS_AT_A_TIME == 0:
            await asyncio.sleep(0)
    total = counted.total()
    return {one.id: counted[one.id] / total for one in fleet}


def _fresh(one: Stand) -> Stand:
    return Stand(one.id, one.weight, one.limit, one.maximum, one.priority, one.service_ms)


def _ended(fleet: Sequence[Stand], ends: list[tuple[float, int]], now_s: float) -> float:
    """Give back what has ended by now; with no slot free, wait for the next end."""
    while ends and (ends[0][0] <= now_s or all(one.active >= one.limit for one in fleet)):
        at_s, number = heappop(ends)
        fleet[number].active -= 1
        now_s = max(now_s, at_s)
    return now_s


def _free(fleet: Sequence[Stand]) -> list[Stand]:
    """Of the highest priority that has a slot."""
    free = [one for one in fleet if one.active < one.limit]
    top = max(one.priority for one in free)
    return [one for one in free if one.priority == top]
