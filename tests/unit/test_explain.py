"""Why is it not running: the first gate that fails, the place in line, and the word of each server."""

from random import Random
from typing import Any

import pytest
from msgspec.structs import replace

from pointsman.contracts.base import encode
from pointsman.contracts.explain import Explanation, Gate
from pointsman.contracts.limits import KeySettings, Limit, PoolSettings, Rate, TypeSettings
from pointsman.contracts.record import Attempt
from pointsman.contracts.server import HealthState, ServerHealth
from pointsman.services.balancer.explain import PLACES_CHUNK, ahead, explanation, reason
from pointsman.services.balancer.model import Model
from pointsman.services.balancer.rules import status
from pointsman.services.runtime.outcomes import Failed, cancel
from tests.unit.test_model import NOW, a_lease, a_model, a_record, decide, fold, fold_lease, settle


def explain(model: Model, task_id: str, *, now: int = NOW, executors: int = 1) -> Explanation:
    entry = model.entries[task_id]
    why = reason(model, entry, executors=executors, now=now, now_s=now / 1000)
    before = sum(ahead(model, entry)) if why.is_in_line else None
    return explanation(model, entry, why, before, now=now, now_s=now / 1000)


def a_yard(count: int = 1, *, limit: int = 2, **spec: Any) -> Model:
    model = a_model(("a",), limit=limit)
    for n in range(count):
        fold(model, a_record(f"t{n}", **spec), n + 1)
    return model


def test_a_running_task_waits_at_no_gate() -> None:
    model = a_yard()
    fold_lease(model, a_lease(a_record("t0")), 1, task_id="t0")
    said = explain(model, "t0")
    assert (said.gate, said.status, said.position) == (None, "PROCESSING", None)
    assert "runs on a, attempt 1" in said.detail


def test_a_scheduled_task_waits_for_its_time() -> None:
    said = explain(a_yard(run_at=NOW + 9_000), "t0")
    assert (said.gate, said.eta, said.run_at) == (Gate.RUN_AT, NOW + 9_000, NOW + 9_000)


def test_a_failed_attempt_is_told_with_its_error_and_the_time_of_the_next() -> None:
    model, record = a_yard(), a_record("t0")
    fold_lease(model, settle(record, a_lease(record), Failed(error="boom", retry_after_ms=4_000)), 1, task_id="t0")
    said = explain(model, "t0")
    assert (said.gate, said.eta) == (Gate.BACKOFF, NOW + 4_000)
    assert "after 1 attempt: boom" in said.detail


def test_a_task_nobody_could_ever_run_says_what_is_missing() -> None:
    model = a_model(("a",))
    fold(model, a_record("t0", capabilities=("tpu",)), 1)
    said = explain(model, "t0")
    assert (said.gate, said.eta) == (Gate.NO_SERVER, None)
    assert "no server with tpu is registered in pool default" in said.detail
    assert [one.server_id for one in said.servers] == ["a"]
    assert said.servers[0].reasons


def test_full_servers_are_the_gate_and_the_place_in_line_is_exact() -> None:
    model = a_yard(6)
    for _ in range(2):
        assert decide(model) is not None
    said = [explain(model, f"t{n}") for n in range(2, 6)]
    assert {one.gate for one in said} == {Gate.SERVER}
    assert [one.position for one in said] == [1, 2, 3, 4]


def test_no_executor_is_said_before_anything_about_servers() -> None:
    assert explain(a_yard(), "t0", executors=0).gate == Gate.EXECUTOR


def test_an_unhealthy_server_says_so() -> None:
    model = a_yard()
    model.fleet.set_health("a", ServerHealth(state=HealthState.UNHEALTHY, registered_at=1))
    said = explain(model, "t0")
    assert said.gate == Gate.SERVER
    assert said.servers[0].reasons


@pytest.mark.parametrize("scope", [Gate.TYPE_LIMIT, Gate.POOL_LIMIT])
def test_a_reached_limit_is_named_with_its_figures(scope: Gate) -> None:
    model, limit = a_yard(3, limit=9), Limit(max_concurrent=1)
    if scope is Gate.TYPE_LIMIT:
        model.pools.set_type("resize", TypeSettings(type="resize", limit=limit), 0.0)
    else:
        model.pools.set_pool("default", PoolSettings(limit=limit), 0.0)
    assert decide(model) is not None
    assert decide(model) is None
    waiting = [entry.id for entry in model.entries.values() if entry.state.name == "PENDING"]
    said = explain(model, waiting[0])
    assert said.gate == scope
    assert "1 of at most 1 run" in said.detail


def test_a_spent_rate_says_when_it_opens() -> None:
    model = a_yard(3, limit=9)
    settings = TypeSettings(type="resize", limit=Limit(rate=Rate(per_second=0.5, burst=1)))
    model.pools.set_type("resize", settings, NOW / 1000)
    assert decide(model) is not None
    assert decide(model) is None
    said = explain(model, "t1")
    assert (said.gate, said.eta) == (Gate.TYPE_LIMIT, NOW + 2_000)


def test_a_blocked_key_says_until_when() -> None:
    model = a_yard(concurrency_key="acme")
    model.pending.gates.block("acme", NOW + 7_000, NOW)
    assert decide(model) is None
    said = explain(model, "t0")
    assert (said.gate, said.eta) == (Gate.BLOCKED, NOW + 7_000)
    assert "acme" in said.detail


def test_a_task_that_could_run_at_once_waits_for_its_turn_only() -> None:
    assert explain(a_yard(), "t0").gate == Gate.TURN


def test_the_eta_follows_the_pace_of_the_pool() -> None:
    model = a_yard(50, limit=5)
    model.pools.seen("default", 0.0)
    for second in range(60):
        for _ in range(10):
            model.pools.began("default", 0.0, is_retry=False)
        model.tick(NOW, second)
    for _ in range(5):
        assert decide(model) is not None
    said = explain(model, "t9")
    assert said.position == 45
    assert said.eta is not None
    assert 4_000 <= said.eta - NOW <= 5_000


@pytest.mark.parametrize("seed", range(30))
def test_the_place_in_line_is_the_one_in_which_it_begins(seed: int) -> None:
    """Priorities, weights and fairness keys at random: dispatch one by one and compare."""
    rng = Random(seed)
    model = a_model(("a",), limit=1_000)
    model.pools.set_pool("default", PoolSettings(shares={"x": 3, "y": 2}), 0.0)
    for n in range(60):
        spec = {"priority": rng.randrange(3), "fairness_key": rng.choice([None, "x", "y", "z"])}
        record = replace(a_record(f"t{n:02}", **spec), created_at=NOW - 1_000 + rng.randrange(500))
        fold(model, record, n + 1)
    said = {task_id: explain(model, task_id).position for task_id in model.entries}
    began = []
    while (decision := decide(model)) is not None:
        began.append(decision.entry.id)
    assert len(began) == 60
    for place, task_id in enumerate(began, 1):
        position = said[task_id]
        assert position is not None
        assert abs(position - place) <= 3, (task_id, position, place)


def a_pool_that_started(per_second: int, model: Model, *, idle_s: int = 0) -> Model:
    """Tasks that began at this pace for a minute, and then none."""
    model.pools.seen("default", 0.0)
    for second in range(60 + idle_s):
        for _ in range(per_second if second < 60 else 0):
            model.pools.began("default", 0.0, is_retry=False)
        model.tick(NOW, second)
    return model


@pytest.mark.parametrize("idle_s", [60, 600, 5_000, 9_000])
def test_after_a_long_rest_no_eta_is_better_than_the_end_of_time(idle_s: int) -> None:
    model = a_pool_that_started(10, a_yard(5, limit=1), idle_s=idle_s)
    assert decide(model) is not None
    said = explain(model, "t3")
    assert (said.gate, said.ahead) == (Gate.SERVER, 2)
    assert said.eta is None or said.eta - NOW < 8 * 86_400_000
    assert encode(said)


@pytest.mark.parametrize("scope", [Gate.TYPE_LIMIT, Gate.KEY_LIMIT, Gate.POOL_LIMIT])
def test_nobody_is_promised_a_time_at_a_gate_that_lets_nobody_pass(scope: Gate) -> None:
    model, none = a_pool_that_started(10, a_yard(5, concurrency_key="k", limit=9)), Limit(max_concurrent=0)
    model.pools.set_type("resize", TypeSettings(type="resize", limit=none) if scope is Gate.TYPE_LIMIT else None, 0.0)
    model.pools.set_key("k", KeySettings(key="k", limit=none) if scope is Gate.KEY_LIMIT else None, 0.0)
    model.pools.set_pool("default", PoolSettings(limit=none) if scope is Gate.POOL_LIMIT else None, 0.0)
    assert decide(model) is None
    said = explain(model, "t3")
    assert (said.gate, said.ahead, said.eta) == (scope, 3, None)


def test_nobody_is_promised_a_time_while_no_server_serves() -> None:
    model = a_pool_that_started(10, a_yard(3))
    model.fleet.set_health("a", ServerHealth(state=HealthState.UNHEALTHY, registered_at=1))
    said = explain(model, "t2")
    assert (said.gate, said.eta) == (Gate.SERVER, None)


def test_the_eta_at_a_rate_follows_the_rate_whatever_else_the_pool_does() -> None:
    model = a_pool_that_started(10, a_yard(12, limit=99))
    limit = Limit(rate=Rate(per_second=0.5, burst=1))
    model.pools.set_type("resize", TypeSettings(type="resize", limit=limit), NOW / 1000)
    assert decide(model) is not None
    assert decide(model) is None
    said = explain(model, "t9")
    assert (said.gate, said.ahead) == (Gate.TYPE_LIMIT, 10)
    assert said.eta is not None
    assert 21_900 <= said.eta - NOW <= 22_100


def test_the_eta_at_a_limit_follows_what_its_tasks_take() -> None:
    model = a_pool_that_started(10, a_yard(12, limit=99))
    succeeded = Attempt(number=1, server_id="a", started_at=NOW - 4_000, finished_at=NOW, outcome="succeeded")
    model.fleet.observe("resize", succeeded, NOW / 1000)
    model.pools.set_type("resize", TypeSettings(type="resize", limit=Limit(max_concurrent=2)), NOW / 1000)
    assert decide(model)
    assert decide(model)
    assert decide(model) is None
    said = explain(model, "t9")
    assert (said.gate, said.ahead) == (Gate.TYPE_LIMIT, 9)
    assert said.eta is not None
    assert 19_900 <= said.eta - NOW <= 20_100


def test_those_that_wait_no_longer_are_not_counted_as_ahead() -> None:
    model = a_model(("a",), limit=1)
    records = [a_record(f"t{n:02}", priority=n % 2, fairness_key=("x", "y")[n % 3 == 0]) for n in range(40)]
    for n, record in enumerate(records):
        fold(model, record, n + 1)
    for n, record in enumerate(records[:39]):
        fold(model, cancel(record, None, None, NOW), 100 + n)
    assert explain(model, "t39").ahead == 0


def test_a_limit_that_was_lifted_is_told_no_more_though_some_that_it_let_go_still_wait() -> None:
    model = a_yard(5, limit=9)
    for limit, names in ((Limit(max_concurrent=1), ["resize"]), (Limit(), [])):
        model.pools.set_type("resize", TypeSettings(type="resize", limit=limit), NOW / 1000)
        decide(model)
        assert decide(model) is None
        said = status(model, leader="l", epoch=1, last_dispatch=None, dispatched=0, now=NOW, now_s=NOW / 1000)
        assert [gate.name for gate in said.gates] == names
        model.fleet.set_health("a", ServerHealth(state=HealthState.UNHEALTHY, registered_at=1))


def test_who_waits_at_other_gates_costs_an_explanation_nothing_and_a_crowd_is_counted_in_pieces() -> None:
    model = a_model(("a",), limit=9)
    for task_type in ("resize", "scan"):
        limit = Limit(max_concurrent=0)
        model.pools.set_type(task_type, TypeSettings(type=task_type, limit=limit), 0.0)
    for n in range(PLACES_CHUNK + 2):
        fold(model, a_record(f"r{n:05}", type="resize", concurrency_key=f"k{n}", fairness_key=f"f{n}"), 2 * n + 1)
        fold(model, a_record(f"s{n % 3}", type="scan", concurrency_key="k"), 2 * n + 2)
    assert sum(1 for _ in model.pending.gates.lanes()) == PLACES_CHUNK + 3
    [own, beside] = ahead(model, model.entries["s2"])
    assert (own, beside) == (2, 0)
    pieces = list(ahead(model, model.entries["r00007"]))
    assert len(pieces) == 3
