"""Events as they come: over NATS from the republish of the buckets, over REST as server-sent events."""

import re
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import aclosing
from typing import TYPE_CHECKING

import msgspec

from pointsman.cli import asking, reaching
from pointsman.client import blocking
from pointsman.client.bus import BusDown, BusTimeout
from pointsman.client.client import Client
from pointsman.client.identity import problem_of
from pointsman.contracts.events import TaskEvent
from pointsman.contracts.subjects import HEADER_ERROR_CODE

if TYPE_CHECKING:
    from http.client import HTTPResponse

    from pointsman.cli.asking import Wanted

type Handle = Callable[[Client, str, TaskEvent | None], Awaitable[None]]
"""Client for questions, cursor after the event ("" within a replay), and the event; None: more was missed than is told."""

CURSOR = re.compile(r"([0-9]{1,18})-([0-9]{1,18})", re.ASCII)
MAY_GO_ON = ("reconnected", "gap")
AGAIN_S = 1.0
SILENCE_S = 60.0
LINE_BYTES_MAX = 1 << 20
_EVENT = msgspec.json.Decoder(TaskEvent)


class Ended(Exception):
    """The stream has told all that there is."""


def follow(wanted: "Wanted", handle: Handle, *, task_id: str | None = None, since: str | None = None) -> None:
    """Of one task until its end, of all until interrupted. Goes on where it was after an outage."""
    if wanted.place.is_rest:
        with asking.refusals(wanted):
            _over_rest(wanted, handle, task_id, since)
    elif task_id is not None:
        wanted.loop(lambda client: _one(client, task_id, handle))
    else:
        wanted.loop(lambda client: _all(client, since, handle))


async def _one(client: Client, task_id: str, handle: Handle) -> None:
    async for event in client.tasks.events(task_id):
        await handle(client, "", event)


async def _all(client: Client, since: str | None, handle: Handle) -> None:
    from pointsman.services.runtime.feed import Cursor, Feed, Interrupted

    def cursor_of(text: str) -> Cursor:
        tasks, _, leases = text.partition("-")
        return Cursor(int(tasks), int(leases))

    feed: Feed[tuple[str, TaskEvent | None]] = Feed(client.bus, lambda cursor, event: (cursor, event))
    read = None if since is None else cursor_of(since)
    while True:
        try:
            async with aclosing(feed.follow(read)) as told:
                async for some in told:
                    for cursor, event in some:
                        read = cursor_of(cursor) if cursor else read
                        await handle(client, cursor, event)
        except Interrupted as error:
            if str(error) not in MAY_GO_ON:
                raise


def _over_rest(wanted: "Wanted", handle: Handle, task_id: str | None, since: str | None) -> None:
    client = Client(wanted.rest(), reaching.actor(), blocking.call)
    path = "/api/events" if task_id is None else f"/api/task/{task_id}/events"
    read, is_first = since, True
    while True:
        try:
            for cursor, event in _events(_opened(wanted, path, read)):
                read = cursor or read
                blocking.run(_awaited(handle(client, cursor, event)))
        except Ended:
            return
        except (BusDown, BusTimeout):
            if is_first:
                raise
            time.sleep(AGAIN_S)
        is_first = False


async def _awaited(work: Awaitable[None]) -> None:
    await work


def _opened(wanted: "Wanted", path: str, since: str | None) -> "HTTPResponse":
    headers = {"Accept": "text/event-stream"} | ({"Last-Event-ID": since} if since else {})
    answer = wanted.rest().open("GET", path, None, headers, SILENCE_S)
    if answer.status == 204:
        raise Ended
    if answer.status != 200:
        from pointsman.client.bus import Message

        raise problem_of(Message(path, answer.read(LINE_BYTES_MAX), {HEADER_ERROR_CODE: str(answer.status)}))
    return answer


def _events(answer: "HTTPResponse") -> "Iterator[tuple[str, TaskEvent | None]]":
    """https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation"""
    name = data = cursor = ""
    for line in _lines(answer):
        field, _, value = line.partition(": ")
        match field:
            case "id":
                cursor = value
            case "event":
                name = value
            case "data":
                data = value
            case "" if data:
                if name == "end":
                    raise Ended
                if name == "gap":
                    yield "", None
                elif name != "interrupted":
                    yield cursor, _EVENT.decode(data)
                name = data = cursor = ""
            case _:
                continue


def _lines(answer: "HTTPResponse") -> "Iterator[str]":
    while True:
        try:
            line = answer.readline(LINE_BYTES_MAX)
        except TimeoutError:
            raise BusTimeout("the events fell silent") from None
        except OSError as error:
            raise BusDown(str(error)) from error
        if not line:
            return
        yield line.rstrip(b"\r\n").decode(errors="replace")
