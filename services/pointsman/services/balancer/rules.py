"""Pure rules of the balancer's verbs: names of algorithms, what the leader tells of itself."""

from pointsman.contracts.balancer import (
    ALGORITHM_NAMES,
    ALIASES,
    Algorithm,
    BalancerStatus,
    LoadFrame,
    PoolStatus,
)
from pointsman.contracts.errors import invalid
from pointsman.contracts.execution import Abort, attempt_key
from pointsman.contracts.record import POOL_DEFAULT
from pointsman.services.balancer.model import Model


def algorithm_of(name: str) -> Algorithm:
    """The algorithm of a name or alias; 400 that lists the names."""
    try:
        return ALIASES[name] if name in ALIASES else Algorithm(name)
    except ValueError:
        raise invalid("algorithm", f"unknown; one of {', '.join(ALGORITHM_NAMES)}") from None


def status(
    model: Model, *, leader: str, epoch: int, last_dispatch: int | None, dispatched: int, now: int, now_s: float
) -> BalancerStatus:
    loads = model.fleet.loads(now_s)
    return BalancerStatus(
        leader=leader,
        epoch=epoch,
        pools=_pools(model),
        servers=loads,
        pending=len(model.entries) - len(model.running),
        waiting=len(model.entries) - len(model.running) - model.pending.count,
        active=len(model.running),
        last_dispatch=last_dispatch,
        dispatched=dispatched,
        as_of=now,
    )


def _pools(model: Model) -> dict[str, PoolStatus]:
    pending = model.pending.by_pool()
    names = {POOL_DEFAULT, *pending, *(server.config.pool for server in model.fleet)}
    pools = {}
    for name in sorted(names):
        servers = [server for server in model.fleet if server.config.pool == name]
        pools[name] = PoolStatus(
            algorithm=model.fleet.algorithm(name),
            servers=len(servers),
            eligible=sum(server.serves for server in servers),
            pending=pending.get(name, 0),
            active_tasks=sum(server.active for server in servers),
            slots=sum(server.limit for server in servers if server.serves),
        )
    return pools


def load_frame(model: Model, epoch: int, cancelled: list[Abort], now: int) -> LoadFrame:
    cancel: dict[str, tuple[str, ...]] = {}
    for abort in cancelled:
        key = attempt_key(abort.task_id, abort.generation, abort.number)
        cancel[abort.server_id] = (*cancel.get(abort.server_id, ()), key)
    return LoadFrame(
        epoch=epoch,
        active=model.slots.by_server(),
        limits={server.id: server.limit for server in model.fleet},
        cancel=cancel,
        pending=len(model.entries) - len(model.running),
        as_of=now,
    )
