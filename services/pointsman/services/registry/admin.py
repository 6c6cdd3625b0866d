"""The operator's axis of a server as a table, and what each order makes of the record. Pure; ms since the epoch."""

from enum import StrEnum

from msgspec.structs import replace

from pointsman.contracts.errors import invalid
from pointsman.contracts.server import HeartbeatRequest, MaintenanceRequest, ServerAdmin, Wanted

DRAIN_MS_DEFAULT = 300_000
RETURN_MS_MIN = 1_000
OUT_WORDS = frozenset({"draining", "maintenance"})


class State(StrEnum):
    """`Wanted`, with the drain that ends in removal told apart."""

    ACTIVE = "ACTIVE"
    DRAINING = "DRAINING"
    MAINTENANCE = "MAINTENANCE"
    LEAVING = "LEAVING"
    REMOVED = "REMOVED"


class Order(StrEnum):
    DRAIN = "drain"
    STOP = "stop at once"
    ACTIVATE = "activate"
    LEAVE = "drain and unregister"
    DRAINED = "drained"
    UNREGISTER = "unregister"


S, O = State, Order  # noqa: E741

TABLE: dict[tuple[State, Order], State] = {
    (S.ACTIVE, O.DRAIN): S.DRAINING,
    (S.ACTIVE, O.STOP): S.MAINTENANCE,
    (S.ACTIVE, O.ACTIVATE): S.ACTIVE,
    (S.ACTIVE, O.LEAVE): S.LEAVING,
    (S.ACTIVE, O.UNREGISTER): S.REMOVED,
    (S.DRAINING, O.DRAIN): S.DRAINING,
    (S.DRAINING, O.STOP): S.MAINTENANCE,
    (S.DRAINING, O.ACTIVATE): S.ACTIVE,
    (S.DRAINING, O.LEAVE): S.LEAVING,
    (S.DRAINING, O.DRAINED): S.MAINTENANCE,
    (S.DRAINING, O.UNREGISTER): S.REMOVED,
    (S.MAINTENANCE, O.DRAIN): S.MAINTENANCE,
    (S.MAINTENANCE, O.STOP): S.MAINTENANCE,
    (S.MAINTENANCE, O.ACTIVATE): S.ACTIVE,
    (S.MAINTENANCE, O.LEAVE): S.LEAVING,
    (S.MAINTENANCE, O.UNREGISTER): S.REMOVED,
    (S.LEAVING, O.LEAVE): S.LEAVING,
    (S.LEAVING, O.DRAINED): S.REMOVED,
    (S.LEAVING, O.UNREGISTER): S.REMOVED,
}
"""A pair that is not here is refused; nothing leads out of REMOVED."""


def state_of(admin: ServerAdmin) -> State:
    is_leaving = admin.remove and admin.wanted is not Wanted.REMOVED
    return State.LEAVING if is_leaving else State(admin.wanted.value)


def allows(admin: ServerAdmin, order: Order) -> bool:
    return (state_of(admin), order) in TABLE


def wants_maintenance(request: MaintenanceRequest) -> bool:
    """Raises 400."""
    if (request.maintenance is None) == (request.enabled is None):
        raise invalid("maintenance", "give either maintenance or enabled")
    return bool(request.maintenance if request.maintenance is not None else request.enabled)


def order_of(drain_timeout_ms: int | None) -> Order:
    """What runs is known only as of the leader's last word, so even a server that seems idle drains first."""
    return Order.STOP if drain_timeout_ms == 0 else Order.DRAIN


def after(
    admin: ServerAdmin,
    order: Order,
    *,
    now: int,
    by: str,
    reason: str | None = None,
    drain_timeout_ms: int | None = None,
    declared: bool = False,
) -> ServerAdmin:
    """The record after an order that the table allows. Asked again it keeps its time, unless another is given."""
    before, state = state_of(admin), TABLE[state_of(admin), order]
    match state:
        case State.ACTIVE:
            return admin if before is state else ServerAdmin(wanted=Wanted.ACTIVE, since=now, by=by)
        case State.DRAINING:
            if before is state and drain_timeout_ms is None:
                return _taken_over(admin, by=by, reason=reason, declared=declared)
            until = now + (DRAIN_MS_DEFAULT if drain_timeout_ms is None else drain_timeout_ms)
            return ServerAdmin(
                wanted=Wanted.DRAINING, since=now, reason=reason or admin.reason, until=until, by=by, declared=declared
            )
        case State.MAINTENANCE:
            if before is state:
                return _taken_over(admin, by=by, reason=reason, declared=declared)
            if order is Order.DRAINED:
                return replace(admin, wanted=Wanted.MAINTENANCE, since=now, until=None)
            return ServerAdmin(wanted=Wanted.MAINTENANCE, since=now, reason=reason or admin.reason, by=by)
        case State.LEAVING:
            if before is state:
                return admin
            return ServerAdmin(wanted=Wanted.DRAINING, since=now, until=now + DRAIN_MS_DEFAULT, by=by, remove=True)
        case State.REMOVED:
            return ServerAdmin(wanted=Wanted.REMOVED, since=now, by=by, remove=True)


def _taken_over(admin: ServerAdmin, *, by: str, reason: str | None, declared: bool) -> ServerAdmin:
    """What the server declared becomes the operator's order, which the server cannot end; never the other way."""
    if admin.declared and not declared:
        return replace(admin, by=by, declared=False, reason=reason or admin.reason)
    return admin if reason is None or declared else replace(admin, reason=reason)


def declared_order(admin: ServerAdmin, beat: HeartbeatRequest, now: int) -> Order | None:
    """What a heartbeat asks for: out of an active server, back only what the server itself took out.

    It comes back a second after it went at the earliest, so that one that wavers costs few writes.
    """
    if beat.ready is False or beat.status in OUT_WORDS:
        return Order.DRAIN if admin.wanted is Wanted.ACTIVE else None
    may_return = admin.declared and not admin.remove and now - admin.since >= RETURN_MS_MIN
    return Order.ACTIVATE if may_return else None


def is_drained(admin: ServerAdmin, *, running: int, now: int, settle_ms: int) -> bool:
    """Nothing runs any more, seen long enough after the order that nothing can be on its way, or time is up."""
    if admin.until is not None and now >= admin.until:
        return True
    return running == 0 and now - admin.since >= settle_ms
