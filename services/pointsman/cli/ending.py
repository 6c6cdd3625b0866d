"""Cancelling and retrying: one task at once, several after a question, all that match by a job of the system."""

from typing import TYPE_CHECKING, Literal

import click
from msgspec.structs import replace

from pointsman.cli import acting as acts
from pointsman.cli import asking, options, output, views
from pointsman.cli.acting import Asks, Plan
from pointsman.client.blocking import pause
from pointsman.contracts.lifecycle import Event, allows, is_terminal
from pointsman.contracts.search import BulkCommand, BulkRequest
from pointsman.contracts.task import ActAnswer

if TYPE_CHECKING:
    from pointsman.cli.asking import Wanted
    from pointsman.cli.options import Acting
    from pointsman.client.client import Client
    from pointsman.contracts.search import Job

type Kind = Literal["cancel", "retry"]
EVENTS: dict[Kind, Event] = {"cancel": Event.CANCELLED, "retry": Event.RETRIED_BY_HAND}
JOB_LOOK_S = 0.5


def act(
    wanted: "Wanted", acting: "Acting", kind: Kind, *, ids: tuple[str, ...], matching: str | None, reason: str | None
) -> None:
    if bool(ids) == (matching is not None):
        raise click.UsageError("name tasks, or --matching FILTER")
    if matching is not None:
        _job(wanted, acting, kind, asking.request(BulkRequest, filter={"q": matching}, reason=reason))
    elif len(ids) == 1 and (kind == "cancel" or reason is None):
        _one(wanted, acting, kind, ids[0], reason)
    else:
        tasks = [{"id": one} for one in dict.fromkeys(ids)]
        _job(wanted, acting, kind, asking.request(BulkRequest, tasks=tasks, reason=reason))


def _one(wanted: "Wanted", acting: "Acting", kind: Kind, task_id: str, reason: str | None) -> None:
    async def plan(client: "Client") -> Plan:
        return await _planned(client, kind, task_id)

    acts.act(
        wanted,
        acting,
        plan=plan,
        plan_view=acts.PLAN,
        do=lambda client: _done(client, kind, task_id, reason),
        view=views.ACT,
        asks=Asks.NEVER,
    )


def _job(wanted: "Wanted", acting: "Acting", kind: Kind, bulk: BulkRequest) -> None:
    """Counted first; then followed to its end. Interrupting this does not stop the job."""
    job = acts.act(
        wanted,
        acting,
        plan=lambda client: client.history.bulk(BulkCommand(kind=kind, bulk=replace(bulk, dry_run=True))),
        plan_view=views.JOB,
        do=lambda client: _followed(client, BulkCommand(kind=kind, bulk=bulk)),
        view=views.JOB,
        asks=Asks.ALWAYS if bulk.filter or len(bulk.tasks) > 1 else Asks.NEVER,
    )
    if job is not None and (job.failed or job.status == "STOPPED" or not (job.succeeded or bulk.filter)):
        raise SystemExit(options.FAILED)


async def _followed(client: "Client", command: BulkCommand) -> "Job":
    job = await client.history.bulk(command)
    try:
        while job.status == "RUNNING":
            if output.is_terminal():
                click.echo(f"\r{job.done:,} of {job.total:,}", err=True, nl=False)
            pause(JOB_LOOK_S)
            job = await client.history.job(job.id)
    except KeyboardInterrupt:
        click.echo(f"the job goes on without us: {job.id}", err=True)
        raise
    if output.is_terminal():
        click.echo("\r", err=True, nl=False)
    return job


async def _done(client: "Client", kind: Kind, task_id: str, reason: str | None) -> ActAnswer:
    if kind == "cancel":
        return await client.tasks.cancel(task_id, reason)
    return await client.tasks.retry(task_id)


async def _planned(client: "Client", kind: Kind, task_id: str) -> Plan:
    would = await _would(client, kind, task_id)
    return Plan(act=kind, target=task_id, note=f"it is {would.status}: {would.message}")


async def _would(client: "Client", kind: Kind, task_id: str) -> ActAnswer:
    task = await client.tasks.get(task_id)
    may = allows(task.status, EVENTS[kind])
    message = f"would {kind} it" if may else f"nothing to {kind}" if is_terminal(task.status) else "has not ended"
    return ActAnswer(id=task.id, status=task.status, success=may, message=message)
