"""How servers, tasks, explanations and plans are shown."""

from typing import TYPE_CHECKING

from msgspec.structs import replace

from pointsman.cli.output import At, Column, Style, View, Word, facts, table

if TYPE_CHECKING:
    from pointsman.contracts.bulk import MaintainedServer, MaintainManyAnswer
    from pointsman.contracts.explain import Explanation
    from pointsman.contracts.search import Job
    from pointsman.contracts.server import RegisterAnswer, Server, ServerChanged, ServerPage
    from pointsman.contracts.task import ActAnswer, Task

MARKS = {"PENDING": "·", "PROCESSING": "▶", "COMPLETED": "✓", "FAILED": "✗", "TIMEOUT": "✗", "CANCELLED": "-"}


def at(ms: int | None) -> At | None:
    return None if ms is None else At(ms)


def joined(names: tuple[str, ...]) -> str | None:
    return ",".join(names) or None


def span(ms: float | None) -> str | None:
    if ms is None:
        return None
    return f"{ms:.0f} ms" if ms < 10_000 else f"{ms / 1000:.1f} s"


def more(cursor: str | None) -> str | None:
    return None if cursor is None else f"more: --cursor {cursor}"


SERVER_COLUMNS: "tuple[Column[Server], ...]" = (
    Column("SERVER", lambda one: one.id),
    Column("POOL", lambda one: one.pool),
    Column("STATUS", lambda one: Word(one.status)),
    Column("HEALTH", lambda one: Word(one.health.state)),
    Column("SCORE", lambda one: one.health.score),
    Column("ACTIVE", lambda one: f"{one.active_tasks}/{one.effective_limit}"),
    Column("GROUPS", lambda one: joined(one.groups)),
    Column("VERSION", lambda one: one.version),
    Column("WANTED", lambda one: Word(one.wanted), True),
    Column("WEIGHT", lambda one: one.weight, True),
    Column("PRIORITY", lambda one: one.priority, True),
    Column("MAX", lambda one: one.max_concurrent, True),
    Column("CAPABILITIES", lambda one: joined(one.capabilities), True),
    Column("LAST BEAT", lambda one: at(one.last_heartbeat), True),
    Column("LAST CHECK", lambda one: at(one.health.last_check), True),
    Column("REGISTERED", lambda one: at(one.registered_at), True),
    Column("PREDICT", lambda one: one.endpoints["predict"], True),
    Column("WHY", lambda one: one.reason or one.health.error, True),
)


def _server(shown: "Server", style: Style) -> str:
    return facts(
        (
            ("server", shown.id),
            ("name", shown.name),
            ("pool", shown.pool),
            ("status", Word(shown.status)),
            ("wanted", Word(shown.wanted)),
            ("reason", shown.reason),
            ("health", f"{shown.health.state}, score {shown.health.score}"),
            ("last fault", shown.health.error),
            ("last check", at(shown.health.last_check)),
            ("last beat", at(shown.last_heartbeat)),
            ("active", f"{shown.active_tasks} of {shown.effective_limit}, at most {shown.max_concurrent}"),
            ("weight", shown.weight),
            ("priority", shown.priority),
            ("groups", joined(shown.groups)),
            ("capabilities", joined(shown.capabilities)),
            ("labels", joined(tuple(f"{name}={value}" for name, value in shown.labels.items()))),
            ("version", shown.version),
            ("predict", shown.endpoints["predict"]),
            ("registered", at(shown.registered_at)),
        ),
        style,
    )


def _still(one: "Server") -> "Server":
    health = replace(one.health, last_check=None, next_check=None, last_heartbeat=None)
    return replace(one, uptime=0, last_heartbeat=None, time_since_last_heartbeat=None, health=health)


SERVERS: "View[ServerPage, Server]" = View(
    SERVER_COLUMNS, lambda page: page.servers, lambda one: one.id, more=lambda page: more(page.cursor), still=_still
)
SERVER: "View[Server, Server]" = View(SERVER_COLUMNS, lambda one: (one,), lambda one: one.id, _server, still=_still)


def _registered(shown: "RegisterAnswer", style: Style) -> str:
    secrets = (("credential", shown.credential), ("signing secret", shown.signing_secret))
    told = [(name, secret) for name, secret in secrets if secret is not None]
    pairs = facts((("server", shown.server_id), *told), style)
    return f"{shown.message}\n{pairs}" + ("\nBoth are shown this once." if told else "")


REGISTERED: "View[RegisterAnswer, RegisterAnswer]" = View(
    (
        Column("SERVER", lambda one: one.server_id),
        Column("CREDENTIAL", lambda one: one.credential, True),
        Column("SIGNING SECRET", lambda one: one.signing_secret, True),
        Column("MESSAGE", lambda one: one.message),
    ),
    lambda one: (one,),
    lambda one: one.server_id,
    _registered,
)
CHANGED: "View[tuple[ServerChanged, ...], ServerChanged]" = View(
    (
        Column("SERVER", lambda one: one.server_id),
        Column("POOL", lambda one: one.pool),
        Column("WEIGHT", lambda one: f"{one.before.weight} -> {one.after.weight}"),
        Column("SHARE", lambda one: f"{one.before.weight_share * 100:.1f} % -> {one.after.weight_share * 100:.1f} %"),
        Column("RUNNING", lambda one: one.running),
        Column("REVISION", lambda one: one.revision),
        Column("WARNING", lambda one: "; ".join(one.warnings) or None),
    ),
    lambda changes: changes,
    lambda one: one.server_id,
)
DONE = {None: None, True: Word("done"), False: Word("failed")}
BULK_COLUMNS: "tuple[Column[MaintainedServer], ...]" = (
    Column("SERVER", lambda one: one.server_id),
    Column("POOL", lambda one: one.pool),
    Column("STATUS", lambda one: None if one.status is None else Word(one.status)),
    Column("RUNNING", lambda one: one.running),
    Column("CHANGE", lambda one: one.change),
    Column("RESULT", lambda one: DONE[one.done]),
    Column("WHY", lambda one: one.error),
)


def _bulk(answer: "MaintainManyAnswer", style: Style) -> str:
    """A plan, or what became of it."""
    rows = [[column.get(one) for column in BULK_COLUMNS] for one in answer.servers]
    pools = [(p.pool, p.slots_before, p.slots_after, p.running, "; ".join(p.warnings) or None) for p in answer.pools]
    told = [
        table([column.name for column in BULK_COLUMNS], rows, style),
        table(("POOL", "SLOTS BEFORE", "AFTER", "RUNNING", "WARNING"), pools, style),
    ]
    return "\n\n".join(told)


BULK: "View[MaintainManyAnswer, MaintainedServer]" = View(
    BULK_COLUMNS, lambda answer: answer.servers, lambda one: one.server_id, _bulk
)


def waited(task: "Task") -> int | None:
    began = max(task.created_at, task.run_at or 0)
    return None if task.started_at is None else max(0, task.started_at - began)


def ran(task: "Task") -> int | None:
    return None if task.started_at is None or task.finished_at is None else task.finished_at - task.started_at


TASK_COLUMNS: "tuple[Column[Task], ...]" = (
    Column("ID", lambda one: one.id),
    Column("STATUS", lambda one: Word(one.status)),
    Column("TYPE", lambda one: one.type),
    Column("TRY", lambda one: f"{one.attempt}/{one.max_attempts}"),
    Column("SERVER", lambda one: one.server_id),
    Column("WAITED", lambda one: span(waited(one))),
    Column("RAN", lambda one: span(ran(one))),
    Column("UPDATED", lambda one: at(one.updated_at)),
    Column("POOL", lambda one: one.pool, True),
    Column("OWNER", lambda one: one.owner, True),
    Column("PRIORITY", lambda one: one.priority, True),
    Column("CREATED", lambda one: at(one.created_at), True),
    Column("DEADLINE", lambda one: at(one.deadline), True),
    Column("GENERATION", lambda one: one.generation, True),
    Column("ERROR", lambda one: one.error, True),
)


def _task(shown: "Task", style: Style) -> str:
    progress = None if shown.progress is None else f"{shown.progress:g} %"
    pairs = (
        ("task", shown.id),
        ("status", Word(shown.status)),
        ("type", shown.type),
        ("pool", shown.pool),
        ("owner", shown.owner),
        ("server", shown.server_id),
        ("attempt", f"{shown.attempt} of {shown.max_attempts}, generation {shown.generation}"),
        ("waits for", shown.waiting_for),
        ("progress", progress),
        ("waited", span(waited(shown))),
        ("ran", span(ran(shown))),
        ("created", at(shown.created_at)),
        ("updated", at(shown.updated_at)),
        ("deadline", at(shown.deadline)),
        ("error", shown.error),
    )
    told = facts([pair for pair in pairs if pair[1] is not None], style)
    rows = [
        (a.number, a.server_id, at(a.started_at), span(None if a.finished_at is None else a.finished_at - a.started_at),
         None if a.outcome is None else Word(a.outcome), a.http_status, a.error)
        for a in shown.attempts
    ]  # fmt: skip
    head = ("ATTEMPT", "SERVER", "STARTED", "RAN", "OUTCOME", "HTTP", "ERROR")
    return f"{told}\n\n{table(head, rows, style)}" if rows else told


TASK: "View[Task, Task]" = View(TASK_COLUMNS, lambda one: (one,), lambda one: one.id, _task)
TASKS: "View[tuple[Task, ...], Task]" = View(TASK_COLUMNS, lambda tasks: tasks, lambda one: one.id)
ACT: "View[ActAnswer, ActAnswer]" = View(
    (
        Column("ID", lambda one: one.id),
        Column("STATUS", lambda one: Word(one.status)),
        Column("MESSAGE", lambda one: one.message),
    ),
    lambda one: (one,),
    lambda one: one.id,
    lambda one, _style: one.message,
)
JOB: "View[Job, Job]" = View(
    (
        Column("JOB", lambda one: one.id),
        Column("KIND", lambda one: one.kind),
        Column("STATUS", lambda one: Word(one.status)),
        Column("TOTAL", lambda one: one.total),
        Column("DONE", lambda one: one.done),
        Column("SUCCEEDED", lambda one: one.succeeded),
        Column("SKIPPED", lambda one: one.skipped),
        Column("FAILED", lambda one: one.failed),
        Column("ERRORS", lambda one: "; ".join((*one.errors, *one.skips)) or None),
    ),
    lambda one: (one,),
    lambda one: one.id,
)


def _explanation(shown: "Explanation", style: Style) -> str:
    pairs = (
        ("task", shown.id),
        ("status", Word(shown.status)),
        ("pool", shown.pool or None),
        ("gate", shown.gate),
        ("why", shown.detail),
        ("position", shown.position),
        ("ahead", shown.ahead),
        ("may start", at(shown.eta)),
        ("run at", at(shown.run_at)),
        ("deadline", at(shown.deadline)),
    )
    told = facts([pair for pair in pairs if pair[1] is not None], style)
    rows = [
        (
            one.server_id,
            f"{one.active_tasks}/{one.effective_limit}",
            span(one.estimate_ms),
            "; ".join(one.reasons) or "could take it",
        )
        for one in shown.servers
    ]
    return f"{told}\n\n{table(('SERVER', 'ACTIVE', 'ESTIMATE', 'WHY NOT'), rows, style)}" if rows else told


EXPLANATION: "View[Explanation, Explanation]" = View(
    (
        Column("ID", lambda one: one.id),
        Column("STATUS", lambda one: Word(one.status)),
        Column("GATE", lambda one: one.gate),
        Column("POSITION", lambda one: one.position),
        Column("MAY START", lambda one: at(one.eta)),
        Column("WHY", lambda one: one.detail),
    ),
    lambda one: (one,),
    lambda one: one.id,
    _explanation,
    still=lambda one: replace(one, as_of=0, eta=None),
)
