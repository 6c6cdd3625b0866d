"""The operator's axis: every order in every state, whatever the sequence; and when a server counts as gone."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pointsman.contracts.server import (
    HealthState,
    Heartbeat,
    HeartbeatRequest,
    ServerAdmin,
    ServerHealth,
    Wanted,
)
from pointsman.services.registry import admin as axis
from pointsman.services.registry import stale
from pointsman.services.registry.admin import TABLE, Order, State
from tests.unit.test_registry import Desk

OUT, IN = HeartbeatRequest(ready=False), HeartbeatRequest()
ORDERS = st.sampled_from(list(Order))
STEPS = st.lists(
    st.tuples(
        st.one_of(ORDERS, st.sampled_from([OUT, IN])), st.integers(0, 400_000), st.sampled_from([None, 0, 5_000])
    ),
    max_size=30,
)


def stepped(admin: ServerAdmin, step: Order | HeartbeatRequest, now: int, allowed: int | None) -> ServerAdmin:
    """As the shell does it: refused orders change nothing."""
    if isinstance(step, HeartbeatRequest):
        order = axis.declared_order(admin, step, now)
        if order is None:
            return admin
        return axis.after(admin, order, now=now, by="the server", declared=order is Order.DRAIN)
    if not axis.allows(admin, step):
        return admin
    return axis.after(admin, step, now=now, by="ann", drain_timeout_ms=allowed if step is Order.DRAIN else None)


@given(STEPS)
def test_every_way_through_the_table(steps: list[tuple[Order | HeartbeatRequest, int, int | None]]) -> None:
    admin, now = ServerAdmin(), 0
    for step, later, allowed in steps:
        now += later
        before, admin = admin, stepped(admin, step, now, allowed)
        was, state = axis.state_of(before), axis.state_of(admin)
        if isinstance(step, Order):
            assert state is TABLE.get((was, step), was)
        assert (admin.until is not None) == (admin.wanted is Wanted.DRAINING)
        assert was is not State.REMOVED or admin == before
        assert was is not State.LEAVING or state in (State.LEAVING, State.REMOVED)
        if isinstance(step, HeartbeatRequest) and before.wanted is not Wanted.ACTIVE and not before.declared:
            assert admin == before
        assert not admin.declared or admin.by == "the server"


@given(st.sampled_from(list(State)), ORDERS)
def test_a_removed_server_takes_no_order_and_every_other_state_can_be_unregistered(state: State, order: Order) -> None:
    assert ((state, order) in TABLE) <= (state is not State.REMOVED)
    assert state is State.REMOVED or (state, Order.UNREGISTER) in TABLE


def test_a_second_drain_keeps_its_time_unless_another_is_given() -> None:
    first = axis.after(ServerAdmin(), Order.DRAIN, now=1_000, by="ann")
    assert first.until == 301_000
    assert axis.after(first, Order.DRAIN, now=2_000, by="bob") == first
    assert axis.after(first, Order.DRAIN, now=2_000, by="bob", drain_timeout_ms=500).until == 2_500


SILENT = ServerHealth(state=HealthState.UNHEALTHY, since=0)
BEAT = Heartbeat(server_id="a", at=50_000, status="healthy")


@pytest.mark.parametrize(
    ("admin", "health", "beat", "now", "gone"),
    [
        (ServerAdmin(), SILENT, BEAT, 150_000, True),
        (ServerAdmin(), SILENT, BEAT, 149_999, False),
        (ServerAdmin(), SILENT, None, 100_000, True),
        (ServerAdmin(), SILENT, None, 99_999, False),
        (ServerAdmin(wanted=Wanted.MAINTENANCE), SILENT, BEAT, 150_000, False),
        (ServerAdmin(), ServerHealth(state=HealthState.HEALTHY, since=0), BEAT, 999_000, False),
        (ServerAdmin(), ServerHealth(state=HealthState.UNHEALTHY, since=60_000), BEAT, 150_000, False),
    ],
)
def test_a_server_is_stale_without_probe_and_heartbeat(
    admin: ServerAdmin, health: ServerHealth, beat: Heartbeat | None, now: int, gone: bool
) -> None:
    assert stale.is_stale(admin, health, beat, now=now, listening_since=0, after_ms=100_000) is gone


@pytest.mark.parametrize(("after_s", "left"), [(60, ["alive"]), (0, ["alive", "gone"])])
async def test_stale_servers_are_unregistered_if_that_is_turned_on(after_s: int, left: list[str]) -> None:
    desk = Desk()
    for name, state in (("alive", HealthState.HEALTHY), ("gone", HealthState.UNHEALTHY)):
        await desk.register(id=name)
        health = ServerHealth(state=state, since=desk.time.ms + 1, registered_at=desk.time.ms)
        await desk.store.put_health(name, health, 0)
    step = stale.Stale(desk.fleet, desk.registration, desk.time, after_s)
    await step.unregister()
    desk.time.ms += 60_001
    await step.unregister()
    assert [config.id for config, _ in desk.fleet.members()] == left
