"""What a report covers and how its numbers are put together: pure. Days and hours are UTC, times in ms."""

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime

from pointsman.contracts.balancer import Algorithm, BalancerStatus, PoolStatus
from pointsman.contracts.errors import invalid
from pointsman.contracts.record import POOL_DEFAULT
from pointsman.contracts.statistics import (
    DayBefore,
    HourCount,
    HourStatistics,
    LoadBalancerStatistics,
    ServerFigures,
    StatisticsQuery,
    TopServer,
    TypeFigures,
)
from pointsman.contracts.task import DAY_MS, EPOCH_MS_MAX
from pointsman.services.statistics.spans import HOUR_MS, Range, ceiling, day_before
from pointsman.services.statistics.tally import Counted, Served

HOURS = range(24)
RANGE_DAYS_MAX = 90
RANGE_MS_MAX = RANGE_DAYS_MAX * DAY_MS
TOP_SERVERS = 10
WINDOW_DEFAULT = "1h"
WINDOW = re.compile(r"([1-9][0-9]{0,8})([smhd])")
UNIT_MS = {"s": 1_000, "m": 60_000, "h": HOUR_MS, "d": DAY_MS}


def range_of(query: StatisticsQuery, now_ms: int) -> Range:
    """The day or range asked for, else today; without an end it has all of the running hour. Raises 400."""
    if query.from_ms is None and query.to_ms is None:
        return day_range(query.date, now_ms)
    if query.date is not None:
        raise invalid("date", "give either date or from and to")
    if query.from_ms is None:
        raise invalid("from", "required with to")
    return _checked(
        query.from_ms, max(query.from_ms, ceiling(now_ms + 1, HOUR_MS)) if query.to_ms is None else query.to_ms
    )


def day_range(day: str | None, now_ms: int) -> Range:
    """A UTC day, today when none is given; raises 400."""
    start = now_ms - now_ms % DAY_MS if day is None else _midnight(day)
    return Range(start=start, end=start + DAY_MS)


def window_range(window: str | None, now_ms: int) -> Range:
    """The last `90s`, `15m`, `1h` or `7d`; raises 400."""
    found = WINDOW.fullmatch(window or WINDOW_DEFAULT)
    if found is None:
        raise invalid("window", "must be a number and one of s, m, h, d, for example 1h")
    length = int(found[1]) * UNIT_MS[found[2]]
    if length > RANGE_MS_MAX:
        raise invalid("window", f"longer than {RANGE_DAYS_MAX} days")
    return Range(start=now_ms + 1 - length, end=now_ms + 1)


def date_of(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).date().isoformat()


def success_rate(successes: int, processed: int) -> float:
    """0-100; 0 when nothing was processed."""
    return 100.0 * successes / processed if processed else 0.0


def trend(created: Mapping[int, int]) -> tuple[HourCount, ...]:
    """Tasks created per hour of the day, always 24; the days of a longer range are added up."""
    return tuple(HourCount(hour=hour, tasks=created.get(hour, 0)) for hour in HOURS)


def breakdown(day: Range, hours: Mapping[int, Counted], running: Counted, now_ms: int) -> tuple[HourStatistics, ...]:
    """Always 24 hours. `hours` by their start, those of the day before too; `running` is what the running hour is
    compared with."""
    return tuple(_hour(day.start + hour * HOUR_MS, hours, running, now_ms) for hour in HOURS)


def running_hour(now_ms: int) -> Range:
    """The part of the day before with which the running hour is compared."""
    start = now_ms - now_ms % HOUR_MS
    return day_before(Range(start=start, end=start + HOUR_MS), now_ms)


def day_before_of(span: Range, counted: Counted) -> DayBefore:
    ended = counted.ended
    return DayBefore(
        from_ms=span.start,
        to_ms=span.end,
        created=counted.created,
        completed=ended.total,
        successful=ended.successful,
        failed=ended.failed + ended.timed_out,
        cancelled=ended.cancelled,
        retried=ended.retried,
    )


def type_figures(name: str, counted: Counted) -> TypeFigures:
    ended = counted.ended
    return TypeFigures(
        type=name,
        total_tasks=counted.created,
        successful_tasks=ended.successful,
        failed_tasks=ended.failed,
        retried_tasks=ended.retried,
        cancelled_tasks=ended.cancelled,
        timeout_tasks=ended.timed_out,
        success_rate=success_rate(ended.successful, ended.successful + ended.failed + ended.timed_out),
        average_processing_time=ended.run.mean,
        p50=ended.run.p50,
        p95=ended.run.p95,
        p99=ended.run.p99,
        wait_p50=ended.wait.p50,
        wait_p95=ended.wait.p95,
        wait_p99=ended.wait.p99,
    )


def server_figures(served: Served) -> ServerFigures:
    return ServerFigures(
        server_id=served.server_id,
        tasks_processed=served.processed,
        success_count=served.successes,
        failure_count=served.failures,
        success_rate=success_rate(served.successes, served.processed),
        average_processing_time=served.run.mean,
        p50=served.run.p50,
        p95=served.run.p95,
        p99=served.run.p99,
    )


def top_servers(servers: Sequence[Served]) -> tuple[TopServer, ...]:
    busiest = sorted(servers, key=lambda server: (-server.processed, server.server_id))[:TOP_SERVERS]
    return tuple(
        TopServer(
            server_id=server.server_id,
            tasks_processed=server.processed,
            success_rate=success_rate(server.successes, server.processed),
        )
        for server in busiest
    )


def load_balancer(status: BalancerStatus) -> LoadBalancerStatistics:
    loads = [server.load for server in status.servers.values()]
    return LoadBalancerStatistics(
        algorithm=_algorithm(status.pools),
        pools=status.pools,
        server_distribution=status.servers,
        total_active_tasks=status.active,
        average_load=sum(loads) / len(loads) if loads else 0.0,
        pending=status.pending,
        leader=status.leader,
        as_of=status.as_of,
        epoch=status.epoch,
        last_dispatch=status.last_dispatch,
        waiting=status.waiting,
        classes=status.classes,
        gates=status.gates,
        alerts=status.alerts,
    )


def without_leader(*, pending: int, as_of: int) -> LoadBalancerStatistics:
    """What can be said while nobody leads."""
    return LoadBalancerStatistics(
        algorithm=_algorithm({}),
        pools={},
        server_distribution={},
        total_active_tasks=None,
        average_load=None,
        pending=pending,
        leader=None,
        as_of=as_of,
    )


def _algorithm(pools: Mapping[str, PoolStatus]) -> str:
    """That of the default pool, else of the first by name."""
    pool = pools.get(POOL_DEFAULT) or next((pools[name] for name in sorted(pools)), None)
    return pool.algorithm if pool else Algorithm.RESPONSE_TIME


def _hour(start: int, hours: Mapping[int, Counted], running: Counted, now_ms: int) -> HourStatistics:
    hour, counted = start // HOUR_MS % 24, hours.get(start, Counted())
    ended = counted.ended
    return HourStatistics(
        hour=hour,
        period=f"{hour:02}:00-{hour + 1:02}:00",
        created=counted.created,
        completed=ended.total,
        successful=ended.successful,
        failed=ended.failed + ended.timed_out,
        tasks=counted.created,
        average_time=ended.run.mean,
        p50=ended.run.p50,
        p95=ended.run.p95,
        p99=ended.run.p99,
        wait_p50=ended.wait.p50,
        wait_p95=ended.wait.p95,
        wait_p99=ended.wait.p99,
        retried=ended.retried,
        vs=_hour_before(start, hours, running, now_ms),
    )


def _hour_before(start: int, hours: Mapping[int, Counted], running: Counted, now_ms: int) -> DayBefore | None:
    """None for hours yet to come."""
    if start > now_ms:
        return None
    span = day_before(Range(start=start, end=start + HOUR_MS), now_ms)
    is_running = start + HOUR_MS > now_ms
    return day_before_of(span, running if is_running else hours.get(span.start, Counted()))


def _midnight(day: str) -> int:
    try:
        parsed = date.fromisoformat(day)
    except ValueError:
        raise invalid("date", "not a day of the calendar, expected YYYY-MM-DD") from None
    start = int(datetime(parsed.year, parsed.month, parsed.day, tzinfo=UTC).timestamp()) * 1000
    if start < 0:
        raise invalid("date", "before 1970")
    return start


def _checked(start: int, end: int) -> Range:
    for field, at in (("from", start), ("to", end)):
        if not 0 <= at <= EPOCH_MS_MAX:
            raise invalid(field, "not a time in ms since the epoch")
    if start >= end:
        raise invalid("from", "must be before to")
    if end - start > RANGE_MS_MAX:
        raise invalid("to", f"the range is longer than {RANGE_DAYS_MAX} days")
    return Range(start=start, end=end)
