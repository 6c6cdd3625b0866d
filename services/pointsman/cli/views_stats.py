"""How statistics and the balancer's state are shown."""

from typing import TYPE_CHECKING

from msgspec.structs import asdict, replace

from pointsman.cli.output import At, Column, Style, View, Word, as_table, facts, table
from pointsman.cli.views import at, span
from pointsman.contracts.base import Message

if TYPE_CHECKING:
    from pointsman.contracts.alerts import AlertList, ListedAlert
    from pointsman.contracts.statistics import (
        FleetStatistics,
        HourlyStatistics,
        HourStatistics,
        LoadBalancerStatistics,
        ServerFigures,
        ServerStatistics,
        TaskStatistics,
        TypeFigures,
        TypesStatistics,
    )
    from pointsman.contracts.steering import ExpectedShare, PoolPlan

STALE = "the archive is away: this is the last report"

HOUR_COLUMNS: "tuple[Column[HourStatistics], ...]" = (
    Column("HOUR", lambda one: one.period),
    Column("CREATED", lambda one: one.created),
    Column("COMPLETED", lambda one: one.completed),
    Column("SUCCESSFUL", lambda one: one.successful),
    Column("FAILED", lambda one: one.failed),
    Column("MEAN", lambda one: span(one.average_time)),
    Column("P50", lambda one: span(one.p50)),
    Column("P95", lambda one: span(one.p95)),
    Column("P99", lambda one: span(one.p99)),
    Column("WAIT P95", lambda one: span(one.wait_p95), True),
    Column("RETRIED", lambda one: one.retried, True),
    Column("CREATED A DAY BEFORE", lambda one: None if one.vs is None else one.vs.created, True),
)
HOURS: "View[HourlyStatistics, HourStatistics]" = View(
    HOUR_COLUMNS,
    lambda day: day.hourly_breakdown,
    lambda one: str(one.hour),
    more=lambda day: STALE if day.stale else None,
)


def _tasks(shown: "TaskStatistics", style: Style) -> str:
    pairs = (
        ("tasks", shown.total_tasks),
        ("successful", shown.successful_tasks),
        ("failed", shown.failed_tasks),
        ("timed out", shown.timeout_tasks),
        ("cancelled", shown.cancelled_tasks),
        ("retried", shown.retried_tasks),
        ("pending now", shown.pending_tasks),
        ("processing now", shown.processing_tasks),
        ("ran", _percentiles(shown.average_processing_time, shown.p50, shown.p95, shown.p99)),
        ("waited", _percentiles(None, shown.wait_p50, shown.wait_p95, shown.wait_p99)),
        ("day before", None if shown.vs is None else f"{shown.vs.created} created, {shown.vs.failed} failed"),
        ("servers", shown.server_count),
        ("as of", at(shown.as_of) or "not known yet"),
        ("stale", STALE if shown.stale else None),
    )
    rows = [(one.server_id, one.tasks_processed, f"{one.success_rate:g} %") for one in shown.top_servers]
    told = facts([pair for pair in pairs if pair[1] is not None], style)
    return f"{told}\n\n{table(('SERVER', 'TASKS', 'SUCCESS'), rows, style)}" if rows else told


def _percentiles(mean: float | None, *points: float | None) -> str:
    named = (("mean", mean), *zip(("p50", "p95", "p99"), points, strict=True))
    return "  ".join(f"{name} {span(value)}" for name, value in named if value is not None) or "-"


DAY_COLUMNS: "tuple[Column[TaskStatistics], ...]" = (
    Column("TASKS", lambda one: one.total_tasks),
    Column("SUCCESSFUL", lambda one: one.successful_tasks),
    Column("FAILED", lambda one: one.failed_tasks),
    Column("TIMED OUT", lambda one: one.timeout_tasks),
    Column("CANCELLED", lambda one: one.cancelled_tasks),
    Column("RETRIED", lambda one: one.retried_tasks),
    Column("P50", lambda one: span(one.p50)),
    Column("P95", lambda one: span(one.p95)),
    Column("P99", lambda one: span(one.p99)),
    Column("WAIT P95", lambda one: span(one.wait_p95)),
    Column("AS OF", lambda one: at(one.as_of)),
)
DAY: "View[TaskStatistics, TaskStatistics]" = View(
    DAY_COLUMNS, lambda one: (one,), lambda _one: "day", _tasks, still=lambda one: replace(one, as_of=0)
)
SERVER_COLUMNS: "tuple[Column[ServerFigures], ...]" = (
    Column("SERVER", lambda one: one.server_id),
    Column("TASKS", lambda one: one.tasks_processed),
    Column("SUCCESSFUL", lambda one: one.success_count),
    Column("FAILED", lambda one: one.failure_count),
    Column("SUCCESS", lambda one: f"{one.success_rate:g} %"),
    Column("MEAN", lambda one: span(one.average_processing_time)),
    Column("P50", lambda one: span(one.p50)),
    Column("P95", lambda one: span(one.p95)),
    Column("P99", lambda one: span(one.p99)),
)
SERVERS: "View[FleetStatistics, ServerFigures]" = View(
    SERVER_COLUMNS,
    lambda fleet: fleet.servers,
    lambda one: one.server_id,
    more=lambda fleet: fewer(len(fleet.servers), fleet.total, is_stale=fleet.stale),
)
SERVER: "View[ServerStatistics, ServerFigures]" = View(
    SERVER_COLUMNS, lambda one: (one,), lambda one: one.server_id, more=lambda one: _of_server(one)
)
TYPES: "View[TypesStatistics, TypeFigures]" = View(
    (
        Column("TYPE", lambda one: one.type),
        Column("TASKS", lambda one: one.total_tasks),
        Column("SUCCESSFUL", lambda one: one.successful_tasks),
        Column("FAILED", lambda one: one.failed_tasks),
        Column("TIMED OUT", lambda one: one.timeout_tasks),
        Column("RETRIED", lambda one: one.retried_tasks),
        Column("SUCCESS", lambda one: f"{one.success_rate:g} %"),
        Column("P50", lambda one: span(one.p50)),
        Column("P95", lambda one: span(one.p95)),
        Column("WAIT P95", lambda one: span(one.wait_p95)),
        Column("CANCELLED", lambda one: one.cancelled_tasks, True),
        Column("MEAN", lambda one: span(one.average_processing_time), True),
        Column("P99", lambda one: span(one.p99), True),
    ),
    lambda types: types.types,
    lambda one: one.type,
    more=lambda types: fewer(len(types.types), types.total, is_stale=types.stale),
)


def _of_server(one: "ServerStatistics") -> str | None:
    told = ("no such server is registered now" if one.uptime is None else "", STALE if one.stale else "")
    return "; ".join(filter(None, told)) or None


def fewer(shown: int, total: int, *, is_stale: bool) -> str | None:
    """What people must know of a table that is not all, or not of now."""
    told = (f"{total - shown} more are not told" if shown < total else "", STALE if is_stale else "")
    return "; ".join(one for one in told if one) or None


class PoolRow(Message):
    """One pool of the balancer's answer, with its name."""

    pool: str
    algorithm: str
    servers: int
    eligible: int
    pending: int
    active_tasks: int
    slots: int
    starts_per_s: float


POOLS: tuple[Column[PoolRow], ...] = (
    Column("POOL", lambda one: one.pool),
    Column("ALGORITHM", lambda one: one.algorithm),
    Column("SERVERS", lambda one: one.servers),
    Column("ELIGIBLE", lambda one: one.eligible),
    Column("PENDING", lambda one: one.pending),
    Column("ACTIVE", lambda one: one.active_tasks),
    Column("SLOTS", lambda one: one.slots),
    Column("STARTS/S", lambda one: f"{one.starts_per_s:.1f}"),
)


def _rows(shown: "LoadBalancerStatistics") -> list[PoolRow]:
    return [PoolRow(pool=name, **asdict(one)) for name, one in sorted(shown.pools.items())]


def _balancer(shown: "LoadBalancerStatistics", style: Style) -> str:
    pairs = (
        ("leader", shown.leader or Word("offline")),
        ("epoch", shown.epoch),
        ("pending", shown.pending),
        ("waiting", shown.waiting),
        ("active", shown.total_active_tasks),
        ("load", None if shown.average_load is None else f"{shown.average_load * 100:.0f} %"),
        ("last dispatch", at(shown.last_dispatch)),
        ("as of", At(shown.as_of)),
    )
    parts = [facts(pairs, style), as_table(POOLS, _rows(shown), style)]
    if shown.gates:
        gates = [
            (one.scope, one.name, one.running, one.max_concurrent, one.per_second, at(one.blocked_until))
            for one in shown.gates
        ]
        parts.append(table(("LIMIT", "NAME", "RUNNING", "AT ONCE", "PER S", "BLOCKED UNTIL"), gates, style))
    if shown.alerts:
        alerts = [(Word("warning"), one.kind, one.pool, one.detail) for one in shown.alerts]
        parts.append(table(("ALERT", "KIND", "POOL", "DETAIL"), alerts, style))
    return "\n\n".join(parts)


BALANCER: "View[LoadBalancerStatistics, PoolRow]" = View(POOLS, _rows, lambda row: row.pool, _balancer)


def _switch(plan: "PoolPlan", style: Style) -> str:
    pairs = (
        ("pool", plan.pool),
        ("algorithm", f"{plan.algorithm} -> {plan.wanted}"),
        ("chosen by", plan.by),
        ("since", at(plan.updated_at)),
        ("moved", f"{plan.moved * 100:.0f} % of the tasks to come would go elsewhere ({plan.per_second:.1f} starts/s)"),
        ("revision", plan.revision),
    )
    told = [facts(pairs, style)]
    if plan.servers:
        rows = [[column.get(one) for column in SHARES] for one in plan.servers]
        told.append(table([column.name for column in SHARES], rows, style))
    return "\n\n".join([*told, *plan.notes])


SHARES: "tuple[Column[ExpectedShare], ...]" = (
    Column("SERVER", lambda one: one.server_id),
    Column("SHARE NOW", lambda one: f"{one.now * 100:.1f} %"),
    Column("THEN", lambda one: f"{one.then * 100:.1f} %"),
)
SWITCH: "View[PoolPlan, ExpectedShare]" = View(SHARES, lambda plan: plan.servers, lambda one: one.server_id, _switch)

ALERT_COLUMNS: "tuple[Column[ListedAlert], ...]" = (
    Column("SEVERITY", lambda one: Word(one.severity)),
    Column("KIND", lambda one: one.kind),
    Column("SUBJECT", lambda one: one.subject or None),
    Column("SINCE", lambda one: At(one.since)),
    Column("DETAIL", lambda one: one.detail),
    Column("KNOWN BY", lambda one: one.acknowledged_by),
    Column("NOTE", lambda one: one.note or None, True),
)
ALERTS: "View[AlertList, ListedAlert]" = View(
    ALERT_COLUMNS, lambda found: found.alerts, lambda one: f"{one.kind}/{one.subject}"
)
ALERT: "View[ListedAlert, ListedAlert]" = View(
    ALERT_COLUMNS, lambda one: (one,), lambda one: f"{one.kind}/{one.subject}"
)
