"""Answers as people read them: tables, times, limits."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pointsman.contracts.bulk import MaintainManyAnswer
    from pointsman.contracts.events import TaskEvent
    from pointsman.contracts.explain import Explanation
    from pointsman.contracts.server import Server, ServerPage
    from pointsman.contracts.steering import (
        ChangeView,
        LimitEntry,
        LimitPage,
        LimitView,
        PoolPage,
        PoolView,
        TypePage,
        TypeView,
    )

NONE = "-"


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Columns as wide as they must be; what is None is a dash."""
    lines = [tuple(head), *(tuple(NONE if cell is None else str(cell) for cell in row) for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join("  ".join(map(str.ljust, line, widths)).rstrip() for line in lines)


def at(ms: int | None) -> str:
    """A time as `2026-01-31 12:00:00Z`."""
    return NONE if ms is None else f"{datetime.fromtimestamp(ms / 1000, UTC):%Y-%m-%d %H:%M:%S}Z"


def limit(shown: "LimitView") -> str:
    parts = []
    if shown.max_concurrent is not None:
        parts.append(f"{shown.max_concurrent} at once")
    if shown.rate is not None:
        parts.append(f"{shown.rate.per_second:g}/s, burst {shown.rate.burst}")
    return "; ".join(parts) or "none"


def pools(page: "PoolPage") -> str:
    head = ("POOL", "ALGORITHM", "LIMIT", "BACKLOG", "PER OWNER", "CHANGED", "BY")
    rows = [
        (p.pool, p.algorithm, limit(p.limit), p.max_backlog, p.max_backlog_per_owner, at(p.updated_at), p.by)
        for p in page.pools
    ]
    return _page(table(head, rows), page.cursor)


def pool(shown: "PoolView") -> str:
    shares = ", ".join(f"{key}={share}" for key, share in shown.shares.items())
    facts = (
        ("pool", shown.pool),
        ("algorithm", shown.algorithm),
        ("affinity", shown.affinity),
        ("limit", limit(shown.limit)),
        ("shares", shares or "equal"),
        ("retries", f"{shown.retry_percent} % of what runs plus {shown.retries_per_s:g}/s"),
        ("backlog", shown.max_backlog),
        ("per owner", shown.max_backlog_per_owner),
        ("revision", shown.revision),
    )
    return _facts(facts) + _changes(shown.changes)


def limits(page: "LimitPage") -> str:
    head = ("KIND", "NAME", "LIMIT", "IN USE", "BLOCKED UNTIL", "CHANGED", "BY")
    rows = [
        (one.kind, one.name, limit(one.limit), one.in_use, at(one.blocked_until), at(one.updated_at), one.by)
        for one in page.limits
    ]
    return _page(table(head, rows), page.cursor)


def limit_entry(shown: "LimitEntry") -> str:
    return f"{shown.kind} {shown.name}: {limit(shown.limit)} (revision {shown.revision})"


def types(page: "TypePage") -> str:
    head = ("TYPE", "POOL", "CAPABILITIES", "TIMEOUT", "ATTEMPTS", "LIMIT", "SCHEMA", "CHANGED", "BY")
    rows = [
        (
            one.type,
            one.pool,
            ",".join(one.capabilities) or None,
            None if one.timeout_ms is None else f"{one.timeout_ms / 1000:g}s",
            one.max_attempts,
            limit(one.limit),
            "no" if bytes(one.schema) == b"null" else "yes",
            at(one.updated_at),
            one.by,
        )
        for one in page.types
    ]
    return _page(table(head, rows), page.cursor)


def task_type(shown: "TypeView") -> str:
    if not shown.declared:
        return f"type {shown.type} is no longer declared (revision {shown.revision})"
    retry = shown.retry
    facts = (
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
    return _facts(facts) + _changes(shown.changes)


def servers(page: "ServerPage") -> str:
    head = ("SERVER", "POOL", "STATUS", "HEALTH", "SCORE", "ACTIVE", "GROUPS", "VERSION")
    rows = [
        (
            one.id,
            one.pool,
            one.status,
            one.health.state,
            one.health.score,
            f"{one.active_tasks}/{one.effective_limit}",
            ",".join(one.groups) or None,
            one.version,
        )
        for one in page.servers
    ]
    return _page(table(head, rows), page.cursor)


def server(shown: "Server") -> str:
    return _facts(
        (
            ("server", shown.id),
            ("name", shown.name),
            ("pool", shown.pool),
            ("status", shown.status),
            ("wanted", shown.wanted),
            ("reason", shown.reason),
            ("health", f"{shown.health.state}, score {shown.health.score}"),
            ("last check", at(shown.health.last_check)),
            ("last beat", at(shown.last_heartbeat)),
            ("active", f"{shown.active_tasks} of {shown.effective_limit}, at most {shown.max_concurrent}"),
            ("groups", ", ".join(shown.groups) or None),
            ("capabilities", ", ".join(shown.capabilities) or None),
            ("version", shown.version),
            ("predict", shown.endpoints["predict"]),
            ("registered", at(shown.registered_at)),
        )
    )


def bulk(answer: "MaintainManyAnswer") -> str:
    """A plan, or what became of it."""
    done = {None: None, True: "done", False: "failed"}
    rows = [(s.server_id, s.pool, s.status, s.running, s.change, done[s.done], s.error) for s in answer.servers]
    pools = [(p.pool, p.slots_before, p.slots_after, p.running, "; ".join(p.warnings) or None) for p in answer.pools]
    told = [
        table(("SERVER", "POOL", "STATUS", "RUNNING", "CHANGE", "RESULT", "WHY"), rows),
        table(("POOL", "SLOTS BEFORE", "AFTER", "RUNNING", "WARNING"), pools),
    ]
    return "\n\n".join(told)


def explanation(shown: "Explanation") -> str:
    facts = (
        ("task", shown.id),
        ("status", shown.status),
        ("pool", shown.pool or None),
        ("gate", shown.gate),
        ("why", shown.detail),
        ("position", shown.position),
        ("ahead", shown.ahead),
        ("may start", at(shown.eta)),
        ("run at", at(shown.run_at)),
        ("deadline", at(shown.deadline)),
    )
    told = _facts(tuple(fact for fact in facts if fact[1] not in (None, NONE)))
    if not shown.servers:
        return told
    rows = [
        (
            one.server_id,
            f"{one.active_tasks}/{one.effective_limit}",
            None if one.estimate_ms is None else f"{one.estimate_ms:.0f} ms",
            "; ".join(one.reasons) or "could take it",
        )
        for one in shown.servers
    ]
    return f"{told}\n\n{table(('SERVER', 'ACTIVE', 'ESTIMATE', 'WHY NOT'), rows)}"


def event(told: "TaskEvent") -> str:
    """One line; columns as wide as they usually are."""
    facts = (
        f"attempt {told.attempt}" if told.attempt else "",
        told.server_id or "",
        told.outcome or "",
        f"HTTP {told.http_status}" if told.http_status else "",
        f"{told.progress:g} %" if told.progress is not None else "",
        f"again at {at(told.run_at)}" if told.run_at else "",
        told.error or "",
    )
    detail = "  ".join(_in_one_line(fact) for fact in facts if fact)
    moment = f"{datetime.fromtimestamp(told.at / 1000, UTC):%Y-%m-%d %H:%M:%S.%f}"[:-3]
    return f"{moment}Z  {told.event:<13}  {told.task_id}  {detail}".rstrip()


def _in_one_line(text: str) -> str:
    """What a server said must not steer the terminal."""
    return "".join(
        character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in " ".join(text.split())
    )


def _facts(facts: Sequence[tuple[str, object]]) -> str:
    width = max(len(name) for name, _ in facts) + 2
    return "\n".join(f"{name.ljust(width)}{NONE if value is None else value}" for name, value in facts)


def _changes(changes: Sequence["ChangeView"]) -> str:
    if not changes:
        return ""
    rows = [(at(one.at), one.by, bytes(one.before).decode()) for one in reversed(changes)]
    return f"\n\n{table(('CHANGED', 'BY', 'BEFORE'), rows)}"


def _page(text: str, cursor: str | None) -> str:
    return text if cursor is None else f"{text}\nmore: --cursor {cursor}"
