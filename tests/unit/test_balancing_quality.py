"""How well the balancer chooses: its own classes in virtual time, against an oracle, with fixed seeds.

The short form of `make sim`.
"""

import math
from random import Random

import pytest

from pointsman.contracts.balancer import Algorithm
from pointsman.contracts.lifecycle import Status
from pointsman.services.balancer.attempts import Wish
from pointsman.services.balancer.estimator import Estimate
from pointsman.services.balancer.limits import EffectiveLimit
from tests.simulation import costs, measures
from tests.simulation.report import (
    DEFAULT_LIMITS,
    FAILURES,
    HELD_MAX,
    IDLE_MAX,
    LOST_MAX,
    OTHERS_LIMIT,
    POISON_MAX,
    SHARE_MIN,
    UNBOUNDED,
    WEIGHTS,
)
from tests.simulation.simulator import EPOCH_MS, fleet_model
from tests.simulation.workload import TYPE, Machine, Trouble

SHORT_MS = 6_000.0
OTHERS = [one for one in Algorithm if one not in UNBOUNDED and one is not Algorithm.RESPONSE_TIME]


@pytest.mark.parametrize(("load", "limit"), DEFAULT_LIMITS.items())
def test_the_default_comes_close_to_an_oracle_though_one_server_slows_down(load: float, limit: float) -> None:
    assert measures.ratio(Algorithm.RESPONSE_TIME, False, load, 11, SHORT_MS) <= limit


@pytest.mark.parametrize("algorithm", OTHERS)
def test_no_other_algorithm_is_far_from_the_oracle(algorithm: Algorithm) -> None:
    assert measures.ratio(algorithm, True, 0.8, 11, 4_000.0) <= OTHERS_LIMIT


@pytest.mark.parametrize("trouble", FAILURES)
def test_a_server_that_fails_at_once_attracts_few_and_costs_no_task(trouble: Trouble) -> None:
    seen = measures.in_trouble(trouble, 21, SHORT_MS)
    assert seen.first_lost_share() <= LOST_MAX
    assert set(seen.finished) == {Status.COMPLETED}


def test_a_type_that_fails_everywhere_slows_no_other_and_is_held_back_nowhere() -> None:
    slower, seen = measures.poisoned(3_000.0)
    assert slower <= POISON_MAX
    assert seen.held_back_share <= HELD_MAX
    assert seen.first_lost_at


@pytest.mark.parametrize("trouble", [Trouble.SLOW, Trouble.ANSWERS_500])
def test_a_recovered_server_has_its_share_again_within_a_minute(trouble: Trouble) -> None:
    assert measures.recovered_share(trouble, 0.12, 5_000.0) >= SHARE_MIN


def test_no_slot_stands_idle_while_a_task_waits_that_it_could_run() -> None:
    seen = measures.overloaded(3_000)
    assert seen.backlog_slot_ms > 0
    assert seen.idle_share <= IDLE_MAX
    assert seen.above_limit == 0


def test_switching_the_algorithm_under_load_loses_and_repeats_nothing() -> None:
    assert measures.switched(3_000) == (0, 0)


def test_weights_5_1_1_give_a_a_b_a_c_a_a() -> None:
    machines = tuple(Machine(name, weight) for name, weight in (("a", 5), ("b", 1), ("c", 1)))
    fleet = fleet_model(machines, Algorithm.WEIGHTED_ROUND_ROBIN, weighted=True).fleet
    wish, rng = Wish(TYPE, None), Random(7)
    picks = [server.id for _ in range(14) if (server := fleet.pick(measures.ANY, wish, EPOCH_MS, 0.0, rng))]
    assert "".join(picks) == "aabacaa" * 2


@pytest.mark.parametrize("weights", WEIGHTS)
def test_weighted_round_robin_is_exact_in_every_window(weights: tuple[int, ...]) -> None:
    assert measures.uneven_windows(weights) == 0


def test_a_decision_is_as_much_work_with_ten_waiting_as_with_ten_thousand() -> None:
    few, many = (costs.crowded(50, waiting) for waiting in (10, 10_000))
    calls = [costs.calls_of(lambda model=model: model.next_decision(EPOCH_MS, 1.0, Random(2))) for model in (few, many)]
    assert calls[0] == calls[1]


def test_the_leader_keeps_a_waiting_task_in_half_a_kilobyte() -> None:
    assert costs.bytes_per_waiting(20_000) <= 512


def read_ms(estimate: Estimate, now_s: float) -> float:
    return math.exp(estimate.read(now_s))


def test_what_a_server_usually_takes_is_not_stuck_at_its_first_lucky_answers() -> None:
    estimate, rng = Estimate(), Random(7)
    for n in range(12):
        estimate.succeeded(10.0, float(n))
    for n in range(2_000):
        estimate.succeeded(100.0 * rng.lognormvariate(0, 1), 12.0 + n)
    assert 70 <= read_ms(estimate, 12_000.0) <= 140


def test_a_slow_spell_is_forgotten_when_idle() -> None:
    estimate = Estimate()
    for n in range(200):
        estimate.succeeded(20.0, float(n))
    for n in range(50):
        estimate.succeeded(200.0, 200.0 + n)
    assert read_ms(estimate, 249.0) > 150
    assert read_ms(estimate, 309.0) < 22


def test_many_calls_broken_by_one_restart_count_as_one_fault() -> None:
    limit = EffectiveLimit(10)
    for _ in range(10):
        limit.faulted(1_000)
    assert limit.held_until == 1_250


def test_each_fault_after_a_pause_makes_the_next_pause_twice_as_long() -> None:
    limit, pauses, now = EffectiveLimit(10), [], 0
    for _ in range(9):
        limit.faulted(now)
        pauses.append(limit.held_until - now)
        now = limit.held_until
    assert pauses == [250, 500, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000]


def test_after_a_fault_one_attempt_tries_first_and_its_answer_opens_the_rest() -> None:
    limit = EffectiveLimit(10)
    limit.faulted(0)
    assert limit.value == 1
    limit.answered()
    assert limit.value == 10


def test_a_long_task_after_a_fault_does_not_keep_the_other_slots_shut() -> None:
    limit = EffectiveLimit(10)
    limit.faulted(0)
    values = []
    for second in range(1, 6):
        limit.tick(limit.value, float(second))
        values.append(limit.value)
    assert values == [2, 4, 8, 10, 10]


def test_backpressure_takes_a_tenth_and_gives_back_one_a_second_in_use() -> None:
    limit = EffectiveLimit(10)
    limit.refused(429, None, 0)
    limit.refused(429, 2_000, 0)
    assert (limit.value, limit.held_until) == (8, 2_000)
    limit.tick(0, 1.0)
    assert limit.value == 8
    limit.tick(4, 2.0)
    limit.tick(8, 3.0)
    assert limit.value == 10


def test_a_limit_the_operator_raises_is_open_at_once_unless_the_server_pushed_back() -> None:
    free, pressed = EffectiveLimit(4), EffectiveLimit(4)
    pressed.refused(429, None, 0)
    for limit in (free, pressed):
        limit.resize(20)
    assert (free.value, pressed.value) == (20, 3)
