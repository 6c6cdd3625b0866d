"""Many servers out or back at once: the plan, pure; and the acting on it, one compare-and-set after the other."""

import asyncio
from collections.abc import Iterable

import structlog
from msgspec.structs import replace

from pointsman.client.bus import BusError
from pointsman.contracts.bulk import (
    SERVERS_MAX,
    Change,
    MaintainedPool,
    MaintainedServer,
    MaintainManyAnswer,
    MaintainManyRequest,
)
from pointsman.contracts.errors import PointsmanError, invalid
from pointsman.contracts.server import ServerConfig, Wanted
from pointsman.services.registry import admin as axis
from pointsman.services.registry import view
from pointsman.services.registry.fleet import Fleet, Member
from pointsman.services.registry.guard import Guard, what_changed
from pointsman.services.registry.orders import Orders
from pointsman.services.registry.registration import Registration
from pointsman.services.registry.store import Stored
from pointsman.services.runtime.audit import Notes

log = structlog.get_logger()

AT_ONCE = 16
ACT_S_MAX = 12.0
TAKES_OUT = frozenset({Change.DRAIN, Change.REMOVE})


def plan(fleet: Fleet, request: MaintainManyRequest) -> MaintainManyAnswer:
    """What the request would do to each server and pool as this replica sees them; raises 400."""
    if request.group is None and request.pool is None and request.ids is None:
        raise invalid("ids", "give at least one of group, pool and ids")
    if request.remove and not request.enabled:
        raise invalid("remove", "only what is taken out (enabled) can be unregistered")
    chosen = [(config, member) for config, member in fleet.members() if _matches(config, request)]
    missing = sorted(set(request.ids or ()) - {config.id for config, _ in chosen})
    if len(chosen) + len(missing) > SERVERS_MAX:
        raise invalid("pool", f"{len(chosen)} servers match, at most {SERVERS_MAX} at once")
    planned = tuple(_planned(fleet, config, member, request) for config, member in chosen)
    return MaintainManyAnswer(
        dry_run=request.dry_run,
        servers=(*planned, *(_missing(fleet, server_id) for server_id in missing)),
        pools=_pools(fleet, {server.server_id: server.change for server in planned}),
        changed=0,
        failed=0,
    )


def _matches(config: ServerConfig, request: MaintainManyRequest) -> bool:
    return (
        (request.pool is None or config.pool == request.pool)
        and (request.group is None or request.group in config.groups)
        and (request.ids is None or config.id in request.ids)
    )


def _planned(fleet: Fleet, config: ServerConfig, member: Member, request: MaintainManyRequest) -> MaintainedServer:
    change, error = _change(member, request), None
    if change is Change.REFUSED:
        error = "the server is being unregistered"
    elif member.revision > request.revisions.get(config.id, member.revision):
        change, error = Change.REFUSED, _moved(config, member)
    return MaintainedServer(
        server_id=config.id,
        pool=config.pool,
        status=view.status_of(member.admin.wanted, fleet.health(config.id).state),
        running=fleet.running(config.id),
        change=change,
        error=error,
        revision=member.revision,
    )


def _moved(config: ServerConfig, member: Member) -> str:
    """This replica may lag behind the caller: only what is newer counts here, the write decides."""
    admin = Stored(member.admin if member.admin_revision else None, member.admin_revision)
    return f"changed meanwhile: {what_changed(Stored(config, member.config_revision), admin)}"


def _change(member: Member, request: MaintainManyRequest) -> Change:
    if not axis.allows(member.admin, _order(request)):
        return Change.REFUSED
    if request.remove:
        return Change.REMOVE
    is_active = member.admin.wanted is Wanted.ACTIVE
    if not request.enabled:
        return Change.NONE if is_active else Change.ACTIVATE
    gives_time = member.admin.wanted is Wanted.DRAINING and request.drain_timeout_ms is not None
    return Change.DRAIN if is_active or gives_time or member.admin.declared else Change.NONE


def _order(request: MaintainManyRequest) -> axis.Order:
    match request.enabled, request.remove, axis.order_of(request.drain_timeout_ms):
        case False, _, _:
            return axis.Order.ACTIVATE
        case _, False, order:
            return order
        case _, _, axis.Order.STOP:
            return axis.Order.UNREGISTER
        case _:
            return axis.Order.LEAVE


def _missing(fleet: Fleet, server_id: str) -> MaintainedServer:
    known = fleet.member(server_id)
    config = known.config if known else None
    why = "the server does not exist" if config is None else "the server matches not all of group, pool and ids"
    return MaintainedServer(
        server_id=server_id,
        pool=config.pool if config else None,
        status=None,
        running=fleet.running(server_id),
        change=Change.REFUSED,
        error=why,
    )


def _pools(fleet: Fleet, changes: dict[str, Change]) -> tuple[MaintainedPool, ...]:
    members = fleet.members()
    touched = sorted({config.pool for config, _ in members if config.id in changes})
    return tuple(_pool(fleet, name, [pair for pair in members if pair[0].pool == name], changes) for name in touched)


def _pool(
    fleet: Fleet, name: str, members: Iterable[tuple[ServerConfig, Member]], changes: dict[str, Change]
) -> MaintainedPool:
    before = after = running = 0
    for config, member in members:
        slots, change = view.limit_of(fleet, config), changes.get(config.id)
        takes_now = view.takes_tasks(fleet, config, member)
        running += fleet.running(config.id)
        before += slots if takes_now else 0
        after += slots if change is Change.ACTIVATE or (takes_now and change not in TAKES_OUT) else 0
    return MaintainedPool(
        pool=name, slots_before=before, slots_after=after, running=running, warnings=_warnings(before, after, running)
    )


def _warnings(before: int, after: int, running: int) -> tuple[str, ...]:
    if after >= before:
        return ()
    if after == 0:
        return ("no server of the pool would take tasks",)
    return (f"{running} tasks run, and only {after} slots would be left",) if after < running else ()


def note(notes: Notes, request: MaintainManyRequest, told: MaintainManyAnswer) -> None:
    """For the audit trail: which servers, what was ordered, and what nobody did."""
    acted = [server for server in told.servers if server.change is not Change.NONE]
    failed = [server for server in acted if server.done is False]
    notes.target = acted[0].server_id if len(acted) == 1 else f"{len(acted)} servers"
    notes.before = {"wanted": acted[0].status} if len(acted) == 1 else None
    notes.after = {
        "wanted": _order(request),
        "reason": request.reason,
        "servers": [server.server_id for server in acted],
        "failed": {server.server_id: server.error for server in failed},
    }
    if failed and not told.changed:
        notes.refused = failed[0].error or "not done"


class Acting:
    """One request over many servers, each order under the caller's name and guarded by what the caller has seen."""

    def __init__(
        self, orders: Orders, registration: Registration, request: MaintainManyRequest, by: str, operation: str
    ) -> None:
        self._orders = orders
        self._registration = registration
        self._request = request
        self._by = by
        self._operation = operation

    async def run(self, planned: MaintainManyAnswer) -> MaintainManyAnswer:
        """What became of each server; those that time was not enough for are told so and may be asked for again."""
        turns, end = asyncio.Semaphore(AT_ONCE), asyncio.get_running_loop().time() + ACT_S_MAX

        async def one(server: MaintainedServer) -> MaintainedServer:
            if server.change is Change.NONE:
                return server
            if server.change is Change.REFUSED and not (server.revision and self._operation):
                return replace(server, done=False)
            async with turns:
                if asyncio.get_running_loop().time() >= end:
                    return replace(server, done=False, error="not tried for lack of time: ask again")
                return await self._acted(server)

        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one(server)) for server in planned.servers]
        servers = tuple(task.result() for task in tasks)
        changed, failed = (sum(server.done is done for server in servers) for done in (True, False))
        log.info("servers ordered", enabled=self._request.enabled, changed=changed, failed=failed, by=self._by)
        return replace(planned, servers=servers, changed=changed, failed=failed)

    async def _acted(self, server: MaintainedServer) -> MaintainedServer:
        """What the plan refuses is asked for too if the order has a name: it may be done, and only the answer was lost."""
        try:
            await self._order(server.server_id)
        except PointsmanError as error:
            return replace(server, done=False, error=error.detail)
        except BusError:
            return replace(server, done=False, error="the store did not answer: the outcome is unknown")
        return replace(server, done=True, error=None)

    async def _order(self, server_id: str) -> None:
        request, by = self._request, self._by
        guard = Guard(request.revisions.get(server_id), self._operation)
        match _order(request):
            case axis.Order.ACTIVATE:
                await self._orders.activate(server_id, by, guard)
            case axis.Order.LEAVE:
                await self._orders.remove_after_drain(server_id, by, guard)
            case axis.Order.UNREGISTER:
                await self._registration.remove(server_id, guard)
            case _:
                await self._orders.take_out(
                    server_id, by, guard, reason=request.reason, drain_timeout_ms=request.drain_timeout_ms
                )
