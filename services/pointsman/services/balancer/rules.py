"""Pure rules of the balancer's verbs: names of algorithms, what the leader tells of itself."""

from heapq import nlargest

from pointsman.contracts.balancer import (
    Alert,
    BalancerStatus,
    ClassStatus,
    GateStatus,
    LoadFrame,
    PoolStatus,
)
from pointsman.contracts.execution import Abort, attempt_key
from pointsman.contracts.explain import Gate as Scope
from pointsman.contracts.limits import Kind
from pointsman.contracts.record import POOL_DEFAULT
from pointsman.services.balancer.gate import Gate, GateId
from pointsman.services.balancer.gates import ASIDE
from pointsman.services.balancer.model import Model

CLASSES_MAX, GATES_MAX, ALERTS_MAX = 100, 200, 100
SCOPES = {Kind.POOL: Scope.POOL_LIMIT, Kind.TYPE: Scope.TYPE_LIMIT, Kind.KEY: Scope.KEY_LIMIT}


def status(
    model: Model, *, leader: str, epoch: int, last_dispatch: int | None, dispatched: int, now: int, now_s: float
) -> BalancerStatus:
    loads = model.fleet.loads(now_s)
    return BalancerStatus(
        leader=leader,
        epoch=epoch,
        pools=_pools(model),
        servers=loads,
        pending=model.pending.count,
        waiting=len(model.entries) - len(model.running) - model.pending.count,
        active=len(model.running),
        last_dispatch=last_dispatch,
        dispatched=dispatched,
        as_of=now,
        classes=_classes(model, now),
        gates=_gates(model, now, now_s),
        alerts=alerts(model),
    )


def _classes(model: Model, now: int) -> tuple[ClassStatus, ...]:
    largest = nlargest(CLASSES_MAX, model.pending.by_class().items(), key=lambda one: one[1])
    return tuple(
        ClassStatus(
            pool=requirement[0],
            capabilities=tuple(sorted(requirement[1])),
            pending=count,
            servers=len(model.fleet.matching(requirement)),
            free=model.fleet.free_count(requirement, now),
        )
        for requirement, count in largest
    )


def _gates(model: Model, now: int, now_s: float) -> tuple[GateStatus, ...]:
    """Limits and blocked keys; the retry budgets, which every pool has, only while they hold something back."""
    gates = model.pending.gates
    shown = [gate for gate in gates if _is_in_force(gate, now)]
    return tuple(
        GateStatus(
            scope=gate.id.scope,
            name=gate.id.name,
            running=gates.running(gate),
            max_concurrent=gate.limit,
            per_second=gate.bucket.rate.per_second if gate.bucket else None,
            burst=gate.bucket.rate.burst if gate.bucket else None,
            tokens=round(gate.bucket.tokens(now_s), 3) if gate.bucket else None,
            blocked_until=gate.blocked_until if gate.blocked_until > now else None,
        )
        for gate in shown[:GATES_MAX]
    )


def _is_in_force(gate: Gate, now: int) -> bool:
    """A gate whose limit was lifted stays for a while, for those that it has let go."""
    if gate.id.scope is Scope.RETRY_BUDGET or gate.id.scope in ASIDE:
        return bool(gate.queues)
    return gate.limit is not None or gate.bucket is not None or gate.blocked_until > now


def alerts(model: Model) -> tuple[Alert, ...]:
    """Classes that no registered server could ever serve."""
    impossible = [
        (requirement, count)
        for requirement, count in model.pending.by_class().items()
        if not model.fleet.matching(requirement)
    ]
    return tuple(
        Alert(
            kind="no-server",
            pool=pool,
            detail=f"{_waiting(count)} for a server with {', '.join(sorted(capabilities)) or 'no special capabilities'}"
            f", and none is registered in pool {pool}",
        )
        for (pool, capabilities), count in sorted(impossible, key=lambda one: -one[1])[:ALERTS_MAX]
    )


def _waiting(count: int) -> str:
    return "1 task waits" if count == 1 else f"{count} tasks wait"


def _pools(model: Model) -> dict[str, PoolStatus]:
    pending = model.pending.by_pool()
    return {name: _pool(model, name, pending.get(name, 0)) for name in sorted(known_pools(model))}


def pool_status(model: Model, name: str) -> PoolStatus:
    return _pool(model, name, model.pending.by_pool().get(name, 0))


def _pool(model: Model, name: str, pending: int) -> PoolStatus:
    servers = [server for server in model.fleet if server.config.pool == name]
    return PoolStatus(
        algorithm=model.fleet.algorithm(name),
        servers=len(servers),
        eligible=sum(server.serves for server in servers),
        pending=pending,
        active_tasks=sum(server.active for server in servers),
        slots=sum(server.limit for server in servers if server.serves),
        starts_per_s=round(model.pools.starts_per_s(name), 3),
    )


def known_pools(model: Model) -> set[str]:
    """Pools with servers or waiting tasks, and the default one."""
    return {POOL_DEFAULT, *model.backlog.pools(), *(server.config.pool for server in model.fleet)}


def under_limit(model: Model, kind: Kind, name: str, now: int) -> tuple[int, int | None]:
    """How many attempts run under a limit, and until when a server's Retry-After holds all of them."""
    gates = model.pending.gates
    gate = gates.get(GateId(SCOPES[kind], name))
    if gate is None:
        return 0, None
    return gates.running(gate), gate.blocked_until if gate.blocked_until > now else None


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
        drain_per_s=round(model.backlog.drain_per_s, 3),
        pools=model.backlog.told(model.pools.all_settings),
    )
