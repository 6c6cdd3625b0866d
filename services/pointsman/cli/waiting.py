"""Waiting for tasks: until they are in a state, for a result, or along all that happens to them."""

import time
from typing import TYPE_CHECKING
from urllib.parse import quote

import click
import msgspec

from pointsman.cli import asking, options, output, streaming, tailing, views
from pointsman.client.blocking import pause
from pointsman.client.bus import Message
from pointsman.client.identity import answer_of
from pointsman.contracts.lifecycle import Status, is_terminal
from pointsman.contracts.task import WAIT_S_MAX, Task

if TYPE_CHECKING:
    from pointsman.cli.asking import Wanted
    from pointsman.client.client import Client
    from pointsman.contracts.events import TaskEvent

WAIT_S_DEFAULT = 60.0
LOOK_S, LOOK_S_MAX = 0.05, 1.0
ENDED = "ended"
_TASK = msgspec.json.Decoder(Task)
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
        task = reached(wanted, task_id, wish, end_s)
        if wanted.form in output.PEOPLE and wanted.given.columns is None:
            click.echo(f"{task.id}  {wanted.style.painted(task.status, output.Word(task.status))}")
        else:
            wanted.tell(task, views.TASK)
        codes.add(code_of(task, wish))
    for code in (options.FAILED, options.TIMEOUT):
        if code in codes:
            raise SystemExit(code)


def code_of(task: Task, wish: Status | None) -> int:
    if (task.status is wish) if wish is not None else is_terminal(task.status):
        return 0
    return options.FAILED if is_terminal(task.status) else options.TIMEOUT


def ended(wanted: "Wanted", task_id: str) -> Task:
    """The task when it has ended, or as it is when time is up."""
    return reached(wanted, task_id, None, wanted.patient(WAIT_S_DEFAULT))


def result(wanted: "Wanted", task_id: str, *, wait: bool) -> None:
    task = ended(wanted, task_id) if wait else wanted.ask(lambda client: client.tasks.get(task_id))
    tell_result(task, is_waited=wait)


def tell_result(task: Task, *, is_waited: bool) -> None:
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


def reached(wanted: "Wanted", task_id: str, wish: Status | None, end_s: float) -> Task:
    """The task in the state that is wished for, or ended otherwise, or as it is when time is up."""
    if wish is not None and not is_terminal(wish):
        return wanted.ask(lambda client: _seen(client, task_id, wish, end_s))
    if wanted.place.is_rest:
        with asking.refusals(wanted):
            return _told_over_rest(wanted, task_id, end_s)
    task = wanted.ask(lambda client: client.tasks.get(task_id))
    left_s = end_s - time.monotonic()
    if is_terminal(task.status) or left_s <= 0:
        return task
    return wanted.loop(lambda client: client.tasks.wait(task_id, left_s))


def _told_over_rest(wanted: "Wanted", task_id: str, end_s: float) -> Task:
    """The gateway answers when the task has ended, so it is asked once in WAIT_S_MAX."""
    bus = wanted.rest()
    while True:
        left_s = max(0.0, end_s - time.monotonic())
        patience_s = min(WAIT_S_MAX, int(left_s))
        path, prefer = f"/api/task/{quote(task_id, safe='')}", {"Prefer": f"wait={patience_s}"}
        data, headers = bus.fetch("GET", path, headers=prefer, timeout_s=patience_s + wanted.timeout_s)
        task = _TASK.decode(answer_of(Message(path, data, headers)).data)
        if is_terminal(task.status) or not left_s:
            return task
        if not patience_s:
            pause(left_s)


async def _seen(client: "Client", task_id: str, wish: Status, end_s: float) -> Task:
    """Looks again and again: nothing tells of a state that a task only passes, and one it passes quickly is not seen."""
    look_s = LOOK_S
    while True:
        task = await client.tasks.get(task_id)
        left_s = end_s - time.monotonic()
        if task.status is wish or is_terminal(task.status) or left_s <= 0:
            return task
        pause(min(look_s, left_s))
        look_s = min(look_s * 1.5, LOOK_S_MAX)
