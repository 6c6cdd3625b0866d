"""Acts over the bus: the plan before, the doing under the act's own name. What is asked twice is done once."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable

import msgspec

from pointsman.client.bus import BusError
from pointsman.client.client import Client
from pointsman.contracts.bulk import MaintainedServer, MaintainManyRequest
from pointsman.contracts.errors import FieldError, PointsmanError
from pointsman.contracts.frames import AcknowledgeRequest
from pointsman.contracts.search import BulkCommand, BulkRequest, Job, MarkedTask
from pointsman.contracts.server import ServerChanged, ServerPatch
from pointsman.contracts.steering import PoolPatch
from pointsman.contracts.task import Task
from pointsman.tui import plans
from pointsman.tui.acts import TASKS_AT_ONCE, Act, Verb
from pointsman.tui.format import number
from pointsman.tui.underway import Outcome, Plan

ABREAST = 8
CONFLICTS, UNSURE = (409, 412), 503
PAST = {
    Verb.DRAIN: "drains",
    Verb.ACTIVATE: "active again, after its first good probe",
    Verb.MAINTENANCE: "in maintenance",
    Verb.UNREGISTER: "leaves once its tasks have ended",
}


class Conflict(Exception):
    """Something else was there than what was planned for; says who changed what."""


class Refusal(Exception):
    """`fields` are named as the contract names them."""

    def __init__(self, detail: str, fields: tuple[FieldError, ...] = ()) -> None:
        super().__init__(detail)
        self.fields = fields


class Silence(Exception):
    """No answer: it may have been done, or not."""


async def heard[T](asking: Awaitable[T]) -> T:
    """The answer, or what its absence means. Raises Conflict, Refusal, Silence."""
    try:
        return await asking
    except PointsmanError as error:
        if error.status in CONFLICTS:
            raise Conflict(error.detail) from None
        if error.status == UNSURE:
            raise Silence(error.detail) from None
        raise Refusal(error.detail, error.errors) from None
    except (BusError, TimeoutError) as error:
        raise Silence(str(error) or "no answer") from None
    except msgspec.MsgspecError as error:
        raise Refusal(f"the answer was not understood ({error}): see Events for what was done") from None


async def plan(client: Client, act: Act) -> Plan:
    """What the services say that the act would do. Raises PointsmanError and BusError."""
    match act.verb:
        case Verb.DRAIN | Verb.ACTIVATE | Verb.MAINTENANCE | Verb.UNREGISTER:
            return plans.of_servers(act, await client.servers.maintain_many(_maintenance(act, dry_run=True)))
        case Verb.WEIGHT:
            return await _plan_weights(client, act)
        case Verb.REGISTER:
            assert act.server is not None
            return plans.of_registration(act.server, await _known(client, act.server.id))
        case Verb.CANCEL | Verb.RETRY:
            return await _plan_tasks(client, act)
        case Verb.SUBMIT:
            assert act.task is not None
            return plans.of_submission(act.task)
        case Verb.SWITCH:
            return plans.of_switch(await client.pools.plan(act.ids[0], act.algorithm))
        case Verb.UNDO:
            return plans.of_undo(await client.pools.get(act.ids[0]))
        case Verb.ACKNOWLEDGE:
            return Plan(reach=1)


async def send(client: Client, act: Act) -> Outcome:
    """Do it. Raises Conflict, Refusal, Silence."""
    match act.verb:
        case Verb.DRAIN | Verb.ACTIVATE | Verb.MAINTENANCE | Verb.UNREGISTER:
            return await _order(client, act)
        case Verb.WEIGHT:
            return await _weigh(client, act)
        case Verb.REGISTER:
            return await _register(client, act)
        case Verb.CANCEL | Verb.RETRY:
            return await _steer(client, act)
        case Verb.SUBMIT:
            assert act.task is not None
            task = await heard(client.tasks.submit(act.task, idempotency_key=act.operation))
            return Outcome(f"{task.id} is accepted", made=task.id)
        case Verb.SWITCH:
            (thing,) = act.things
            patch = PoolPatch(algorithm=act.algorithm)
            told = await heard(client.pools.change(thing.id, patch, if_match=thing.seen, operation=act.operation))
            return Outcome(f"pool {told.pool} uses {told.algorithm} now", undo=(told.pool, told.revision))
        case Verb.UNDO:
            (thing,) = act.things
            told = await heard(client.pools.undo(thing.id, if_match=thing.seen, operation=act.operation))
            return Outcome(f"pool {told.pool} uses {told.algorithm} again")
        case Verb.ACKNOWLEDGE:
            kind, subject = act.ids
            request = AcknowledgeRequest(kind=kind, subject=subject, note=act.reason)
            await heard(client.statistics.acknowledge(request))
            return Outcome(f"{subject} is acknowledged")


async def job(client: Client, job_id: str) -> Job:
    return await client.history.job(job_id)


def _maintenance(act: Act, *, dry_run: bool) -> MaintainManyRequest:
    return MaintainManyRequest(
        enabled=act.verb is not Verb.ACTIVATE,
        ids=act.ids,
        revisions=act.revisions,
        remove=act.verb is Verb.UNREGISTER,
        drain_timeout_ms=0 if act.verb is Verb.MAINTENANCE else None,
        reason=None if dry_run else act.reason or None,
        dry_run=dry_run,
    )


async def _order(client: Client, act: Act) -> Outcome:
    told = await heard(client.servers.maintain_many(_maintenance(act, dry_run=False), operation=act.operation))
    failed = [one for one in told.servers if one.done is False]
    if failed and not told.changed:
        raise Conflict("; ".join(_why(one) for one in failed[:3]))
    if len(told.servers) == 1:
        return Outcome(f"{told.servers[0].server_id} {PAST[act.verb]}")
    return Outcome(
        f"{number(told.changed)} servers: {act.verb}",
        skipped=tuple(f"{one.server_id}: {_why(one)}" for one in failed),
    )


def _why(one: MaintainedServer) -> str:
    return one.error or "not done"


async def _plan_weights(client: Client, act: Act) -> Plan:
    revisions = act.revisions
    refusals: list[str] = []

    async def one(wanted: tuple[str, int]) -> ServerChanged | None:
        name, weight = wanted
        try:
            patch = ServerPatch(weight=weight, dry_run=True)
            return await client.servers.change(name, patch, if_match=revisions.get(name))
        except PointsmanError as error:
            if error.status == UNSURE:
                raise
            refusals.append(f"{name}: {error.detail}")
            return None

    told = await _abreast(one, act.weights)
    algorithm = (await client.pools.get(told[0].pool)).algorithm if told else ""
    return plans.of_weights(told, algorithm, tuple(sorted(refusals)))


async def _weigh(client: Client, act: Act) -> Outcome:
    revisions = act.revisions
    refusals: list[str] = []

    async def one(wanted: tuple[str, int]) -> str | None:
        name, weight = wanted
        patch, seen = ServerPatch(weight=weight), revisions.get(name)
        try:
            told = await heard(client.servers.change(name, patch, if_match=seen, operation=act.operation))
        except (Conflict, Refusal) as error:
            refusals.append(f"{name}: {error}")
            return None
        return f"{name} has weight {told.after.weight}"

    told = await _abreast(one, act.weights)
    if not told:
        raise Conflict("; ".join(refusals[:3]))
    return Outcome(told[0] if len(told) == 1 else f"{len(told)} weights changed", skipped=tuple(refusals))


async def _known(client: Client, server_id: str | None) -> int | None:
    """The revision of a server of this id, if there is one."""
    if server_id is None:
        return None
    try:
        return await client.servers.revision(server_id)
    except PointsmanError as error:
        if error.status == 404:
            return None
        raise


async def _register(client: Client, act: Act) -> Outcome:
    assert act.server is not None
    told = await heard(client.servers.register(act.server))
    if told.credential is None:
        return Outcome(f"{told.server_id} is registered already; its credential was shown then, and can be rotated")
    secret = f"credential      {told.credential}\nsigning secret  {told.signing_secret}"
    return Outcome(f"{told.server_id} is registered", secret=secret, made=told.server_id)


async def _plan_tasks(client: Client, act: Act) -> Plan:
    if act.matching:
        return plans.of_matching(act, await client.history.bulk(_bulk(act, dry_run=True)))
    if len(act.things) > TASKS_AT_ONCE:
        return plans.of_marked(act)
    missing: list[str] = []

    async def one(task_id: str) -> Task | None:
        try:
            return await client.tasks.get(task_id)
        except PointsmanError as error:
            if error.status != 404:
                raise
            missing.append(task_id)
            return None

    return plans.of_tasks(act, await _abreast(one, act.ids), missing)


def _bulk(act: Act, *, dry_run: bool) -> BulkCommand:
    reason = None if dry_run else act.reason or None
    if act.matching:
        bulk = BulkRequest(filter={"q": act.matching}, dry_run=dry_run, reason=reason)
    else:
        tasks = tuple(MarkedTask(id=thing.id, generation=thing.seen) for thing in act.things)
        bulk = BulkRequest(tasks=tasks, dry_run=dry_run, reason=reason)
    return BulkCommand(kind="cancel" if act.verb is Verb.CANCEL else "retry", bulk=bulk)


async def _steer(client: Client, act: Act) -> Outcome:
    """One at once; many as a job that goes on by itself, and a retry whose reason is to be kept."""
    if act.matching or len(act.things) > 1 or (act.verb is Verb.RETRY and act.reason):
        begun = await heard(client.history.bulk(_bulk(act, dry_run=False), operation=act.operation))
        what = "task" if begun.total == 1 else "tasks"
        return Outcome(f"{act.verb} of {number(begun.total)} {what} has begun", job=begun.id)
    (thing,) = act.things
    if act.verb is Verb.CANCEL:
        await heard(client.tasks.cancel(thing.id, act.reason or None, generation=thing.seen))
        return Outcome(f"{thing.id} is cancelled")
    await heard(client.tasks.retry(thing.id, generation=thing.seen))
    return Outcome(f"{thing.id} is queued again")


async def _abreast[A, T](ask: Callable[[A], Awaitable[T | None]], of: Iterable[A]) -> list[T]:
    """The answers that there are, in order."""
    places = asyncio.Semaphore(ABREAST)

    async def one(about: A) -> T | None:
        async with places:
            return await ask(about)

    answers = await asyncio.gather(*(one(about) for about in of))
    return [answer for answer in answers if answer is not None]
