"""How pools, limits and declared types are shown."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pointsman.cli.output import Column, Style, View, facts, table
from pointsman.cli.views import at, joined, more

if TYPE_CHECKING:
    from pointsman.contracts.balancer import AlgorithmAnswer
    from pointsman.contracts.steering import (
        ChangeView,
        LimitEntry,
        LimitPage,
        LimitView,
        PoolPage,
        PoolView,
        Removed,
        TypePage,
        TypeView,
    )


def limit(shown: "LimitView") -> str:
    parts = []
    if shown.max_concurrent is not None:
        parts.append(f"{shown.max_concurrent} at once")
    if shown.rate is not None:
        parts.append(f"{shown.rate.per_second:g}/s, burst {shown.rate.burst}")
    return "; ".join(parts) or "none"


def seconds(ms: int | None) -> str | None:
    return None if ms is None else f"{ms / 1000:g}s"


def _changes(changes: Sequence["ChangeView"], style: Style) -> str:
    rows = [(at(one.at), one.by, bytes(one.before).decode()) for one in reversed(changes)]
    return f"\n\n{table(('CHANGED', 'BY', 'BEFORE'), rows, style)}" if rows else ""


POOL_COLUMNS: "tuple[Column[PoolView], ...]" = (
    Column("POOL", lambda one: one.pool),
    Column("ALGORITHM", lambda one: one.algorithm),
    Column("LIMIT", lambda one: limit(one.limit)),
    Column("BACKLOG", lambda one: one.max_backlog),
    Column("PER OWNER", lambda one: one.max_backlog_per_owner),
    Column("CHANGED", lambda one: at(one.updated_at)),
    Column("BY", lambda one: one.by),
    Column("AFFINITY", lambda one: one.affinity, True),
    Column("SHARES", lambda one: _shares(one) or None, True),
    Column("RETRIES", lambda one: f"{one.retry_percent} % + {one.retries_per_s:g}/s", True),
    Column("REVISION", lambda one: one.revision, True),
)


def _shares(shown: "PoolView") -> str:
    return ", ".join(f"{key}={share}" for key, share in shown.shares.items())


def _pool(shown: "PoolView", style: Style) -> str:
    pairs = (
        ("pool", shown.pool),
        ("algorithm", shown.algorithm),
        ("affinity", shown.affinity),
        ("limit", limit(shown.limit)),
        ("shares", _shares(shown) or "equal"),
        ("retries", f"{shown.retry_percent} % of what runs plus {shown.retries_per_s:g}/s"),
        ("backlog", shown.max_backlog),
        ("per owner", shown.max_backlog_per_owner),
        ("revision", shown.revision),
    )
    return facts(pairs, style) + _changes(shown.changes, style)


POOLS: "View[PoolPage, PoolView]" = View(
    POOL_COLUMNS, lambda page: page.pools, lambda one: one.pool, more=lambda page: more(page.cursor)
)
POOL: "View[PoolView, PoolView]" = View(POOL_COLUMNS, lambda one: (one,), lambda one: one.pool, _pool)

LIMIT_COLUMNS: "tuple[Column[LimitEntry], ...]" = (
    Column("KIND", lambda one: one.kind),
    Column("NAME", lambda one: one.name),
    Column("LIMIT", lambda one: limit(one.limit)),
    Column("IN USE", lambda one: one.in_use),
    Column("BLOCKED UNTIL", lambda one: at(one.blocked_until)),
    Column("CHANGED", lambda one: at(one.updated_at)),
    Column("BY", lambda one: one.by),
    Column("REVISION", lambda one: one.revision, True),
)
LIMITS: "View[LimitPage, LimitEntry]" = View(
    LIMIT_COLUMNS,
    lambda page: page.limits,
    lambda one: f"{one.kind}/{one.name}",
    more=lambda page: more(page.cursor),
)
LIMIT: "View[LimitEntry, LimitEntry]" = View(
    LIMIT_COLUMNS,
    lambda one: (one,),
    lambda one: f"{one.kind}/{one.name}",
    lambda one, _style: f"{one.kind} {one.name}: {limit(one.limit)} (revision {one.revision})",
)

TYPE_COLUMNS: "tuple[Column[TypeView], ...]" = (
    Column("TYPE", lambda one: one.type),
    Column("POOL", lambda one: one.pool),
    Column("CAPABILITIES", lambda one: joined(one.capabilities)),
    Column("TIMEOUT", lambda one: seconds(one.timeout_ms)),
    Column("ATTEMPTS", lambda one: one.max_attempts),
    Column("LIMIT", lambda one: limit(one.limit)),
    Column("SCHEMA", lambda one: bytes(one.schema) != b"null"),
    Column("CHANGED", lambda one: at(one.updated_at)),
    Column("BY", lambda one: one.by),
    Column("PRIORITY", lambda one: one.priority, True),
    Column("DEADLINE", lambda one: seconds(one.deadline_ms), True),
    Column("REVISION", lambda one: one.revision, True),
)


def _type(shown: "TypeView", style: Style) -> str:
    if not shown.declared:
        return f"type {shown.type} is no longer declared (revision {shown.revision})"
    retry = shown.retry
    pairs = (
        ("type", shown.type),
        ("pool", shown.pool),
        ("priority", shown.priority),
        ("capabilities", ", ".join(shown.capabilities) or None),
        ("timeout", None if shown.timeout_ms is None else f"{shown.timeout_ms} ms"),
        ("deadline", None if shown.deadline_ms is None else f"{shown.deadline_ms} ms"),
        ("attempts", shown.max_attempts),
        ("retry", None if retry is None else f"{retry.base_ms} ms x {retry.factor:g}, at most {retry.max_ms} ms"),
        ("limit", limit(shown.limit)),
        ("schema", None if bytes(shown.schema) == b"null" else bytes(shown.schema).decode()),
        ("revision", shown.revision),
    )
    return facts(pairs, style) + _changes(shown.changes, style)


TYPES: "View[TypePage, TypeView]" = View(
    TYPE_COLUMNS, lambda page: page.types, lambda one: one.type, more=lambda page: more(page.cursor)
)
TYPE: "View[TypeView, TypeView]" = View(TYPE_COLUMNS, lambda one: (one,), lambda one: one.type, _type)
REMOVED: "View[Removed, Removed]" = View(
    (Column("MESSAGE", lambda one: one.message), Column("REVISION", lambda one: one.revision)),
    lambda one: (one,),
    lambda one: one.message,
    lambda one, _style: one.message,
)
ALGORITHM: "View[AlgorithmAnswer, AlgorithmAnswer]" = View(
    (Column("ALGORITHM", lambda one: one.algorithm), Column("MESSAGE", lambda one: one.message)),
    lambda one: (one,),
    lambda one: one.algorithm,
    lambda one, _style: one.message,
)
