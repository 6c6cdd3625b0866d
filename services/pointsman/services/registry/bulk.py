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
from pointsman.contracts.server import HealthState, ServerConfig, Wanted
from pointsman.services.registry import admin as axis
from pointsman.services.registry import view
from pointsman.services.registry.fleet import Fleet, Member
from pointsman.services.registry.orders import Orders

log = structlog.get_logger()

AT_ONCE = 16
ACT_S_MAX = 12.0
TAKES_TASKS = frozenset({HealthState.WARMING, HealthState.HEALTHY, HealthState.RECOVERING})


def plan(fleet: Fleet, request: MaintainManyRequest) -> MaintainManyAnswer:
    """What the request would do to each server and pool as this replica sees them; raises 400."""
    if request.group is None and request.pool is None and request.ids is None:
        raise invalid("ids", "give at least one of group, pool and ids")
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
    return MaintainedServer(
        server_id=config.id,
        pool=config.pool,
        status=view.status_of(member.admin.wanted, fleet.health(config.id).state),
        running=fleet.running(config.id),
        change=_change(member, request),
        error="the server is being unregistered" if member.admin.remove else None,
    )


def _change(member: Member, request: MaintainManyRequest) -> Change:
    order = axis.order_of(request.drain_timeout_ms) if request.enabled else axis.Order.ACTIVATE
    if not axis.allows(member.admin, order):
        return Change.REFUSED
    is_active = member.admin.wanted is Wanted.ACTIVE
    if not request.enabled:
        return Change.NONE if is_active else Change.ACTIVATE
    gives_time = member.admin.wanted is Wanted.DRAINING and request.drain_timeout_ms is not None
    return Change.DRAIN if is_active or gives_time or member.admin.declared else Change.NONE


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
        takes_now = member.admin.wanted is Wanted.ACTIVE and fleet.health(config.id).state in TAKES_TASKS
        running += fleet.running(config.id)
        before += slots if takes_now else 0
        after += slots if change is Change.ACTIVATE or (takes_now and change is not Change.DRAIN) else 0
    return MaintainedPool(
        pool=name, slots_before=before, slots_after=after, running=running, warnings=_warnings(before, after, running)
    )


def _warnings(before: int, after: int, running: int) -> tuple[str, ...]:
    if after >= before:
        return ()
    if after == 0:
        return ("no server of the pool would take tasks",)
    return (f"{running} tasks run, and only {after} slots would be left",) if after < running else ()


async def act(orders: Orders, request: MaintainManyRequest, planned: MaintainManyAnswer, by: str) -> MaintainManyAnswer:
    """What became of each server; those that time was not enough for are told so and may be asked for again."""
    turns, end = asyncio.Semaphore(AT_ONCE), asyncio.get_running_loop().time() + ACT_S_MAX

    async def one(server: MaintainedServer) -> MaintainedServer:
        if server.change is Change.NONE:
            return server
        if server.change is Change.REFUSED:
            return replace(server, done=False)
        async with turns:
            if asyncio.get_running_loop().time() >= end:
                return replace(server, done=False, error="not tried for lack of time: ask again")
            return await _acted(orders, request, server, by)

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(one(server)) for server in planned.servers]
    servers = tuple(task.result() for task in tasks)
    changed, failed = (sum(server.done is done for server in servers) for done in (True, False))
    log.info("servers ordered", enabled=request.enabled, changed=changed, failed=failed, by=by)
    return replace(planned, servers=servers, changed=changed, failed=failed)


async def _acted(orders: Orders, request: MaintainManyRequest, server: MaintainedServer, by: str) -> MaintainedServer:
    try:
        if request.enabled:
            await orders.take_out(
                server.server_id, by, reason=request.reason, drain_timeout_ms=request.drain_timeout_ms
            )
        else:
            await orders.activate(server.server_id, by)
    except PointsmanError as error:
        return replace(server, done=False, error=error.detail)
    except BusError:
        return replace(server, done=False, error="the store did not answer: the outcome is unknown")
    return replace(server, done=True)
