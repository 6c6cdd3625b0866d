"""The algorithms: each picks one of the eligible servers of a pool. Pure but for its own counters and the given chance."""

import math
from bisect import bisect_right
from collections.abc import Callable, Sequence
from itertools import accumulate
from random import Random
from typing import Protocol

from pointsman.contracts.balancer import Algorithm

TIE = math.log(1.05)
TIES_MAX = 64
LOOKS = 24


class Candidate(Protocol):
    """A server that may take the task now.

    `limit` >= 1 is what it may run now, `maximum` what it was registered with, `turn` where it stands in the round.
    `levels` tells ln of the expected ms / weight by task type, as of the last `look`.
    """

    turn: int

    @property
    def id(self) -> str: ...
    @property
    def weight(self) -> int: ...
    @property
    def limit(self) -> int: ...
    @property
    def maximum(self) -> int: ...
    @property
    def active(self) -> int: ...
    @property
    def levels(self) -> dict[str, float]: ...
    def look(self, task_type: str, now_s: float) -> None: ...


class Wish(Protocol):
    """What the task brings to the choice; the key counts in `rendezvous` alone."""

    @property
    def type(self) -> str: ...
    @property
    def affinity_key(self) -> str | None: ...


class Policy(Protocol):
    def pick[C: Candidate](self, candidates: Sequence[C], wish: Wish, now_s: float, rng: Random) -> C:
        """One of `candidates`: never empty, in the order of their ids."""


class SmoothWeighted:
    """nginx's smooth weighted round robin: 5,1,1 gives a a b a c a a. Who is away keeps its place in the round."""

    def pick[C: Candidate](self, candidates: Sequence[C], wish: Wish, now_s: float, rng: Random) -> C:
        return next_in_round(candidates, [server.weight for server in candidates])


class RoundRobin:
    def pick[C: Candidate](self, candidates: Sequence[C], wish: Wish, now_s: float, rng: Random) -> C:
        return next_in_round(candidates, [1] * len(candidates))


def next_in_round[C: Candidate](candidates: Sequence[C], weights: Sequence[int]) -> C:
    """Everyone moves up by its weight, the first goes back by what all moved up together."""
    raised = [server.turn + weight for server, weight in zip(candidates, weights, strict=True)]
    for server, turn in zip(candidates, raised, strict=True):
        server.turn = turn
    first = candidates[raised.index(max(raised))]
    first.turn -= sum(weights)
    return first


class Lowest:
    """The servers with the lowest cost; ties take turns. Of more than 64 that tie, 64 are looked at, others next time."""

    def __init__(self, costs: Callable[[Sequence[Candidate]], list[float]]) -> None:
        self._costs = costs
        self._seen = 0

    def pick[C: Candidate](self, candidates: Sequence[C], wish: Wish, now_s: float, rng: Random) -> C:
        costs = self._costs(candidates)
        lowest = min(costs)
        tied = [server for server, cost in zip(candidates, costs, strict=True) if cost == lowest]
        return tied[0] if len(tied) == 1 else self._in_turn(tied)

    def _in_turn[C: Candidate](self, tied: Sequence[C]) -> C:
        if len(tied) > TIES_MAX:
            self._seen, tied = next_some(tied, TIES_MAX, self._seen)
        return next_in_round(tied, [server.weight for server in tied])


def next_some[T](among: Sequence[T], count: int, seen: int) -> tuple[int, Sequence[T]]:
    """The next `count` of `among` (which has more) in rotation, and where to go on."""
    start = seen % len(among)
    end = start + count
    return end, [*among[start:end], *among[: max(0, end - len(among))]]


def in_flight(servers: Sequence[Candidate]) -> list[float]:
    return [server.active for server in servers]


def in_flight_by_weight(servers: Sequence[Candidate]) -> list[float]:
    """With the task to come."""
    return [(server.active + 1) / server.weight for server in servers]


def in_use(servers: Sequence[Candidate]) -> list[float]:
    return [server.active / server.limit for server in servers]


class FastestFree:
    """The lowest estimated service time / weight; ties within 5 % by lowest share in use, then in turn.

    Estimates drift while nobody looks. Each pick looks at 24 servers again and takes the others as last seen, so that a
    decision costs about the same whatever the size of the fleet; answers are seen at once.
    """

    def __init__(self) -> None:
        self._ties = Lowest(in_use)
        self._seen = 0

    def pick[C: Candidate](self, candidates: Sequence[C], wish: Wish, now_s: float, rng: Random) -> C:
        task_type, again = wish.type, candidates
        if len(candidates) > LOOKS:
            self._seen, again = next_some(candidates, LOOKS, self._seen)
        for server in again:
            server.look(task_type, now_s)
        costs = _levels(candidates, task_type, now_s)
        bound = min(costs) + TIE
        tied = [server for server, cost in zip(candidates, costs, strict=True) if cost <= bound]
        return tied[0] if len(tied) == 1 else self._ties.pick(tied, wish, now_s, rng)


def _levels(candidates: Sequence[Candidate], task_type: str, now_s: float) -> list[float]:
    try:
        return [server.levels[task_type] for server in candidates]
    except KeyError:
        for server in candidates:
            if task_type not in server.levels:
                server.look(task_type, now_s)
        return [server.levels[task_type] for server in candidates]


class PowerOfTwo:
    """Two draws without replacement, proportional to weight x maxConcurrent; the one with the smaller share in use."""

    def pick[C: Candidate](self, candidates: Sequence[C], wish: Wish, now_s: float, rng: Random) -> C:
        if len(candidates) == 1:
            return candidates[0]
        edges = shares(candidates)
        one = draw(edges, rng)
        first, second = candidates[one], candidates[draw_other(edges, one, rng)]
        return first if first.active / first.limit <= second.active / second.limit else second


class WeightedRandom:
    def pick[C: Candidate](self, candidates: Sequence[C], wish: Wish, now_s: float, rng: Random) -> C:
        return candidates[draw(shares(candidates), rng)]


def shares(candidates: Sequence[Candidate]) -> list[int]:
    """Where each candidate's part of the line ends: its length is weight x maxConcurrent."""
    return list(accumulate(server.weight * server.maximum for server in candidates))


def draw(edges: list[int], rng: Random) -> int:
    return bisect_right(edges, rng.random() * edges[-1], hi=len(edges) - 1)


def draw_other(edges: list[int], taken: int, rng: Random) -> int:
    """A draw from the line with the part of `taken` cut out."""
    start = edges[taken - 1] if taken else 0
    length = edges[taken] - start
    at = rng.random() * (edges[-1] - length)
    return bisect_right(edges, at if at < start else at + length, hi=len(edges) - 1)


class First:
    """The lowest ordinal that has a slot: fills one server before the next."""

    def pick[C: Candidate](self, candidates: Sequence[C], wish: Wish, now_s: float, rng: Random) -> C:
        return candidates[0]


MAKERS: dict[Algorithm, Callable[[], Policy]] = {
    Algorithm.ROUND_ROBIN: RoundRobin,
    Algorithm.WEIGHTED_ROUND_ROBIN: SmoothWeighted,
    Algorithm.LEAST_CONNECTIONS: lambda: Lowest(in_flight),
    Algorithm.WEIGHTED_LEAST_CONNECTIONS: lambda: Lowest(in_flight_by_weight),
    Algorithm.RESPONSE_TIME: FastestFree,
    Algorithm.P2C: PowerOfTwo,
    Algorithm.FIRST: First,
    Algorithm.CONSISTENT_HASH: FastestFree,
    Algorithm.RANDOM: WeightedRandom,
}


def make(algorithm: Algorithm) -> Policy:
    """That of consistent-hash is for tasks without an affinity key."""
    return MAKERS[algorithm]()
