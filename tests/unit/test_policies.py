"""Each algorithm picks what it promises; chance by Random(7)."""

import math
from collections import Counter
from dataclasses import dataclass, field
from random import Random

import pytest

from pointsman.contracts.balancer import Algorithm
from pointsman.services.balancer.estimator import Estimator
from pointsman.services.balancer.policies import MAKERS, Policy, make


@dataclass
class Server:
    id: str
    weight: int = 1
    limit: int = 10
    active: int = 0
    turn: int = 0
    estimator: Estimator = field(default_factory=Estimator)
    levels: dict[str, float] = field(default_factory=dict)

    @property
    def maximum(self) -> int:
        return self.limit

    def look(self, task_type: str, now_s: float) -> None:
        self.levels[task_type] = self.estimator.read(task_type, now_s) - math.log(self.weight)


@dataclass
class Wish:
    type: str = "a"
    affinity_key: str | None = None


def servers(*weights: int) -> list[Server]:
    return [Server("abcdefgh"[n], weight) for n, weight in enumerate(weights)]


def picks(policy: Policy, candidates: list[Server], count: int, seed: int = 7) -> list[str]:
    rng = Random(seed)
    return [policy.pick(candidates, Wish(), 0.0, rng).id for _ in range(count)]


def test_smooth_weighted_round_robin_is_nginx_s() -> None:
    policy = make(Algorithm.WEIGHTED_ROUND_ROBIN)
    assert picks(policy, servers(5, 1, 1), 14) == list("aabacaa") * 2


@pytest.mark.parametrize("weights", [(5, 1, 1), (1, 1, 1, 1), (7, 3, 2), (10, 1), (3,)])
def test_every_window_of_the_sum_of_weights_is_exact(weights: tuple[int, ...]) -> None:
    candidates, total = servers(*weights), sum(weights)
    chosen = picks(make(Algorithm.WEIGHTED_ROUND_ROBIN), candidates, total * 4)
    expected = {server.id: server.weight for server in candidates}
    for start in range(len(chosen) - total):
        assert Counter(chosen[start : start + total]) == expected


def test_round_robin_takes_turns_whatever_the_weights() -> None:
    assert picks(make(Algorithm.ROUND_ROBIN), servers(9, 1, 1), 6) == list("abcabc")


def test_round_robin_stays_fair_when_a_server_is_away_for_a_while_or_joins() -> None:
    policy, three, rng = make(Algorithm.ROUND_ROBIN), servers(1, 1, 1), Random(7)
    counts: Counter[str] = Counter()
    for n in range(300):
        present = three[:2] if n % 3 else three
        counts[policy.pick(present, Wish(), 0.0, rng).id] += 1
    assert abs(counts["a"] - counts["b"]) <= 2
    newcomer = Server("z")
    chosen = [policy.pick([*three, newcomer], Wish(), 0.0, rng).id for _ in range(8)]
    assert 1 <= chosen.count("z") <= 3


def test_of_very_many_that_tie_all_get_their_turn() -> None:
    many = [Server(f"s{n:03}") for n in range(300)]
    for algorithm in (Algorithm.LEAST_CONNECTIONS, Algorithm.RESPONSE_TIME):
        counts = Counter(picks(make(algorithm), many, 3_000))
        assert len(counts) == 300
        assert max(counts.values()) <= 20


def test_among_very_many_the_fastest_is_found_though_estimates_are_looked_at_in_turns() -> None:
    many = [Server(f"s{n:03}", limit=1_000) for n in range(300)]
    for n, server in enumerate(many):
        for _ in range(20):
            server.estimator.succeeded("a", 1_000.0 - n, 0.0)
    assert set(picks(make(Algorithm.RESPONSE_TIME), many, 50)) <= {server.id for server in many[255:]}
    for _ in range(50):
        many[7].estimator.succeeded("a", 1.0, 0.0)
    assert "s007" in picks(make(Algorithm.RESPONSE_TIME), many, 13)


def test_least_connections_takes_the_emptiest_and_ties_take_turns() -> None:
    candidates = servers(1, 1, 1)
    candidates[0].active = 2
    assert picks(make(Algorithm.LEAST_CONNECTIONS), candidates, 4) == list("bcbc")


def test_weighted_least_connections_counts_the_task_to_come() -> None:
    candidates = servers(4, 1)
    chosen = []
    policy = make(Algorithm.WEIGHTED_LEAST_CONNECTIONS)
    for _ in range(10):
        server = policy.pick(candidates, Wish(), 0.0, Random(7))
        server.active += 1
        chosen.append(server.id)
    assert Counter(chosen) == {"a": 8, "b": 2}


def test_first_fills_one_server_before_the_next() -> None:
    assert set(picks(make(Algorithm.FIRST), servers(1, 9, 9), 5)) == {"a"}


def test_response_time_takes_the_fastest_for_this_type_per_weight() -> None:
    candidates = servers(1, 1, 1)
    for server, ms in zip(candidates, (100.0, 10.0, 50.0), strict=True):
        for _ in range(200):
            server.estimator.succeeded("a", ms, 0.0)
    policy = make(Algorithm.RESPONSE_TIME)
    assert set(picks(policy, candidates, 5)) == {"b"}
    candidates[0].weight = 20
    assert set(picks(policy, candidates, 5)) == {"a"}


def test_response_time_tries_a_server_it_does_not_know_and_breaks_ties_by_load() -> None:
    candidates = servers(1, 1)
    candidates[0].estimator.succeeded("a", 1.0, 0.0)
    assert picks(make(Algorithm.RESPONSE_TIME), candidates, 1) == ["b"]
    candidates = servers(1, 1)
    candidates[0].active = 5
    assert set(picks(make(Algorithm.RESPONSE_TIME), candidates, 3)) == {"b"}


def test_p2c_never_compares_a_server_with_itself() -> None:
    """With two candidates both are always drawn, so the busier one is never taken."""
    candidates = servers(1000, 1)
    candidates[0].active = 9
    assert set(picks(make(Algorithm.P2C), candidates, 500)) == {"b"}


def test_p2c_draws_in_proportion_to_weight_times_limit() -> None:
    candidates = servers(8, 1, 1)
    counts = Counter(picks(make(Algorithm.P2C), candidates, 4_000))
    assert counts["a"] > 0.75 * 4_000
    assert abs(counts["b"] - counts["c"]) < 150
    assert picks(make(Algorithm.P2C), servers(1), 2) == ["a", "a"]


def test_random_is_weighted() -> None:
    counts = Counter(picks(make(Algorithm.RANDOM), servers(6, 3, 1), 10_000))
    assert [round(counts[name] / 1000) for name in "abc"] == [6, 3, 1]


@pytest.mark.parametrize("algorithm", list(MAKERS))
def test_every_algorithm_takes_the_only_one_there_is(algorithm: Algorithm) -> None:
    assert picks(make(algorithm), servers(1), 3) == ["a"] * 3


def test_there_is_a_policy_for_every_name() -> None:
    assert set(MAKERS) == set(Algorithm)
