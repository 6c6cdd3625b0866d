"""Each algorithm picks what it promises; chance by Random(7)."""

from collections import Counter
from dataclasses import dataclass, field
from random import Random

import pytest

from pointsman.contracts.balancer import Algorithm
from pointsman.services.balancer.estimator import Estimator
from pointsman.services.balancer.policies import MAKERS, Policy, make, rendezvous


@dataclass
class Server:
    id: str
    weight: int = 1
    limit: int = 10
    active: int = 0
    ordinal: int = 0
    estimator: Estimator = field(default_factory=Estimator)


@dataclass
class Wish:
    type: str = "a"
    affinity_key: str | None = None


def servers(*weights: int) -> list[Server]:
    return [Server("abcdefgh"[n], weight, ordinal=n) for n, weight in enumerate(weights)]


def picks(policy: Policy, candidates: list[Server], count: int, key: str | None = None, seed: int = 7) -> list[str]:
    rng = Random(seed)
    return [policy.pick(candidates, Wish(affinity_key=key), 0.0, rng).id for _ in range(count)]


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
    candidates = list(reversed(servers(1, 9, 9)))
    assert set(picks(make(Algorithm.FIRST), candidates, 5)) == {"a"}


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


def test_consistent_hash_sends_a_key_to_one_server() -> None:
    policy = make(Algorithm.CONSISTENT_HASH)
    for n in range(20):
        assert len(set(picks(policy, servers(1, 1, 1, 1), 3, key=f"k{n}"))) == 1


def test_when_a_server_leaves_only_its_own_keys_move() -> None:
    policy, all_servers = make(Algorithm.CONSISTENT_HASH), servers(1, 1, 1, 1, 1)
    keys = [f"k{n}" for n in range(1_000)]
    before = {key: picks(policy, all_servers, 1, key=key)[0] for key in keys}
    after = {key: picks(policy, all_servers[:-1], 1, key=key)[0] for key in keys}
    assert {key for key in keys if before[key] != after[key]} == {key for key in keys if before[key] == "e"}
    assert 140 <= sum(name == "e" for name in before.values()) <= 260


def test_rendezvous_shares_follow_the_weights() -> None:
    candidates = servers(3, 1)
    counts = Counter(max(candidates, key=lambda s, key=f"k{n}": rendezvous(key, s)).id for n in range(4_000))
    assert abs(counts["a"] / 4_000 - 0.75) < 0.03


def test_consistent_hash_spills_over_when_a_server_is_far_above_the_average() -> None:
    policy, candidates = make(Algorithm.CONSISTENT_HASH), servers(1, 1, 1, 1)
    home = picks(policy, candidates, 1, key="k")[0]
    for server in candidates:
        server.active = 9 if server.id == home else 1
    assert picks(policy, candidates, 1, key="k")[0] != home


@pytest.mark.parametrize("algorithm", list(MAKERS))
def test_every_algorithm_takes_the_only_one_there_is(algorithm: Algorithm) -> None:
    assert picks(make(algorithm), servers(1), 3) == ["a"] * 3
    assert picks(make(algorithm), servers(1), 1, key="k") == ["a"]


def test_there_is_a_policy_for_every_name() -> None:
    assert set(MAKERS) == set(Algorithm)
