"""Events as lines: of one task until its end, of all that match for as long as somebody looks."""

from collections import OrderedDict
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click
import msgspec

from pointsman.cli import matching, options, output, streaming
from pointsman.cli.output import Style
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


def line(event: TaskEvent, style: Style) -> str:
    """For people; columns as wide as they usually are."""
    pieces = (
        f"attempt {event.attempt}" if event.attempt else "",
        event.server_id or "",
        event.outcome or "",
        f"HTTP {event.http_status}" if event.http_status else "",
        f"{event.progress:g} %" if event.progress is not None else "",
        f"again at {style.at(event.run_at)}" if event.run_at else "",
        event.error or "",
    )
    detail = "  ".join(output.one_line(piece) for piece in pieces if piece)
    word = style.painted(f"{event.event:<13}", output.Word(event.event))
    return f"{_moment(event.at, style)}  {word}  {event.task_id}  {detail}".rstrip()


def _moment(ms: int, style: Style) -> str:
    """ISO to the millisecond: events come in threes."""
    if style.time != "iso":
        return style.at(ms)
    return f"{datetime.fromtimestamp(ms / 1000, UTC):%Y-%m-%d %H:%M:%S.%f}"[:-3] + "Z"


def jsonl(cursor: str, event: TaskEvent) -> str:
    """The event with its cursor, which is empty within a replay."""
    return output.as_jsonl({"cursor": cursor} | msgspec.json.decode(encode(event)))


def shown(style: Style, cursor: str, event: TaskEvent | None) -> str:
    """A line in the form that was asked for; every form for programs is a line of JSON, save names."""
    if style.form == "name":
        return "" if event is None else event.task_id
    if style.form in output.PEOPLE:
        return MISSED if event is None else line(event, style)
    return '{"event":"gap"}' if event is None else jsonl(cursor, event)


def style_of(wanted: "Wanted") -> Style:
    """Refuses what lines cannot be."""
    if wanted.given.columns:
        raise click.UsageError("events are lines: they have no --columns")
    if wanted.form not in FORMS:
        raise click.UsageError(f"events are lines: -o is one of {', '.join(FORMS)}")
    return wanted.style


def show(wanted: "Wanted", *, task_id: str | None, since: str | None) -> None:
    style = style_of(wanted)

    async def tell(_client: "Client", cursor: str, event: TaskEvent | None) -> None:
        _say(shown(style, cursor, event))

    streaming.follow(wanted, tell, task_id=task_id, since=since)


def tail(wanted: "Wanted", filters: str) -> None:
    """Only what matches; what an event does not say of its task is asked for once."""
    try:
        wishes = matching.wishes(filters)
    except FilterError as error:
        options.fail(error.detail, options.USAGE)
    known: OrderedDict[str, matching.Known] = OrderedDict()
    style = style_of(wanted)

    async def tell(client: "Client", cursor: str, event: TaskEvent | None) -> None:
        if event is None:
            _say(shown(style, cursor, None))
            return
        if wishes.needs_task and event.task_id not in known:
            known[event.task_id] = await _known(client, event)
            if len(known) > KNOWN_MAX:
                known.popitem(last=False)
        if wishes.match(event, known.get(event.task_id)):
            _say(shown(style, cursor, event))

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
