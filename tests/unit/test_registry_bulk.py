"""Many servers out or back: what the plan says, what is done, and what is refused."""

import msgspec
import pytest

from pointsman.contracts.balancer import LoadFrame
from pointsman.contracts.bulk import Change, MaintainManyAnswer, MaintainManyRequest
from pointsman.contracts.errors import PointsmanError
from pointsman.contracts.server import HealthState, MaintenanceRequest, ServerHealth, Wanted
from pointsman.services.registry import bulk
from tests.unit.test_registry import Desk


@pytest.fixture
async def desk() -> Desk:
    """a1, a2 in pool a with 4 slots each, b1 in pool b; a1 and b1 in group rack; all healthy; 5 tasks run in a."""
    desk = Desk()
    for name, pool, groups in (("a1", "a", ("rack",)), ("a2", "a", ()), ("b1", "b", ("rack",))):
        await desk.register(id=name, pool=pool, groups=groups, max_concurrent=4)
        health = ServerHealth(state=HealthState.HEALTHY, since=desk.time.ms, registered_at=desk.time.ms)
        await desk.store.put_health(name, health, 0)
    desk.running(a1=2, a2=3)
    return desk


def acting(desk: Desk, request: MaintainManyRequest, operation: str = "") -> bulk.Acting:
    return bulk.Acting(desk.orders, desk.registration, request, "ann", operation)


async def asked(desk: Desk, operation: str = "", **fields: object) -> MaintainManyAnswer:
    request = MaintainManyRequest(**({"enabled": True} | fields))  # type: ignore[arg-type]
    planned = bulk.plan(desk.fleet, request)
    return planned if request.dry_run else await acting(desk, request, operation).run(planned)


def refusal(desk: Desk, **fields: object) -> PointsmanError:
    with pytest.raises(PointsmanError) as refused:
        bulk.plan(desk.fleet, MaintainManyRequest(**({"enabled": True} | fields)))  # type: ignore[arg-type]
    return refused.value


async def test_a_dry_run_tells_and_changes_nothing(desk: Desk) -> None:
    before = desk.bucket.sequence
    told = await asked(desk, pool="a", ids=("a1",), dry_run=True)
    assert [(s.server_id, s.status, s.running, s.change, s.done) for s in told.servers] == [
        ("a1", "online", 2, Change.DRAIN, None)
    ]
    assert [(p.pool, p.slots_before, p.slots_after, p.running) for p in told.pools] == [("a", 8, 4, 5)]
    assert told.pools[0].warnings == ("5 tasks run, and only 4 slots would be left",)
    assert desk.bucket.sequence == before


async def test_an_empty_pool_is_warned_of(desk: Desk) -> None:
    told = await asked(desk, group="rack", dry_run=True)
    warnings = {pool.pool: pool.warnings for pool in told.pools}
    assert warnings["b"] == ("no server of the pool would take tasks",)


async def test_a_group_goes_out_and_comes_back(desk: Desk) -> None:
    out = await asked(desk, group="rack", reason="power", drain_timeout_ms=0)
    assert (out.changed, out.failed) == (2, 0)
    assert {name: desk.admin(name).wanted for name in ("a1", "a2", "b1")} == {
        "a1": Wanted.MAINTENANCE,
        "a2": Wanted.ACTIVE,
        "b1": Wanted.MAINTENANCE,
    }
    assert desk.admin("a1").reason == "power"
    plan = await asked(desk, pool="a", enabled=False, dry_run=True)
    assert [(p.slots_before, p.slots_after) for p in plan.pools] == [(4, 8)]
    back = await asked(desk, pool="a", enabled=False)
    assert [(s.server_id, s.change, s.done) for s in back.servers] == [
        ("a1", Change.ACTIVATE, True),
        ("a2", Change.NONE, None),
    ]


async def test_each_server_has_a_result_of_its_own(desk: Desk) -> None:
    await desk.orders.remove_after_drain("a2", "bob")
    told = await asked(desk, ids=("a1", "a2", "b1", "nobody"), pool="a")
    assert {s.server_id: (s.done, s.error) for s in told.servers} == {
        "a1": (True, None),
        "a2": (False, "the server is being unregistered"),
        "b1": (False, "the server matches not all of group, pool and ids"),
        "nobody": (False, "the server does not exist"),
    }
    assert (told.changed, told.failed) == (1, 3)
    assert desk.admin("b1").wanted is Wanted.ACTIVE


async def test_a_server_that_has_gone_since_the_plan_fails_alone(desk: Desk) -> None:
    request = MaintainManyRequest(enabled=True, pool="a")
    planned = bulk.plan(desk.fleet, request)
    await desk.registration.remove("a1")
    told = await acting(desk, request).run(planned)
    assert {s.server_id: s.done for s in told.servers} == {"a1": False, "a2": True}


async def test_servers_that_are_out_stay_as_they_are(desk: Desk) -> None:
    await desk.orders.maintain("a1", MaintenanceRequest(enabled=True), "bob")
    until = desk.admin("a1").until
    desk.time.ms += 1_000
    told = await asked(desk, ids=("a1",))
    assert (told.servers[0].change, told.changed, desk.admin("a1").until) == (Change.NONE, 0, until)
    sooner = await asked(desk, ids=("a1",), drain_timeout_ms=10)
    assert (sooner.servers[0].change, sooner.changed) == (Change.DRAIN, 1)
    assert desk.admin("a1").until == desk.time.ms + 10


async def test_what_is_refused_names_the_field_and_the_limit(desk: Desk) -> None:
    assert refusal(desk).errors[0].field == "ids"
    for bad in (
        {"enabled": True, "ids": []},
        {"enabled": True, "ids": [f"s{n}" for n in range(1_001)]},
        {"ids": ["a1"]},
        {"enabled": True, "ids": ["a b"]},
        {"enabled": True, "ids": ["a1"], "drainTimeoutMs": -1},
        {"enabled": True, "ids": ["a1"], "colour": 1},
    ):
        with pytest.raises(msgspec.ValidationError):
            msgspec.convert(bad, MaintainManyRequest)


async def test_a_thousand_at_once_and_no_more(desk: Desk) -> None:
    for number in range(1_000):
        await desk.register(id=f"s{number}", pool="many")
    assert (await asked(desk, pool="many")).changed == 1_000
    await desk.register(id="s1000", pool="many")
    too_many = refusal(desk, pool="many")
    assert (too_many.status, too_many.errors[0].message) == (400, "1001 servers match, at most 1000 at once")
    desk.fleet.fold_load(LoadFrame(epoch=1, active={}, limits={}, cancel={}, pending=0, as_of=0))
