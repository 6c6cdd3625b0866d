"""Events that have happened: where in the streams a moment is, and what they hold from there. Needs NATS."""

import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click
import msgspec

from pointsman.cli import options, streaming, tailing
from pointsman.client.bus import BusError
from pointsman.contracts.events import TaskEvent
from pointsman.contracts.filter_values import milliseconds
from pointsman.contracts.subjects import BUCKET_LEASES, BUCKET_TASKS, stream_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from pointsman.cli.asking import Wanted
    from pointsman.cli.output import Style
    from pointsman.client.bus import Bus
    from pointsman.client.client import Client

ANSWER_S = 5.0
NOTHING_LATER = "404"


def cursor(wanted: "Wanted", since: str) -> str:
    """The cursor itself, or that of the moment so long ago."""
    if streaming.CURSOR.fullmatch(since):
        return since
    ago_ms = milliseconds(since)
    if ago_ms is None:
        raise click.BadParameter("must be a cursor as in 120-245, or a duration as in 15m", param_hint="--since")
    if wanted.place.is_rest:
        options.fail("--since with a duration needs NATS; over REST give a cursor", options.USAGE)
    start = datetime.fromtimestamp(time.time() - ago_ms / 1000, UTC)

    async def find(client: "Client") -> str:
        places = [await _before(client.bus, stream_of(bucket), start) for bucket in (BUCKET_TASKS, BUCKET_LEASES)]
        return f"{places[0]}-{places[1]}"

    return wanted.ask(find)


def show(wanted: "Wanted", since: str) -> None:
    """All that is held after `since`, by time; then it ends."""
    style = tailing.style_of(wanted)

    async def read(client: "Client") -> list[str]:
        from pointsman.services.runtime.feed import Cursor, missed

        tasks, _, leases = since.partition("-")
        told, _ = await missed(client.bus, Cursor(int(tasks), int(leases)), _rendered(style))
        return told

    if wanted.place.is_rest:
        options.fail("--no-follow needs NATS", options.USAGE)
    for line in wanted.loop(read):
        click.echo(line)


def _rendered(style: "Style") -> "Callable[[str, TaskEvent | None], str]":
    def render(cursor: str, event: TaskEvent | None) -> str:
        return tailing.shown(style, cursor, event)

    return render


async def _before(bus: "Bus", stream: str, start: datetime) -> int:
    """The sequence before the first message at or after `start`, by a direct get (ADR-31); the last when there is none."""
    request = {"start_time": start.isoformat(), "next_by_subj": ">"}
    answer = await bus.request(f"$JS.API.DIRECT.GET.{stream}", msgspec.json.encode(request), timeout_s=ANSWER_S)
    if sequence := answer.headers.get("Nats-Sequence"):
        return int(sequence) - 1
    if answer.headers.get("Status") != NOTHING_LATER:
        raise BusError(f"{stream}: {answer.headers.get('Description', 'no answer to read')}")
    info = msgspec.json.decode((await bus.request(f"$JS.API.STREAM.INFO.{stream}", b"", timeout_s=ANSWER_S)).data)
    return int(info["state"]["last_seq"])
