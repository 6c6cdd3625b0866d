"""How settings are shown."""

import msgspec

from pointsman.contracts.base import encode
from pointsman.contracts.limits import Change, Kind, Limit, PoolSettings, Settings, TypeSettings
from pointsman.contracts.steering import (
    ChangeView,
    LimitEntry,
    LimitView,
    PoolView,
    RateView,
    RetryView,
    TypeView,
)

PAGE_BYTES_MAX = 2 << 20


def pool_view(name: str, settings: PoolSettings | None, revision: int) -> PoolView:
    """`settings` as stored: what was removed shows the defaults and its history."""
    shown = settings or PoolSettings()
    return PoolView(
        pool=name,
        algorithm=shown.algorithm,
        affinity=shown.affinity,
        limit=limit_view(shown.limit),
        shares=shown.shares,
        retry_percent=shown.retry_percent,
        retries_per_s=shown.retries_per_s,
        max_backlog=shown.max_backlog,
        max_backlog_per_owner=shown.max_backlog_per_owner,
        revision=revision,
        updated_at=shown.updated_at or None,
        by=shown.by or None,
        changes=_changes(shown.changes),
    )


def type_view(settings: TypeSettings, revision: int) -> TypeView:
    retry = settings.retry
    return TypeView(
        type=settings.type,
        declared=not settings.removed,
        pool=settings.pool,
        priority=settings.priority,
        capabilities=settings.capabilities,
        timeout_ms=settings.timeout_ms,
        deadline_ms=settings.deadline_ms,
        max_attempts=settings.max_attempts,
        retry=None
        if retry is None
        else RetryView(base_ms=retry.base_ms, max_ms=retry.max_ms, factor=retry.factor, jitter=retry.jitter),
        limit=limit_view(settings.limit),
        schema=settings.schema,
        revision=revision,
        updated_at=settings.updated_at,
        by=settings.by,
        changes=_changes(settings.changes),
    )


def limit_entry(
    kind: Kind,
    name: str,
    settings: Settings,
    revision: int,
    *,
    in_use: int | None = None,
    blocked_until: int | None = None,
) -> LimitEntry:
    return LimitEntry(
        kind=kind,
        name=name,
        limit=limit_view(settings.limit),
        revision=revision,
        updated_at=settings.updated_at,
        by=settings.by,
        in_use=in_use,
        blocked_until=blocked_until,
    )


def limit_view(limit: Limit) -> LimitView:
    rate = limit.rate
    return LimitView(
        max_concurrent=limit.max_concurrent,
        rate=RateView(per_second=rate.per_second, burst=rate.burst) if rate is not None else None,
    )


def page[V: msgspec.Struct](views: list[tuple[str, V]], cursor: str | None, limit: int) -> tuple[list[V], str | None]:
    """The views after the cursor, in the order of their names, up to `limit` or 2 MiB; and the next cursor."""
    rest = sorted(((name, view) for name, view in views if cursor is None or name > cursor), key=lambda named: named[0])
    taken: list[V] = []
    size = 0
    for name, view in rest[:limit]:
        size += len(encode(view))
        if taken and size > PAGE_BYTES_MAX:
            break
        taken.append(view)
        last = name
    return taken, last if len(taken) < len(rest) else None


def _changes(changes: tuple[Change, ...]) -> tuple[ChangeView, ...]:
    return tuple(ChangeView(at=change.at, by=change.by, before=change.before) for change in changes)
