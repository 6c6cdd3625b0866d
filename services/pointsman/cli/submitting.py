"""Submitting one task from options, or every line of a file."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from pointsman.cli import asking, options, views, waiting
from pointsman.cli.output import Column, View, as_json
from pointsman.cli.registering import pairs
from pointsman.contracts.errors import PointsmanError
from pointsman.contracts.filter_values import DURATION, milliseconds
from pointsman.contracts.json_limits import check_object
from pointsman.contracts.lifecycle import Status
from pointsman.contracts.task import PAYLOAD_BYTES_MAX, Task, TaskRequest

if TYPE_CHECKING:
    from pointsman.cli.asking import Wanted

ONE_ALONE = (
    "payload", "pool", "priority", "capabilities", "labels", "delay", "attempt_timeout", "deadline", "max_attempts",
    "fairness_key", "concurrency_key", "affinity_key", "idempotency_key", "wait",
)  # fmt: skip

REQUEST: View[TaskRequest, TaskRequest] = View(
    (
        Column("TYPE", lambda one: one.type),
        Column("POOL", lambda one: one.pool),
        Column("PRIORITY", lambda one: one.priority),
        Column("CAPABILITIES", lambda one: views.joined(one.capabilities)),
        Column("PAYLOAD", lambda one: bytes(one.payload).decode()),
    ),
    lambda one: (one,),
    lambda one: one.type,
    lambda one, _style: as_json(one),
)


def submit(wanted: "Wanted", task_type: str | None, file: Path | None, given: dict[str, Any]) -> None:
    if file is not None:
        _many(wanted, task_type, file, given)
        return
    if task_type is None:
        raise click.UsageError("what type? `pointsman task submit TYPE`, or -f FILE with a request a line")
    if given["resume"]:
        raise click.UsageError("--resume goes with -f")
    request = _request(task_type, given)
    if given["dry_run"]:
        wanted.tell(request, REQUEST)
        return
    task = wanted.ask(lambda client: client.tasks.submit(request, idempotency_key=given["idempotency_key"]))
    if not given["wait"]:
        wanted.tell(task, views.TASK)
        return
    _waited(wanted, task)


def _waited(wanted: "Wanted", task: Task) -> None:
    click.echo(task.id, err=True)
    ended = waiting.ended(wanted, task.id)
    wanted.tell(ended, views.TASK)
    if code := waiting.code_of(ended, Status.COMPLETED):
        raise SystemExit(code)


def _many(wanted: "Wanted", task_type: str | None, file: Path, given: dict[str, Any]) -> None:
    from pointsman.cli import submitting_many

    if wrong := [name for name in ONE_ALONE if given[name]]:
        raise click.UsageError(f"with -f, --{wrong[0].replace('_', '-')} stands in the lines")
    if task_type is not None:
        raise click.UsageError("with -f, the type stands in the lines")
    if wanted.given.columns:
        raise click.UsageError("with -f there is a count to tell, and no --columns")
    if given["dry_run"] and given["resume"]:
        raise click.UsageError("--dry-run keeps nothing to resume from")
    submitting_many.submit(wanted, file, in_flight=given["in_flight"], resume=given["resume"], dry_run=given["dry_run"])


def _request(task_type: str, given: dict[str, Any]) -> TaskRequest:
    return asking.request(
        TaskRequest,
        type=task_type,
        payload=_payload(given["payload"]),
        pool=given["pool"],
        priority=given["priority"],
        capabilities=list(given["capabilities"]) or None,
        labels=pairs(given["labels"], "--label") or None,
        delayMs=_ms(given["delay"], "--delay"),
        timeoutMs=_ms(given["attempt_timeout"], "--attempt-timeout"),
        deadlineMs=_ms(given["deadline"], "--deadline"),
        maxAttempts=given["max_attempts"],
        fairnessKey=given["fairness_key"],
        concurrencyKey=given["concurrency_key"],
        affinityKey=given["affinity_key"],
    )


def _payload(given: str | None) -> msgspec.Raw | None:
    """The bytes as they were given, so that no number changes on the way."""
    if given is None:
        return None
    try:
        if given == "-" or given.startswith("@"):
            with click.open_file(given.removeprefix("@"), "rb") as file:
                data = file.read(PAYLOAD_BYTES_MAX + 1)
        else:
            data = given.encode()
        check_object(data, "payload", PAYLOAD_BYTES_MAX)
    except OSError as error:
        raise click.BadParameter(f"{given}: {error.strerror}", param_hint="--payload") from error
    except PointsmanError as error:
        options.fail(error.detail, options.USAGE)
    return msgspec.Raw(data)


def _ms(text: str | None, option: str) -> int | None:
    found = None if text is None else milliseconds(text)
    if text is not None and found is None:
        raise click.BadParameter(f"{text!r} is no duration such as {DURATION}", param_hint=option)
    return found
