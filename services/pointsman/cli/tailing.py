"""Events as lines: of one task until its end, of all that match for as long as somebody looks."""

from collections import OrderedDict
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click
import msgspec

from pointsman.cli import matching, options, output, streaming
from pointsman.contracts.base import encode
from pointsman.contracts.errors import PointsmanError
from pointsman.contracts.events import TaskEvent
from pointsman.contracts.filters import FilterError

if TYPE_CHECKING:
    from pointsman.cli.asking import Wanted
    from pointsman.client.client import Client

FORMS = ("table", "wide", "json", "jsonl", "name")
KNOWN_MAX = 10_000
MISSED = "# more was missed than can be told"


def line(event: TaskEvent) -> str:
    """For people; columns as wide as they usually are."""
    pieces = (
        f"attempt {event.attempt}" if event.attempt else "",
        event.server_id or "",
        event.outcome or "",
        f"HTTP {event.http_status}" if event.http_status else "",
        f"{event.progress:g} %" if event.progress is not None else "",
        f"again at {_moment(event.run_at)}" if event.run_at else "",
        event.error or "",
    )
    detail = "  ".join(output.one_line(piece) for piece in pieces if piece)
    moment = f"{datetime.fromtimestamp(event.at / 1000, UTC):%Y-%m-%d %H:%M:%S.%f}"[:-3]
    return f"{moment}Z  {event.event:<13}  {event.task_id}  {detail}".rstrip()


def jsonl(cursor: str, event: TaskEvent) -> str:
    """The event with its cursor, which is empty within a replay."""
    return msgspec.json.encode({"cursor": cursor} | msgspec.json.decode(encode(event))).decode()


def shown(form: str, cursor: str, event: TaskEvent | None) -> str:
    """A line in the form that was asked for; every form for programs is a line of JSON, save names."""
    if form == "name":
        return "" if event is None else event.task_id
    if form in output.PEOPLE:
        return MISSED if event is None else line(event)
    return '{"event":"gap"}' if event is None else jsonl(cursor, event)


def form_of(wanted: "Wanted") -> str:
    """Refuses what lines cannot be."""
    if wanted.given.columns:
        raise click.UsageError("events are lines: they have no --columns")
    if wanted.form not in FORMS:
        raise click.UsageError(f"events are lines: -o is one of {', '.join(FORMS)}")
    return wanted.form


def show(wanted: "Wanted", *, task_id: str | None, since: str | None) -> None:
    form = form_of(wanted)

    async def tell(_client: "Client", cursor: str, event: TaskEvent | None) -> None:
        _say(shown(form, cursor, event))

    streaming.follow(wanted, tell, task_id=task_id, since=since)


def tail(wanted: "Wanted", filters: str) -> None:
    """Only what matches; what an event does not say of its task is asked for once."""
    try:
        wishes = matching.wishes(filters)
    except FilterError as error:
        options.fail(error.detail, options.USAGE)
    known: OrderedDict[str, matching.Known] = OrderedDict()
    form = form_of(wanted)

    async def tell(client: "Client", cursor: str, event: TaskEvent | None) -> None:
        if event is None:
            _say(shown(form, cursor, None))
            return
        if wishes.needs_task and event.task_id not in known:
            known[event.task_id] = await _known(client, event)
            if len(known) > KNOWN_MAX:
                known.popitem(last=False)
        if wishes.match(event, known.get(event.task_id)):
            _say(shown(form, cursor, event))

    streaming.follow(wanted, tell)


async def _known(client: "Client", event: TaskEvent) -> matching.Known:
    if event.type is not None:
        return matching.Known(event.type, event.pool, event.owner)
    try:
        task = await client.tasks.get(event.task_id)
    except PointsmanError as error:
        if error.status != 404:
            raise
        return matching.Known(None, None, None)
    return matching.Known(task.type, task.pool, task.owner)


def _say(text: str) -> None:
    if text:
        click.echo(text)


def _moment(ms: int | None) -> str:
    return output.Style().at(ms)
