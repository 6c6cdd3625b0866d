"""What a forecast says of an algorithm, against what the algorithm is known to do."""

import pytest

from pointsman.contracts.balancer import Algorithm, PoolStatus
from pointsman.contracts.limits import Kind, PoolSettings
from pointsman.services.balancer import forecast, planning
from pointsman.services.balancer.forecast import Stand
from pointsman.services.runtime.live_settings import Stored


def stand(name: str, *, weight: int = 1, limit: int = 8, ms: float = 100.0, priority: int = 1) -> Stand:
    return Stand(name, weight, limit, limit, priority, ms)


async def shares(algorithm: Algorithm, *servers: Stand, load: float = 0.3) -> dict[str, float]:
    capacity = sum(one.limit / one.service_ms * 1000 for one in servers)
    return await forecast.shares(algorithm, servers, forecast.pace(servers, load * capacity))


async def test_round_robin_gives_all_the_same_and_its_weighted_kin_by_weight() -> None:
    two = (stand("a"), stand("b", weight=3))
    assert await shares(Algorithm.ROUND_ROBIN, *two, load=0.1) == pytest.approx({"a": 0.5, "b": 0.5}, abs=0.01)
    assert await shares(Algorithm.WEIGHTED_ROUND_ROBIN, *two, load=0.1) == pytest.approx(
        {"a": 0.25, "b": 0.75}, abs=0.01
    )


async def test_the_fast_server_gets_more_by_response_time_than_by_turns() -> None:
    two = (stand("fast", ms=50.0), stand("slow", ms=500.0))
    by_time, by_turn = await shares(Algorithm.RESPONSE_TIME, *two), await shares(Algorithm.ROUND_ROBIN, *two)
    assert by_time["fast"] > 0.9 > by_turn["fast"]


async def test_the_first_is_filled_before_the_next_and_a_higher_priority_before_both() -> None:
    filled = await shares(Algorithm.FIRST, stand("a"), stand("b"), load=0.2)
    assert filled["a"] > 0.8
    tiers = await shares(Algorithm.ROUND_ROBIN, stand("a"), stand("b", priority=5), load=0.2)
    assert tiers["b"] > 0.95


async def test_a_full_pool_is_shared_by_what_each_can_do_whatever_the_algorithm() -> None:
    told = await shares(Algorithm.ROUND_ROBIN, stand("a", limit=2), stand("b", limit=6), load=5.0)
    assert told == pytest.approx({"a": 0.25, "b": 0.75}, abs=0.05)


async def test_without_servers_no_shares_are_told_and_the_plan_says_so() -> None:
    assert await forecast.shares(Algorithm.P2C, [], 0.0) == {}
    status = PoolStatus(algorithm="first", servers=2, eligible=0, pending=4, active_tasks=1, slots=0)
    plan = planning.plan(Stored(Kind.POOL, "p", None, 0), status, Algorithm.P2C, 0.0, {}, {})
    assert (plan.server_count, plan.moved, plan.servers) == (0, 0.0, ())
    assert any("no server of the pool takes tasks" in note for note in plan.notes)


def test_a_plan_tells_first_what_changes_most_and_what_it_is_guarded_by() -> None:
    status = PoolStatus(algorithm="response-time", servers=3, eligible=3, pending=0, active_tasks=9, slots=30)
    stored = Stored(Kind.POOL, "p", PoolSettings(updated_at=5, by="li"), 41)
    now, then = {"a": 0.5, "b": 0.3, "c": 0.2}, {"a": 0.33, "b": 0.33, "c": 0.34}
    plan = planning.plan(stored, status, Algorithm.ROUND_ROBIN, 10.0, now, then)
    assert [one.server_id for one in plan.servers] == ["a", "c", "b"]
    assert (plan.revision, plan.by, plan.moved) == (41, "li", pytest.approx(0.17))
    assert plan.notes[0].startswith("applies to tasks that start from now on")
    assert "round-robin does not look at weights" in plan.notes
