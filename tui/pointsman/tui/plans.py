"""The services' plans as the lines of a dialog. Pure."""

from collections.abc import Sequence

from pointsman.contracts.bulk import Change, MaintainedPool, MaintainedServer, MaintainManyAnswer
from pointsman.contracts.lifecycle import Event, allows, is_terminal
from pointsman.contracts.search import Job
from pointsman.contracts.server import ServerChanged, ServerRequest
from pointsman.contracts.steering import PoolPlan, PoolView
from pointsman.contracts.task import Task, TaskRequest
from pointsman.tui.acts import Act, Verb
from pointsman.tui.format import number
from pointsman.tui.underway import Plan

SHARES_SHOWN, REFUSALS_SHOWN = 4, 5


def of_servers(act: Act, answer: MaintainManyAnswer) -> Plan:
    reached = [one for one in answer.servers if one.change not in (Change.NONE, Change.REFUSED)]
    running = sum(one.running for one in reached)
    return Plan(
        reach=len(reached),
        lines=(*_what_happens(act, reached, running), *(_slots(pool) for pool in answer.pools)) if reached else (),
        refusals=tuple(_why_not(one) for one in answer.servers if one not in reached),
        warnings=tuple(f"pool {pool.pool}: {text}" for pool in answer.pools for text in pool.warnings),
        running=running,
        seen=tuple((one.server_id, one.revision) for one in answer.servers if one.revision is not None),
    )


def _what_happens(act: Act, reached: Sequence[MaintainedServer], running: int) -> tuple[str, ...]:
    tasks = _count(running, "running task")
    match act.verb:
        case Verb.DRAIN:
            return (
                "nothing new is sent there from now on",
                f"{tasks} may end; what has not after 5 min is handed back",
            )
        case Verb.MAINTENANCE:
            return (f"{tasks} {_are(running)} broken off and run elsewhere; no attempt is spent",)
        case Verb.ACTIVATE:
            return ("they get tasks after a good probe, few at first",)
        case Verb.UNREGISTER:
            return (
                f"{tasks} may end first, then {'it is' if len(reached) == 1 else 'they are'} gone",
                "to come back they must register again: no undo",
            )
        case _:
            return ()


def _slots(pool: MaintainedPool) -> str:
    used = f", {100 * pool.running / pool.slots_after:.0f} % used after" if pool.slots_after else ""
    return f"pool {pool.pool}: {number(pool.slots_before)} slots -> {number(pool.slots_after)}{used}"


def _why_not(one: MaintainedServer) -> str:
    if one.change is Change.NONE:
        return f"{one.server_id}: nothing to do, it is {one.status}"
    return f"{one.server_id}: {one.error or 'refused'}"


def of_weights(answers: Sequence[ServerChanged], algorithm: str, refusals: tuple[str, ...]) -> Plan:
    lines = [
        f"{one.server_id}: weight {one.before.weight} -> {one.after.weight},"
        f" {100 * one.before.weight_share:.1f} % -> {100 * one.after.weight_share:.1f} % of its pool's weights"
        for one in answers
    ]
    changed = [one for one in answers if one.before.weight != one.after.weight]
    return Plan(
        reach=len(changed),
        lines=(*lines, f"applies to tasks that start from now on; the pool uses {algorithm}"),
        refusals=(*(f"{one.server_id}: it has that weight" for one in answers if one not in changed), *refusals),
        seen=tuple((one.server_id, one.revision) for one in answers),
    )


def of_tasks(act: Act, tasks: Sequence[Task], missing: Sequence[str]) -> Plan:
    """`missing` are those that nobody knows."""
    event = Event.CANCELLED if act.verb is Verb.CANCEL else Event.RETRIED_BY_HAND
    captured = act.revisions
    moved = [task for task in tasks if captured.get(task.id, task.generation) != task.generation]
    reached = [task for task in tasks if task not in moved and allows(task.status, event) and not _is_done(act, task)]
    running = sum(task.server_id is not None and not is_terminal(task.status) for task in reached)
    if act.verb is Verb.CANCEL:
        lines = ["they end as CANCELLED and are not tried again", f"{_count(running, 'running attempt')} broken off"]
    else:
        lines = ["each starts anew with all its attempts, as the next generation"]
    if len(reached) == 1:
        lines.insert(0, f"{reached[0].type}, {reached[0].status} since attempt {reached[0].attempt}")
    refusals = [f"{task.id}: retried by somebody meanwhile" for task in moved]
    refusals += [f"{task.id}: it is {task.status}" for task in tasks if task not in moved and task not in reached]
    return Plan(
        reach=len(reached),
        lines=tuple(lines),
        refusals=(*refusals, *(f"{name}: not found" for name in missing)),
        running=running,
        seen=tuple((task.id, task.generation) for task in tasks),
    )


def _is_done(act: Act, task: Task) -> bool:
    return act.verb is Verb.CANCEL and is_terminal(task.status)


def of_marked(act: Act) -> Plan:
    """Of so many that they are not read one by one: each is looked at when its turn comes."""
    count = len(act.things)
    return Plan(
        reach=count,
        lines=(
            f"a job of the system goes through {number(count)} tasks; it goes on if you leave",
            "those that have moved on by then are skipped and told",
        ),
    )


def of_matching(act: Act, job: Job) -> Plan:
    lines = (
        f"{number(job.total)} tasks match: {act.matching}",
        "a job of the system goes through them; it goes on if you leave, those that moved on are skipped",
    )
    return Plan(reach=job.total, lines=lines)


def of_switch(plan: PoolPlan) -> Plan:
    since = f" since {plan.by} chose it" if plan.by else ""
    lines = [
        f"pool {plan.pool}: {plan.algorithm}{since} -> {plan.wanted}",
        f"{100 * plan.moved:.0f} % of new tasks would go elsewhere (simulated, {plan.per_second:.1f} starts/s)",
        *(f"{one.server_id}: {100 * one.now:.1f} % -> {100 * one.then:.1f} %" for one in plan.servers[:SHARES_SHOWN]),
    ]
    if plan.server_count > SHARES_SHOWN:
        lines.append(f"and {number(plan.server_count - SHARES_SHOWN)} more servers")
    return Plan(
        reach=0 if plan.wanted == plan.algorithm else 1,
        lines=(*lines, *plan.notes, "u takes it back for 60 s"),
        seen=((plan.pool, plan.revision),),
    )


def of_undo(pool: PoolView) -> Plan:
    before = pool.changes[-1] if pool.changes else None
    return Plan(
        reach=1 if before is not None else 0,
        lines=("the settings of before hold again",),
        refusals=() if before is not None else (f"{pool.pool}: nothing to undo",),
        seen=((pool.pool, pool.revision),),
    )


def of_registration(server: ServerRequest, known: int | None) -> Plan:
    if known is None:
        return Plan(reach=1, lines=("it gets tasks after its first good probe", "its credential is shown once"))
    return Plan(reach=0, refusals=(f"{server.id}: registered already; d, m and + - change it",))


def of_submission(task: TaskRequest) -> Plan:
    return Plan(reach=1, lines=(f"one task of type {task.type}, safe once it is accepted",))


def job_text(job: Job) -> str:
    """`1,204/9,870 retry, 3 skipped, 1 refused`."""
    parts = [f"{job.done:,}/{job.total:,} {job.kind}"]
    parts += [f"{job.skipped:,} skipped"] if job.skipped else []
    parts += [f"{job.failed:,} refused"] if job.failed else []
    return ", ".join(parts) + ("" if job.status in ("RUNNING", "DONE") else f", {job.status.lower()}")


def _count(count: int, what: str) -> str:
    return f"{number(count)} {what}{'' if count == 1 else 's'}"


def _are(count: int) -> str:
    return "is" if count == 1 else "are"
