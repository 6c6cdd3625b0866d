"""What the leader tells of its work, put together from its model; which servers, `Told` remembers. Pure."""

from dataclasses import dataclass, field

from pointsman.contracts.flow import FlowFrame, PoolFlow, ServerFlow, TypeFlow
from pointsman.contracts.lifecycle import Status
from pointsman.contracts.record import POOL_DEFAULT
from pointsman.services.balancer import rules
from pointsman.services.balancer.flow import Counts, Tally
from pointsman.services.balancer.model import Model
from pointsman.services.balancer.server_state import ServerState
from pointsman.services.balancer.settings_book import SettingsBook

NOTHING = Tally()

type Gauges = tuple[int, int, bool]


@dataclass(frozen=True, slots=True)
class Term:
    """Who tells, of which term."""

    leader: str
    epoch: int


@dataclass(slots=True)
class PoolSums:
    servers: int = 0
    eligible: int = 0
    running: int = 0
    slots: int = 0


@dataclass(slots=True)
class Told:
    """How the servers stood when they were last told of."""

    gauges: dict[str, Gauges] = field(default_factory=dict)


def flow_frame(
    model: Model,
    book: SettingsBook,
    told: Told,
    counts: Counts,
    term: Term,
    *,
    whole: bool,
    executors: int,
    span_ms: int,
    now: int,
    now_s: float,
) -> FlowFrame:
    """`whole`: of every server, else of those that changed since the frame before."""
    servers, pools = _servers(model, told, counts, whole=whole, now_s=now_s)
    lines, oldest = model.pending.oldest()
    running = len(model.running)
    return FlowFrame(
        epoch=term.epoch,
        leader=term.leader,
        at=now,
        span_ms=span_ms,
        whole=whole,
        submitted=counts.submitted,
        completed=counts.ended.get(Status.COMPLETED, 0),
        failed=counts.ended.get(Status.FAILED, 0),
        timed_out=counts.ended.get(Status.TIMEOUT, 0),
        cancelled=counts.ended.get(Status.CANCELLED, 0),
        retried=counts.retried,
        waits=counts.waits,
        runs=counts.runs,
        pending=model.pending.count,
        delayed=max(0, len(model.entries) - running - model.pending.count),
        running=running,
        slots=sum(pool.slots for pool in pools.values()),
        oldest_due=oldest,
        executors=executors,
        pools=_pools(model, book, pools, lines),
        servers=servers,
        types=tuple(TypeFlow(type=name, done=one[0], failed=one[1]) for name, one in counts.types.items()),
        sample=tuple(sorted(counts.sample, key=lambda one: one.at)),
        happened=counts.happened,
        alerts=rules.alerts(model) if whole else (),
    )


def _servers(
    model: Model, told: Told, counts: Counts, *, whole: bool, now_s: float
) -> tuple[tuple[ServerFlow, ...], dict[str, PoolSums]]:
    pools: dict[str, PoolSums] = {}
    rows: list[ServerFlow] = []
    before, gauges = told.gauges, {}
    for server in model.fleet:
        _sum_up(server, pools)
        now = gauges[server.id] = (server.active, server.limit, server.serves)
        tally = counts.servers.get(server.id)
        if whole or tally is not None or now != before.get(server.id):
            rows.append(_row(server, tally or NOTHING, now_s))
    told.gauges = gauges
    return tuple(rows), pools


def _sum_up(server: ServerState, pools: dict[str, PoolSums]) -> None:
    pool = pools.get(server.config.pool)
    if pool is None:
        pool = pools[server.config.pool] = PoolSums()
    pool.servers += 1
    pool.running += server.active
    if server.serves:
        pool.eligible += 1
        pool.slots += server.limit


def _row(server: ServerState, tally: Tally, now_s: float) -> ServerFlow:
    return ServerFlow(
        id=server.id,
        active=server.active,
        limit=server.limit,
        serves=server.serves,
        estimate=round(server.estimator.read_ms("", now_s)) or None,
        started=tally.started,
        done=tally.done,
        failed=tally.failed,
        lost=tally.lost,
        runs=tally.runs,
    )


def _pools(model: Model, book: SettingsBook, sums: dict[str, PoolSums], oldest: dict[str, int]) -> tuple[PoolFlow, ...]:
    pending = model.pending.by_pool()
    return tuple(
        _pool(model, book, name, sums.get(name, PoolSums()), pending.get(name, 0), oldest.get(name))
        for name in sorted({POOL_DEFAULT, *sums, *model.backlog.pools()})
    )


def _pool(
    model: Model, book: SettingsBook, name: str, sums: PoolSums, pending: int, oldest_due: int | None
) -> PoolFlow:
    settings, revision = book.pool(name)
    return PoolFlow(
        name=name,
        algorithm=model.fleet.algorithm(name),
        servers=sums.servers,
        eligible=sums.eligible,
        pending=pending,
        running=sums.running,
        slots=sums.slots,
        starts_per_s=round(model.pools.starts_per_s(name), 3),
        oldest_due=oldest_due,
        revision=revision or None,
        changed_at=settings.updated_at if settings is not None else None,
        changed_by=settings.by if settings is not None else None,
    )
