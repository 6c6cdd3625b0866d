"""Waiting for tasks: until they are in a state, for a result, or along all that happens to them."""

import time
from typing import TYPE_CHECKING

import click

from pointsman.cli import options, output, streaming, tailing, views
from pointsman.client.blocking import pause
from pointsman.contracts.lifecycle import Status, is_terminal

if TYPE_CHECKING:
    from pointsman.cli.asking import Wanted
    from pointsman.client.client import Client
    from pointsman.contracts.events import TaskEvent
    from pointsman.contracts.task import Task

WAIT_S_DEFAULT = 60.0
LOOK_S, LOOK_S_MAX = 0.05, 1.0
ENDED = "ended"
WORDS = {"queued": Status.PENDING, "running": Status.PROCESSING, "done": Status.COMPLETED}


def goal_of(text: str) -> Status | None:
    """`state=completed` as the status; None for any end. A usage error lists what there is."""
    name, equals, word = text.partition("=")
    if equals and name in ("state", "status"):
        if word.lower() == ENDED:
            return None
        if word.lower() in WORDS:
            return WORDS[word.lower()]
        if word.upper() in Status.__members__:
            return Status(word.upper())
    there = ", ".join([*(status.lower() for status in Status), ENDED])
    raise click.BadParameter(f"must be state=WORD; words are {there}", param_hint="--for")


def wait(wanted: "Wanted", ids: tuple[str, ...], goal: str) -> None:
    """Tells each task once it is there, or has ended otherwise; the worst decides the exit code."""
    wish = goal_of(goal)
    end_s = wanted.patient(WAIT_S_DEFAULT)
    codes = set()
    for task_id in dict.fromkeys(ids):
        task = wanted.ask(lambda client, one=task_id: _until(client, one, wish, end_s))  # type: ignore[misc]
        if wanted.form in output.PEOPLE and wanted.given.columns is None:
            click.echo(f"{task.id}  {wanted.style.painted(task.status, output.Word(task.status))}")
        else:
            wanted.tell(task, views.TASK)
        codes.add(code_of(task, wish))
    for code in (options.FAILED, options.TIMEOUT):
        if code in codes:
            raise SystemExit(code)


def code_of(task: "Task", wish: Status | None) -> int:
    if (task.status is wish) if wish is not None else is_terminal(task.status):
        return 0
    return options.FAILED if is_terminal(task.status) else options.TIMEOUT


def ended(wanted: "Wanted", task_id: str) -> "Task":
    """The task when it has ended, or as it is when time is up."""
    end_s = wanted.patient(WAIT_S_DEFAULT)
    return wanted.ask(lambda client: _until(client, task_id, None, end_s))


def result(wanted: "Wanted", task_id: str, *, wait: bool) -> None:
    task = ended(wanted, task_id) if wait else wanted.ask(lambda client: client.tasks.get(task_id))
    tell_result(task, is_waited=wait)


def tell_result(task: "Task", *, is_waited: bool) -> None:
    """Its result on standard output; else why there is none, and the exit code."""
    if task.status is Status.COMPLETED:
        click.echo(bytes(task.result))
    elif is_terminal(task.status):
        options.fail(f"{task.id} is {task.status}: {task.error or 'no reason is known'}")
    else:
        options.fail(f"{task.id} is {task.status}", options.TIMEOUT if is_waited else options.CONFLICT)


def follow(wanted: "Wanted", task_id: str) -> None:
    style, last = tailing.style_of(wanted), [Status.PENDING]

    async def tell(_client: "Client", cursor: str, event: "TaskEvent | None") -> None:
        if event is not None:
            last[0] = event.status
            click.echo(tailing.shown(style, cursor, event))

    streaming.follow(wanted, tell, task_id=task_id)
    if last[0] is not Status.COMPLETED:
        raise SystemExit(options.FAILED)


async def _until(client: "Client", task_id: str, wish: Status | None, end_s: float) -> "Task":
    """Looks again and again: states that pass quickly are not seen, and are not what one waits for."""
    look_s = LOOK_S
    while True:
        task = await client.tasks.get(task_id)
        left_s = end_s - time.monotonic()
        if task.status is wish or is_terminal(task.status) or left_s <= 0:
            return task
        pause(min(look_s, left_s))
        look_s = min(look_s * 1.5, LOOK_S_MAX)
