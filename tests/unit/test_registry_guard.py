"""Orders that hold only for a server as their giver has seen it, and that are done once however often they come."""

import pytest

from pointsman.contracts.actor import Actor
from pointsman.contracts.bulk import Change, MaintainManyRequest
from pointsman.contracts.commands import ChangeServer
from pointsman.contracts.errors import PointsmanError
from pointsman.contracts.server import HealthState, MaintenanceRequest, ServerChanged, ServerHealth, ServerPatch, Wanted
from pointsman.services.registry import bulk
from pointsman.services.registry.changes import Changes
from pointsman.services.registry.guard import Guard
from pointsman.services.runtime.audit import Notes, entry_of
from tests.unit.test_registry import Desk, refusal
from tests.unit.test_registry_bulk import acting, asked

OUT, BACK = MaintenanceRequest(enabled=True, reason="new driver"), MaintenanceRequest(enabled=False)


@pytest.fixture
async def desk() -> Desk:
    """Servers a and b in one pool, healthy, weights 1 and 3."""
    desk = Desk()
    for name, weight in (("a", 1), ("b", 3)):
        await desk.register(id=name, weight=weight, max_concurrent=4)
        health = ServerHealth(state=HealthState.HEALTHY, since=desk.time.ms, registered_at=desk.time.ms)
        await desk.store.put_health(name, health, 0)
    return desk


def revision(desk: Desk, server_id: str = "a") -> int:
    member = desk.fleet.member(server_id)
    assert member is not None
    return member.revision


async def change(desk: Desk, *, seen: int | None = None, operation: str = "", **fields: object) -> ServerChanged:
    patch = ServerPatch(**fields)  # type: ignore[arg-type]
    changes = Changes(desk.store, desk.fleet)
    return await changes.change(ChangeServer(id="a", change=patch, if_match=seen), "ann", operation)


async def test_an_order_for_a_server_that_was_ordered_otherwise_says_by_whom_and_changes_nothing(desk: Desk) -> None:
    seen = revision(desk)
    await desk.orders.maintain("a", OUT, "bob")
    before = desk.bucket.sequence
    refused = await refusal(desk.orders.maintain("a", BACK, "ann", Guard(seen)))
    assert refused.status == 412
    assert f"has revision {revision(desk)}, not {seen}: set to drain by bob at" in refused.detail
    assert "(new driver)" in refused.detail
    assert desk.bucket.sequence == before


async def test_a_change_of_the_configuration_moves_the_revision_too(desk: Desk) -> None:
    seen = revision(desk)
    await change(desk, weight=2)
    refused = await refusal(desk.orders.maintain("a", OUT, "bob", Guard(seen)))
    assert (refused.status, "its configuration was changed by ann" in refused.detail) == (412, True)


async def test_an_order_with_the_right_revision_is_done(desk: Desk) -> None:
    await desk.orders.maintain("a", OUT, "ann", Guard(revision(desk)))
    assert desk.admin("a").wanted is Wanted.DRAINING
    await desk.orders.maintain("a", BACK, "ann", Guard(revision(desk)))
    assert desk.admin("a").wanted is Wanted.ACTIVE
    await desk.registration.remove("a", Guard(revision(desk)))
    assert desk.fleet.member("a") is None


async def test_removing_a_server_that_changed_is_refused(desk: Desk) -> None:
    seen = revision(desk)
    await desk.orders.maintain("a", OUT, "bob")
    assert (await refusal(desk.registration.remove("a", Guard(seen)))).status == 412
    assert (await refusal(desk.orders.remove_after_drain("a", "ann", Guard(seen)))).status == 412
    assert desk.fleet.member("a") is not None


@pytest.mark.parametrize("order", [OUT, MaintenanceRequest(enabled=True, drain_timeout_ms=60_000)])
async def test_an_order_that_comes_twice_under_one_name_is_done_once(desk: Desk, order: MaintenanceRequest) -> None:
    guard = Guard(revision(desk), "op-1")
    await desk.orders.maintain("a", order, "ann", guard)
    before = desk.bucket.sequence
    desk.time.ms += 5_000
    await desk.orders.maintain("a", order, "ann", guard)
    assert desk.bucket.sequence == before


async def test_a_removal_or_an_activation_that_comes_twice_is_fine(desk: Desk) -> None:
    await desk.orders.maintain("a", OUT, "ann")
    back = Guard(revision(desk), "op-2")
    for _ in range(2):
        await desk.orders.activate("a", "ann", back)
    gone = Guard(revision(desk), "op-3")
    for _ in range(2):
        await desk.registration.remove("a", gone)
    assert (await refusal(desk.registration.remove("a", Guard(None, "op-4")))).status == 404


async def test_a_weight_is_changed_while_the_server_runs(desk: Desk) -> None:
    desk.running(a=5)
    plan = await change(desk, weight=3, dry_run=True)
    assert (plan.dry_run, plan.before.weight, plan.after.weight) == (True, 1, 3)
    assert (plan.before.weight_share, plan.after.weight_share) == (0.25, 0.5)
    assert plan.revision == revision(desk)
    told = await change(desk, weight=3, seen=plan.revision, operation="op-1")
    member = desk.fleet.member("a")
    assert member is not None
    assert member.config is not None
    assert (member.config.weight, member.config.by, told.revision) == (3, "ann", revision(desk))
    assert desk.fleet.health("a").state is HealthState.HEALTHY
    again = await change(desk, weight=3, seen=plan.revision, operation="op-1")
    assert again.revision == told.revision
    assert (await refusal(change(desk, weight=4, seen=plan.revision))).status == 412


async def test_a_limit_below_what_runs_is_warned_of_and_nothing_given_is_refused(desk: Desk) -> None:
    desk.running(a=4)
    plan = await change(desk, max_concurrent=2, dry_run=True)
    assert plan.warnings == ("4 tasks run: the limit of 2 is reached as they end",)
    assert (await refusal(change(desk))).status == 400


async def test_of_many_only_those_that_are_as_seen_are_done(desk: Desk) -> None:
    seen = {"a": revision(desk, "a"), "b": revision(desk, "b")}
    await desk.orders.maintain("b", OUT, "bob")
    plan = await asked(desk, ids=("a", "b"), revisions=seen, dry_run=True, drain_timeout_ms=0)
    assert [(one.server_id, one.change) for one in plan.servers] == [("a", Change.DRAIN), ("b", Change.REFUSED)]
    assert plan.servers[1].error is not None
    assert plan.servers[1].error.startswith("changed meanwhile: set to drain by bob")
    done = await asked(desk, ids=("a", "b"), revisions=seen, drain_timeout_ms=0)
    assert [(one.server_id, one.done) for one in done.servers] == [("a", True), ("b", False)]
    assert (desk.admin("a").wanted, desk.admin("b").wanted) == (Wanted.MAINTENANCE, Wanted.DRAINING)


async def test_many_are_unregistered_at_once_or_after_their_drain_and_a_repetition_does_no_harm(desk: Desk) -> None:
    desk.running(a=1, b=1)
    seen = {"a": revision(desk, "a")}
    plan = await asked(desk, ids=("a",), revisions=seen, remove=True, dry_run=True)
    assert [(one.change, one.running, one.revision) for one in plan.servers] == [(Change.REMOVE, 1, seen["a"])]
    assert (plan.pools[0].slots_before, plan.pools[0].slots_after) == (8, 4)
    for _ in range(2):
        told = await asked(desk, ids=("a",), revisions=seen, remove=True, operation="op-1")
        assert [(one.done, one.error) for one in told.servers] == [(True, None)]
    assert desk.admin("a").remove
    gone = await asked(desk, ids=("b",), remove=True, drain_timeout_ms=0)
    assert (gone.changed, desk.fleet.member("b")) == (1, None)


async def test_activating_and_unregistering_at_once_is_refused(desk: Desk) -> None:
    with pytest.raises(PointsmanError, match="only what is taken out"):
        await asked(desk, ids=("a",), enabled=False, remove=True)


async def test_the_trail_names_the_servers_of_an_order_and_what_was_not_done(desk: Desk) -> None:
    seen = {"a": revision(desk, "a")}
    request = MaintainManyRequest(enabled=True, ids=("a",), revisions=seen, drain_timeout_ms=0)
    notes = Notes()
    bulk.note(notes, request, await acting(desk, request).run(bulk.plan(desk.fleet, request)))
    assert (notes.target, notes.before, notes.refused) == ("a", {"wanted": "online"}, "")
    late = MaintainManyRequest(enabled=False, ids=("a",), revisions=seen)
    bulk.note(notes, late, await acting(desk, late).run(bulk.plan(desk.fleet, late)))
    assert "put in maintenance by ann" in notes.refused
    entry = entry_of("registry.maintain-many", Actor(sub="ann"), b"{}", notes, None, 1)
    assert (entry.outcome, entry.target, entry.detail) == ("failed", "a", notes.refused)
