"""How well the balancer chooses: its own classes in virtual time, against an oracle, with fixed seeds."""

from collections import Counter
from random import Random

import pytest

from pointsman.contracts.balancer import Algorithm
from pointsman.contracts.lifecycle import Status
from pointsman.contracts.server import ServerConfig
from pointsman.services.balancer.estimator import Estimate
from pointsman.services.balancer.fleet import ServerState
from pointsman.services.balancer.limits import EffectiveLimit
from pointsman.services.balancer.policies import PowerOfTwo, RoundRobin, SmoothWeighted
from pointsman.services.balancer.slots import Slots
from tests.simulation import report
from tests.simulation.report import DEFAULT_LIMITS, OTHERS_LIMIT, UNBOUNDED
from tests.simulation.simulator import EPOCH_MS, server_config, simulate
from tests.simulation.workload import Machine, Trouble, workload

SHORT_MS = 6_000.0
OTHERS = [one for one in Algorithm if one not in UNBOUNDED and one is not Algorithm.RESPONSE_TIME]


class Wish:
    type = "work"
    affinity_key = None


@pytest.mark.parametrize(("load", "limit"), DEFAULT_LIMITS.items())
def test_the_default_comes_close_to_an_oracle_though_one_server_slows_down(load: float, limit: float) -> None:
    assert report.ratio(Algorithm.RESPONSE_TIME, False, load, 11, SHORT_MS) <= limit


@pytest.mark.parametrize("algorithm", OTHERS)
def test_no_other_algorithm_is_far_from_the_oracle(algorithm: Algorithm) -> None:
    assert report.ratio(algorithm, True, 0.8, 11, SHORT_MS) <= OTHERS_LIMIT


@pytest.mark.parametrize("trouble", [Trouble.REFUSES, Trouble.BREAKS])
def test_a_server_that_drops_calls_at_once_attracts_few_and_costs_no_task(trouble: Trouble) -> None:
    seen = report.in_trouble(trouble, 21, duration_ms=SHORT_MS)
    assert seen.first_lost_share() <= 0.005
    assert set(seen.finished) == {Status.COMPLETED}


def test_a_server_that_answers_500_at_once_costs_no_task_and_is_no_black_hole() -> None:
    """Errors of tasks pause no server: what it gets is what nobody else has a slot for, until its health is judged."""
    seen = report.in_trouble(Trouble.ANSWERS_500, 21, duration_ms=SHORT_MS)
    assert seen.first_lost_share() <= 0.02
    assert set(seen.finished) == {Status.COMPLETED}


@pytest.mark.parametrize("trouble", Trouble)
def test_a_recovered_server_has_its_share_again_within_a_minute(trouble: Trouble) -> None:
    seen = report.recovering(trouble, 0.12, 5_000.0)
    end = seen.workload.fault.end_ms
    assert seen.share_of_fair(end + 30_000, end + 60_000) >= 0.8


def test_no_slot_stands_idle_while_a_task_waits_that_it_could_run() -> None:
    seen = report.overloaded(4_000)
    assert seen.backlog_slot_ms > 0
    assert seen.idle_share <= 0.01
    assert seen.above_limit == 0


def test_switching_the_algorithm_under_load_loses_and_repeats_nothing() -> None:
    asked = workload(0.8, seed=13, duration_ms=3_000, trouble=Trouble.REFUSES)
    seen = simulate(asked, switches={300.0 * n: algorithm for n, algorithm in enumerate(Algorithm, 1)})
    assert seen.finished == {Status.COMPLETED: len(asked.arrivals)}
    assert len(seen.starts) == len(asked.arrivals) + len(seen.first_lost_at)
    assert seen.above_limit == 0


def servers(*weights: int, slots: int = 4) -> list[ServerState]:
    configs = [server_config(Machine(f"server-{n}", 1, slots), weight) for n, weight in enumerate(weights)]
    return [ServerState(config, Slots()) for config in configs]


def picked(policy: SmoothWeighted, among: list[ServerState], times: int) -> list[str]:
    return [policy.pick(among, Wish(), 0.0, Random(7)).id for _ in range(times)]


def test_weights_5_1_1_give_a_a_b_a_c_a_a() -> None:
    names = {"server-0": "a", "server-1": "b", "server-2": "c"}
    assert "".join(names[name] for name in picked(SmoothWeighted(), servers(5, 1, 1), 14)) == "aabacaa" * 2


@pytest.mark.parametrize("weights", [(5, 1, 1), (1, 1, 1, 1), (1, 2, 3, 4, 5), (13, 1, 7, 7, 2, 100)])
def test_weighted_round_robin_is_exact_in_every_window(weights: tuple[int, ...]) -> None:
    total = sum(weights)
    picks = picked(SmoothWeighted(), servers(*weights), 4 * total)
    wanted = {f"server-{n}": weight for n, weight in enumerate(weights)}
    assert all(Counter(picks[start : start + total]) == wanted for start in range(3 * total))


def test_a_newcomer_to_the_round_neither_floods_nor_starves() -> None:
    policy, fleet = RoundRobin(), servers(1, 1, 1, 1, 1)
    picked(policy, fleet[:4], 1002)
    assert set(Counter(picked(policy, fleet, 50)).values()) == {10}


def test_two_choices_never_draw_one_server_twice() -> None:
    """Of two servers always the emptier one, however unequal their weights."""
    slots = Slots()
    heavy, light = (
        ServerState(server_config(Machine(name, 1), weight), slots) for name, weight in (("heavy", 1000), ("light", 1))
    )
    slots.hold("heavy", "one")
    assert {PowerOfTwo().pick([heavy, light], Wish(), 0.0, Random(n)).id for n in range(50)} == {"light"}


def test_a_decision_is_as_much_work_with_ten_waiting_as_with_ten_thousand() -> None:
    few, many = (report.crowded(50, waiting) for waiting in (10, 10_000))
    calls = [
        report.calls_of(lambda model=model: model.next_decision(EPOCH_MS, 1.0, Random(2))) for model in (few, many)
    ]
    assert calls[0] == calls[1]


def test_the_leader_keeps_a_waiting_task_in_half_a_kilobyte() -> None:
    assert report.bytes_per_waiting(20_000) <= 512


def test_what_a_server_usually_takes_is_not_stuck_at_its_first_lucky_answers() -> None:
    estimate, rng = Estimate(), Random(7)
    for n in range(12):
        estimate.succeeded(10.0, float(n))
    for n in range(2_000):
        estimate.succeeded(100.0 * rng.lognormvariate(0, 1), 12.0 + n)
    assert 70 <= estimate.read_ms(12_000.0) <= 140


def test_a_slow_spell_is_forgotten_when_idle() -> None:
    estimate = Estimate()
    for n in range(200):
        estimate.succeeded(20.0, float(n))
    for n in range(50):
        estimate.succeeded(200.0, 200.0 + n)
    assert estimate.read_ms(249.0) > 150
    assert estimate.read_ms(309.0) < 22


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
    limit.refused(None, 0)
    limit.refused(2_000, 0)
    assert (limit.value, limit.held_until) == (8, 2_000)
    limit.tick(0, 1.0)
    assert limit.value == 8
    limit.tick(4, 2.0)
    limit.tick(8, 3.0)
    assert limit.value == 10


def test_a_limit_the_operator_raises_is_open_at_once_unless_the_server_pushed_back() -> None:
    free, pressed = EffectiveLimit(4), EffectiveLimit(4)
    pressed.refused(None, 0)
    for limit in (free, pressed):
        limit.resize(20)
    assert (free.value, pressed.value) == (20, 3)


def test_a_config_with_a_lower_limit_holds_at_once() -> None:
    server = servers(1, slots=8)[0]
    lower: ServerConfig = server_config(Machine("server-0", 1, 4), 1)
    server.configure(lower)
    assert server.limit == 4
