"""What clients are shown of a server, and the pages of the list. Pure."""

import base64
import binascii

from pointsman.contracts.errors import invalid
from pointsman.contracts.server import (
    HealthState,
    HealthView,
    Server,
    ServerConfig,
    ServerHealth,
    ServerMetrics,
    ServerMetricsAnswer,
    ServerPage,
    ServerQuery,
    Wanted,
)
from pointsman.contracts.statistics import ServerStatistics
from pointsman.services.registry.fleet import Fleet, Member

STATUSES = ("online", "offline", "maintenance", "degraded", "draining", "initializing")
TAKES_TASKS = frozenset({HealthState.WARMING, HealthState.HEALTHY, HealthState.RECOVERING})
_CURSOR_PREFIX = b"1:"


def status_of(wanted: Wanted, state: HealthState) -> str:
    """The operator's axis first, then the operational one: online until evidence says otherwise."""
    match wanted:
        case Wanted.DRAINING | Wanted.REMOVED:
            return "draining"
        case Wanted.MAINTENANCE:
            return "maintenance"
        case Wanted.ACTIVE:
            return _operational(state)


def _operational(state: HealthState) -> str:
    match state:
        case HealthState.NEW | HealthState.WARMING | HealthState.HEALTHY:
            return "online"
        case HealthState.SUSPECT | HealthState.RECOVERING:
            return "degraded"
        case HealthState.UNHEALTHY:
            return "offline"


def takes_tasks(fleet: Fleet, config: ServerConfig, member: Member) -> bool:
    return member.admin.wanted is Wanted.ACTIVE and fleet.health(config.id).state in TAKES_TASKS


def is_healthy(state: HealthState) -> bool:
    return _operational(state) == "online"


def server_view(fleet: Fleet, config: ServerConfig, member: Member, now: int) -> Server:
    health, beat = fleet.health(config.id), fleet.beat(config.id)
    limit = limit_of(fleet, config)
    running = fleet.running(config.id)
    return Server(
        id=config.id,
        name=config.name,
        status=status_of(member.admin.wanted, health.state),
        health=_health_view(health, beat.at if beat else None),
        registered_at=config.registered_at,
        last_heartbeat=beat.at if beat else None,
        uptime=max(0, now - config.registered_at),
        time_since_last_heartbeat=max(0, now - beat.at) if beat else None,
        groups=config.groups,
        priority=config.priority,
        weight=config.weight,
        capabilities=config.capabilities,
        max_concurrent=config.max_concurrent,
        effective_limit=limit,
        active_tasks=running,
        current_load=_load(running, limit),
        version=config.version,
        pool=config.pool,
        labels=config.labels,
        endpoints=_endpoints(config),
        is_async=config.is_async,
        wanted=member.admin.wanted,
        reason=member.admin.reason,
    )


def _health_view(health: ServerHealth, last_heartbeat: int | None) -> HealthView:
    return HealthView(
        status="healthy" if is_healthy(health.state) else "unhealthy",
        state=health.state,
        score=health.score,
        last_heartbeat=last_heartbeat,
        last_check=health.last_check,
        consecutive_failures=health.consecutive_failures,
        next_check=health.next_check,
        error=health.error,
    )


def _endpoints(config: ServerConfig) -> dict[str, str]:
    shown = {"predict": config.predict, "health": config.health}
    return shown | {"metrics": config.metrics} if config.metrics else shown


def limit_of(fleet: Fleet, config: ServerConfig) -> int:
    """The slots the leader gives the server now."""
    limit = fleet.limit(config.id)
    return config.max_concurrent if limit is None else min(limit, config.max_concurrent)


def _load(running: int, limit: int) -> float:
    return round(running / limit, 4) if limit else 0.0


def metrics_view(
    fleet: Fleet, config: ServerConfig, member: Member, told: ServerStatistics | None, now: int
) -> ServerMetricsAnswer:
    """Own view and the statistics of the window; zeros where those are not to be had."""
    health, running, limit = fleet.health(config.id), fleet.running(config.id), limit_of(fleet, config)
    metrics = ServerMetrics(
        tasks_processed=told.tasks_processed if told else 0,
        success_count=told.success_count if told else 0,
        failure_count=told.failure_count if told else 0,
        success_rate=told.success_rate if told else 0.0,
        average_response_time=told.average_processing_time if told else None,
        p50=told.p50 if told else None,
        p95=told.p95 if told else None,
        p99=told.p99 if told else None,
        active_tasks=running,
        current_load=_load(running, limit),
        health_score=health.score,
        healthy=is_healthy(health.state),
        status=status_of(member.admin.wanted, health.state),
        max_capacity=config.max_concurrent,
        capabilities=config.capabilities,
        uptime=max(0, now - config.registered_at),
    )
    return ServerMetricsAnswer(server_id=config.id, metrics=metrics)


def page_of(fleet: Fleet, query: ServerQuery, now: int) -> ServerPage:
    """One page in the order of ids; raises 400 for a cursor or a status that does not exist."""
    if query.status is not None and query.status not in STATUSES:
        raise invalid("status", f"must be one of {', '.join(STATUSES)}")
    after = _after(query.cursor)
    found: list[Server] = []
    for config, member in fleet.members():
        if config.id <= after or not _matches(fleet, config, member, query):
            continue
        if len(found) == query.limit:
            return ServerPage(servers=tuple(found), cursor=_cursor(found[-1].id))
        found.append(server_view(fleet, config, member, now))
    return ServerPage(servers=tuple(found), cursor=None)


def _matches(fleet: Fleet, config: ServerConfig, member: Member, query: ServerQuery) -> bool:
    if query.pool is not None and config.pool != query.pool:
        return False
    if query.group is not None and query.group not in config.groups:
        return False
    return query.status is None or status_of(member.admin.wanted, fleet.health(config.id).state) == query.status


def _cursor(server_id: str) -> str:
    return base64.urlsafe_b64encode(_CURSOR_PREFIX + server_id.encode()).decode().rstrip("=")


def _after(cursor: str | None) -> str:
    if cursor is None:
        return ""
    try:
        text = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        if text.startswith(_CURSOR_PREFIX):
            return text.removeprefix(_CURSOR_PREFIX).decode("ascii")
    except (ValueError, binascii.Error):
        pass
    raise invalid("cursor", "not a cursor of this list")
