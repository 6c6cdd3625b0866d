"""Events as lines: of one task until its end, of all tasks for as long as somebody looks."""

import re
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing

import click
import msgspec

from pointsman.cli import printing
from pointsman.client.bus import Bus
from pointsman.client.client import Client
from pointsman.contracts.base import encode
from pointsman.contracts.events import TaskEvent
from pointsman.services.runtime.feed import Cursor, Feed, Interrupted

type Line = Callable[[str, TaskEvent], str]
_CURSOR = re.compile(r"([0-9]{1,18})-([0-9]{1,18})", re.ASCII)
MAY_GO_ON = ("reconnected", "gap")


def jsonl(cursor: str, event: TaskEvent) -> str:
    """The event with its cursor, which is empty within a replay."""
    return msgspec.json.encode({"cursor": cursor} | msgspec.json.decode(encode(event))).decode()


LINES: dict[str, Line] = {"table": lambda _cursor, event: printing.event(event), "jsonl": jsonl}


def cursor_of(given: str) -> Cursor:
    found = _CURSOR.fullmatch(given)
    if not found:
        raise click.BadParameter("must be a cursor as `-o jsonl` shows it, as in 120-245", param_hint="--since")
    return Cursor(int(found[1]), int(found[2]))


async def one(client: Client, task_id: str, line: Line) -> AsyncIterator[str]:
    async for event in client.tasks.events(task_id):
        yield line("", event)


async def everything(bus: Bus, since: Cursor | None, line: Line) -> AsyncIterator[str]:
    """Goes on where it was after a gap or a reconnect."""

    def render(cursor: str, event: TaskEvent | None) -> tuple[str, TaskEvent | None]:
        return cursor, event

    feed = Feed(bus, render)
    while True:
        try:
            async with aclosing(feed.follow(since)) as told:
                async for some in told:
                    for cursor, event in some:
                        since = cursor_of(cursor) if cursor else since
                        yield "# more was missed than can be told" if event is None else line(cursor, event)
        except Interrupted as error:
            if str(error) not in MAY_GO_ON:
                raise
