"""What needs attention, as a table of pure rules: each looks at the facts of the moment and names what it finds."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from pointsman.contracts.flow import FlowFrame
from pointsman.contracts.frames import Severity
from pointsman.contracts.server import HealthState, Wanted
from pointsman.services.statistics.facts import Facts
from pointsman.services.statistics.flow_windows import LONG_S, SILENT_MS

FAILING_ABOVE = 0.05
FAILING_ATTEMPTS_MIN, FAILING_MIN = 20, 3
OLD_MS = 5_000
OVERDUE_MS = 5_000
LAG_MS = 60_000
STORAGE_FULL_ABOVE = 0.9
SETTLING_MS, ARCHIVE_SETTLING_MS = 3_000, 10_000
TAKEN_OUT = frozenset({Wanted.MAINTENANCE, Wanted.REMOVED})
CRITICAL, WARNING = Severity.CRITICAL, Severity.WARNING


@dataclass(frozen=True, slots=True)
class Cause:
    """Why there should be an alert, once it has lasted `after_ms`; `since` when that is known. One that is worse
    `replaces` others of the same subject.
    """

    severity: Severity
    kind: str
    subject: str
    detail: str
    screen: str
    since: int | None = None
    after_ms: int = 0
    replaces: tuple[str, ...] = ()


Rule = Callable[[Facts], Iterator[Cause]]


def servers_down(facts: Facts) -> Iterator[Cause]:
    for member in facts.members:
        seen = member.seen
        if seen.state is HealthState.UNHEALTHY and member.admin.wanted not in TAKEN_OUT:
            detail = _trouble(seen.error, seen.consecutive_failures)
            yield Cause(
                CRITICAL,
                "server-down",
                member.config.id,
                detail,
                "servers",
                since=seen.since,
                replaces=("server-suspect",),
            )


def servers_suspect(facts: Facts) -> Iterator[Cause]:
    for member in facts.members:
        seen = member.seen
        if seen.state is HealthState.SUSPECT and member.admin.wanted not in TAKEN_OUT:
            detail = _trouble(seen.error, seen.consecutive_failures)
            yield Cause(WARNING, "server-suspect", member.config.id, detail, "servers", since=seen.since)


def drains_overdue(facts: Facts) -> Iterator[Cause]:
    for member in facts.members:
        until = member.admin.until
        if member.admin.wanted is Wanted.DRAINING and until is not None and facts.now - until > OVERDUE_MS:
            left = "attempts" if member.active is None else f"{member.active} attempts"
            detail = f"should have drained {_seconds(facts.now - until)} ago, {left} still run"
            yield Cause(WARNING, "drain-overdue", member.config.id, detail, "servers", since=until)


def types_failing(facts: Facts) -> Iterator[Cause]:
    for name, (done, failed) in (facts.types or {}).items():
        if _fails(done, failed):
            yield Cause(WARNING, "type-failing", name, _failing(done, failed), "tasks")


def servers_failing(facts: Facts) -> Iterator[Cause]:
    for member in facts.members:
        done, failed = member.ended(facts.now_s)
        if _fails(done, failed):
            yield Cause(WARNING, "server-failing", member.config.id, _failing(done, failed), "servers")


def leader_silent(facts: Facts) -> Iterator[Cause]:
    if facts.silent_ms > SILENT_MS:
        detail = f"no balancer has told of itself for {_seconds(facts.silent_ms)}: nothing is dispatched"
        yield Cause(CRITICAL, "no-leader", "", detail, "balancer", since=facts.now - facts.silent_ms)


def executors_missing(facts: Facts) -> Iterator[Cause]:
    flow = _heard(facts)
    if flow is not None and not flow.executors:
        detail = "no executor takes attempts: nothing is dispatched"
        yield Cause(CRITICAL, "no-executor", "", detail, "balancer", after_ms=SETTLING_MS)


def queues_old(facts: Facts) -> Iterator[Cause]:
    """Tasks that no limit holds back have waited long in a pool that has slots."""
    flow = _heard(facts)
    for pool in flow.pools if flow is not None else ():
        age_ms = facts.now - pool.oldest_due if pool.oldest_due is not None else 0
        if age_ms > OLD_MS and pool.slots:
            detail = f"the oldest of {_tasks(pool.pending)} has been due for {_seconds(age_ms)}"
            yield Cause(WARNING, "queue-old", pool.name, detail, "tasks", since=pool.oldest_due)


def pools_without_slots(facts: Facts) -> Iterator[Cause]:
    flow = _heard(facts)
    for pool in flow.pools if flow is not None else ():
        if pool.servers and not pool.slots and pool.pending:
            detail = f"none of its {pool.servers} servers may take tasks, {_tasks(pool.pending)} wait"
            yield Cause(CRITICAL, "no-slots", pool.name, detail, "servers", after_ms=SETTLING_MS)


def as_the_balancer_says(facts: Facts) -> Iterator[Cause]:
    for alert in facts.balancer if _heard(facts) is not None else ():
        yield Cause(WARNING, alert.kind, alert.pool, alert.detail, "balancer", after_ms=SETTLING_MS)


def as_the_prober_says(facts: Facts) -> Iterator[Cause]:
    for alert in facts.alarms:
        severity = CRITICAL if alert.kind == "panic" else WARNING
        yield Cause(severity, alert.kind, alert.pool, alert.detail, "servers")


def archive_late(facts: Facts) -> Iterator[Cause]:
    archive = facts.archive
    if archive is None:
        return
    if not archive.answers:
        detail = "history or its database does not answer: tasks that ended wait"
        yield Cause(WARNING, "archive-away", "", detail, "statistics", after_ms=ARCHIVE_SETTLING_MS)
    elif archive.is_away:
        detail = f"Postgres cannot be reached: {_waiting(archive.backlog)} for the archive"
        yield Cause(WARNING, "archive-away", "", detail, "statistics", after_ms=SETTLING_MS)
    elif archive.lag_ms is not None and archive.lag_ms > LAG_MS:
        detail = f"{_waiting(archive.backlog)} for the archive, the oldest for {_seconds(archive.lag_ms)}"
        yield Cause(WARNING, "archive-late", "", detail, "statistics", since=facts.now - archive.lag_ms)


def storage_short(facts: Facts) -> Iterator[Cause]:
    storage = facts.storage
    if storage is None:
        return
    if storage.refusal:
        detail = f"the broker keeps nothing: {storage.refusal}"
        yield Cause(CRITICAL, "storage", "", detail, "overview", after_ms=SETTLING_MS)
    elif storage.used_share is not None and storage.used_share > STORAGE_FULL_ABOVE:
        detail = f"{100 * storage.used_share:.0f} % of what the broker may store is in use"
        yield Cause(CRITICAL, "storage", "", detail, "overview")


RULES: tuple[Rule, ...] = (
    leader_silent,
    executors_missing,
    storage_short,
    servers_down,
    as_the_prober_says,
    pools_without_slots,
    servers_suspect,
    drains_overdue,
    types_failing,
    servers_failing,
    queues_old,
    as_the_balancer_says,
    archive_late,
)


def causes(facts: Facts) -> Iterator[Cause]:
    for rule in RULES:
        yield from rule(facts)


def _heard(facts: Facts) -> FlowFrame | None:
    """What a silent leader said last says nothing of now."""
    return facts.flow if facts.silent_ms <= SILENT_MS else None


def _fails(done: int, failed: int) -> bool:
    return done + failed >= FAILING_ATTEMPTS_MIN and failed >= FAILING_MIN and failed > FAILING_ABOVE * (done + failed)


def _failing(done: int, failed: int) -> str:
    return f"failed attempts {100 * failed / (done + failed):.1f} % in {LONG_S} s (limit {100 * FAILING_ABOVE:.0f} %)"


def _trouble(error: str | None, failures: int) -> str:
    told = error or "no reason is known"
    return f"{told} ({failures} checks failed in a row)" if failures > 1 else told


def _tasks(count: int) -> str:
    return "1 task" if count == 1 else f"{count:,} tasks"


def _waiting(count: int | None) -> str:
    if count is None:
        return "records wait"
    return "1 record waits" if count == 1 else f"{count:,} records wait"


def _seconds(ms: int) -> str:
    seconds = ms // 1000
    return f"{seconds} s" if seconds < 120 else f"{seconds // 60} min"
