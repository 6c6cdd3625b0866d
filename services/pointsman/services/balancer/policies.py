"""The algorithms: each picks one of the eligible servers of a pool. Pure but for its own counters and the given chance."""

import hashlib
import math
from bisect import bisect_right
from collections.abc import Callable, Sequence
from itertools import accumulate
from operator import add
from random import Random
from typing import Protocol

from pointsman.contracts.balancer import Algorithm
from pointsman.services.balancer.estimator import Estimator

TIE = 1.05
LOAD_BOUND = 1.25


class Candidate(Protocol):
    """A server that may take the task now. `ordinal` is its rank by id, `limit` >= 1 its effective limit."""

    @property
    def id(self) -> str: ...
    @property
    def ordinal(self) -> int: ...
    @property
    def weight(self) -> int: ...
    @property
    def limit(self) -> int: ...
    @property
    def active(self) -> int: ...
    @property
    def estimator(self) -> Estimator: ...


class Wish(Protocol):
    """What the task brings to the choice."""

    @property
    def type(self) -> str: ...
    @property
    def affinity_key(self) -> str | None: ...


class Policy(Protocol):
    def pick[C: Candidate](self, candidates: Sequence[C], wish: Wish, now_s: float, rng: Random) -> C:
        """One of `candidates` (never empty)."""


class SmoothWeighted:
    """nginx's smooth weighted round robin: 5,1,1 gives a a b a c a a. State survives a change of members."""

    def __init__(self, weight: Callable[[Candidate], int] = lambda server: server.weight) -> None:
        self._weight = weight
        self._current: dict[str, float] = {}

    def pick[C: Candidate](self, candidates: Sequence[C], wish: Wish, now_s: float, rng: Random) -> C:
        ids = [server.id for server in candidates]
        weights = [self._weight(server) for server in candidates]
        raised = list(map(add, self._values(ids), weights))
        self._current.update(zip(ids, raised, strict=True))
        best = raised.index(max(raised))
        self._current[ids[best]] -= sum(weights)
        return candidates[best]

    def _values(self, ids: list[str]) -> list[float]:
        """Where each stands; newcomers start at the mean of the others, 0 when there are none."""
        try:
            return [self._current[server_id] for server_id in ids]
        except KeyError:
            known = [self._current[server_id] for server_id in ids if server_id in self._current]
            start = sum(known) / len(known) if known else 0.0
            return [self._current.get(server_id, start) for server_id in ids]


class RoundRobin(SmoothWeighted):
    def __init__(self) -> None:
        super().__init__(lambda _: 1)


class Lowest:
    """The servers with the lowest cost, ties by smooth weighted round robin."""

    def __init__(self, cost: Callable[[Candidate], float]) -> None:
        self._cost = cost
        self._ties = SmoothWeighted()

    def pick[C: Candidate](self, candidates: Sequence[C], wish: Wish, now_s: float, rng: Random) -> C:
        costs = [self._cost(server) for server in candidates]
        lowest = min(costs)
        tied = [server for server, cost in zip(candidates, costs, strict=True) if cost == lowest]
        return tied[0] if len(tied) == 1 else self._ties.pick(tied, wish, now_s, rng)


class FastestFree:
    """The lowest estimated service time / weight; ties within 5 % by lowest share in use, then smooth WRR."""

    def __init__(self) -> None:
        self._ties = Lowest(lambda server: server.active / server.limit)

    def pick[C: Candidate](self, candidates: Sequence[C], wish: Wish, now_s: float, rng: Random) -> C:
        task_type = wish.type
        costs = [server.estimator.read_ms(task_type, now_s) / server.weight for server in candidates]
        bound = min(costs) * TIE
        tied = [server for server, cost in zip(candidates, costs, strict=True) if cost <= bound]
        return tied[0] if len(tied) == 1 else self._ties.pick(tied, wish, now_s, rng)


class PowerOfTwo:
    """Two draws without replacement, proportional to weight x limit; the one with the smaller share in use."""

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
    """Where each candidate's part of the line ends: its length is weight x limit."""
    return list(accumulate(server.weight * server.limit for server in candidates))


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
        return min(candidates, key=lambda server: server.ordinal)


class ConsistentHash:
    """Weighted rendezvous on the affinity key, spilling on when a server is above 1.25 x the average share in use."""

    def __init__(self) -> None:
        self._without_key = FastestFree()

    def pick[C: Candidate](self, candidates: Sequence[C], wish: Wish, now_s: float, rng: Random) -> C:
        if wish.affinity_key is None:
            return self._without_key.pick(candidates, wish, now_s, rng)
        key = wish.affinity_key
        ranked = sorted(candidates, key=lambda server: rendezvous(key, server), reverse=True)
        average = sum(server.active for server in candidates) / sum(server.limit for server in candidates)
        for server in ranked:
            if server.active <= math.ceil(LOAD_BOUND * average * server.limit):
                return server
        return ranked[0]


def rendezvous(key: str, server: Candidate) -> float:
    """Weighted highest-random-weight score: -w / ln(h), h uniform in (0, 1)."""
    digest = hashlib.blake2b(f"{key}\0{server.id}".encode(), digest_size=8).digest()
    return -server.weight / math.log((int.from_bytes(digest) + 1) / (2**64 + 2))


MAKERS: dict[Algorithm, Callable[[], Policy]] = {
    Algorithm.ROUND_ROBIN: RoundRobin,
    Algorithm.WEIGHTED_ROUND_ROBIN: SmoothWeighted,
    Algorithm.LEAST_CONNECTIONS: lambda: Lowest(lambda server: server.active),
    Algorithm.WEIGHTED_LEAST_CONNECTIONS: lambda: Lowest(lambda server: (server.active + 1) / server.weight),
    Algorithm.RESPONSE_TIME: FastestFree,
    Algorithm.P2C: PowerOfTwo,
    Algorithm.FIRST: First,
    Algorithm.CONSISTENT_HASH: ConsistentHash,
    Algorithm.RANDOM: WeightedRandom,
}


def make(algorithm: Algorithm) -> Policy:
    return MAKERS[algorithm]()
