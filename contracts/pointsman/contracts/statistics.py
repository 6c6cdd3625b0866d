"""Statistics answers of `API.md` §3; rates in 0-100, times in ms, `asOf` in ms since the epoch.

Counts are exact, percentiles within 1 %. `stale` says that the archive is away and the report is the last one, as of then.
`asOf` is null when nothing is archived yet and nobody says whether something waits for it.
"""

from typing import Annotated

from msgspec import Meta

from pointsman.contracts.balancer import Alert, ClassStatus, GateStatus, PoolStatus, ServerLoad
from pointsman.contracts.base import Message, Request

Date = Annotated[str, Meta(pattern=r"^\d{4}-\d{2}-\d{2}$(?!\n)")]


class StatisticsQuery(Request):
    """A day, or the range [from, to) in ms since the epoch; at most 90 days."""

    date: Date | None = None
    from_ms: int | None = None
    to_ms: int | None = None
    server_id: str | None = None


class TopServer(Message):
    server_id: str
    tasks_processed: int
    success_rate: float


class HourCount(Message):
    hour: int
    tasks: int


class DayBefore(Message):
    """The same time 24 hours earlier; of what has not passed yet, up to the running minute. `failed` has timeouts too."""

    from_ms: int
    to_ms: int
    created: int
    completed: int
    successful: int
    failed: int
    cancelled: int
    retried: int


class TaskStatistics(Message):
    total_tasks: int
    pending_tasks: int
    processing_tasks: int
    successful_tasks: int
    failed_tasks: int
    retried_tasks: int
    cancelled_tasks: int
    timeout_tasks: int
    average_processing_time: float | None
    p50: float | None
    p95: float | None
    p99: float | None
    wait_p50: float | None
    wait_p95: float | None
    wait_p99: float | None
    server_count: int
    top_servers: tuple[TopServer, ...]
    hourly_trend: tuple[HourCount, ...]
    as_of: int | None
    vs: DayBefore | None = None
    stale: bool = False


class HourStatistics(Message):
    """`vs` is null for hours yet to come."""

    hour: int
    period: str
    created: int
    completed: int
    successful: int
    failed: int
    tasks: int
    average_time: float | None
    p50: float | None
    p95: float | None
    p99: float | None
    wait_p50: float | None = None
    wait_p95: float | None = None
    wait_p99: float | None = None
    retried: int = 0
    vs: DayBefore | None = None


class HourlyStatistics(Message):
    date: str
    hourly_breakdown: tuple[HourStatistics, ...]
    as_of: int | None
    stale: bool = False


class ServerFigures(Message):
    server_id: str
    tasks_processed: int
    success_count: int
    failure_count: int
    success_rate: float
    average_processing_time: float | None
    p50: float | None
    p95: float | None
    p99: float | None


class ServerStatistics(ServerFigures):
    uptime: int | None
    as_of: int | None
    stale: bool = False


class FleetStatistics(Message):
    """Every server that ended an attempt, the busiest first, at most 1,000; `total` counts them all."""

    servers: tuple[ServerFigures, ...]
    total: int
    as_of: int | None
    stale: bool = False


class TypeFigures(Message):
    type: str
    total_tasks: int
    successful_tasks: int
    failed_tasks: int
    retried_tasks: int
    cancelled_tasks: int
    timeout_tasks: int
    success_rate: float
    average_processing_time: float | None
    p50: float | None
    p95: float | None
    p99: float | None
    wait_p50: float | None
    wait_p95: float | None
    wait_p99: float | None


class TypesStatistics(Message):
    """Every type with a task created or ended, the busiest first, at most 1,000; `total` counts them all."""

    types: tuple[TypeFigures, ...]
    total: int
    as_of: int | None
    stale: bool = False


class LoadBalancerStatistics(Message):
    """While nobody leads, what runs is not known, and `pending` is what has not ended in the archive."""

    algorithm: str
    pools: dict[str, PoolStatus]
    server_distribution: dict[str, ServerLoad]
    total_active_tasks: int | None
    average_load: float | None
    pending: int
    leader: str | None
    as_of: int
    epoch: int | None = None
    last_dispatch: int | None = None
    waiting: int = 0
    classes: tuple[ClassStatus, ...] = ()
    gates: tuple[GateStatus, ...] = ()
    alerts: tuple[Alert, ...] = ()
