"""Server-sent events (WHATWG HTML, 9.2): a stream with comments against silence, ended when its reader is too slow."""

import asyncio
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field

from litestar.types import HTTPResponseBodyEvent, Receive, Scope, Send

from pointsman.contracts.base import encode
from pointsman.contracts.errors import PointsmanError, invalid
from pointsman.contracts.events import TaskEvent
from pointsman.services.gateway.reply import API_HEADERS, Reply

HEARTBEAT = b": beat\n\n"
WRITE_S = 8.0
CLOSING_S = 1.0
EXPIRED = "token-expired"
EVENT_STREAM = b"text/event-stream"
_CURSOR = re.compile(r"[0-9]{1,18}(?:-[0-9]{1,18})*", re.ASCII)


def framed(event_id: str, event: TaskEvent) -> bytes:
    mark = b"id: %b\n" % event_id.encode() if event_id else b""
    return mark + b"event: %b\ndata: %b\n\n" % (event.event.encode(), encode(event))


def notice(name: str, reason: str) -> bytes:
    """What the stream says of itself."""
    return b'event: %b\ndata: {"reason":"%b"}\n\n' % (name.encode(), reason.encode())


def last_event_id(headers: Mapping[bytes, bytes], parts: int) -> tuple[int, ...] | None:
    """The numbers of `Last-Event-ID`; 400 when it is none of ours."""
    given = headers.get(b"last-event-id", b"").decode("latin-1")
    return cursor_of("Last-Event-ID", given, parts) if given else None


def cursor_of(field: str, given: str, parts: int) -> tuple[int, ...]:
    """Raises 400 that names the field."""
    if not _CURSOR.fullmatch(given) or given.count("-") != parts - 1:
        raise invalid(field, f"not an id of this stream: {parts} numbers joined by -")
    return tuple(int(one) for one in given.split("-"))


@dataclass(slots=True)
class EventStream(Reply):
    """An answer that goes on, at most `lives_s`: no longer than its caller's token."""

    lives_s: float | None = None

    async def begin(self, scope: Scope, send: Send) -> bool:
        """Whether a body is wanted."""
        headers = [*API_HEADERS, *self.headers, (b"x-request-id", self.request_id.encode("latin-1"))]
        headers += [(b"content-type", EVENT_STREAM), (b"x-accel-buffering", b"no")]
        await send({"type": "http.response.start", "status": self.status, "headers": headers})
        if is_head := scope["method"] == "HEAD":  # type: ignore[typeddict-item]
            await send(END)
        return not is_head


@dataclass(slots=True)
class Stream(EventStream):
    """`frames` are written as they come and closed with the connection.

    `closing` ends one whose frames do not end by themselves when the gateway stops.
    """

    frames: AsyncIterator[bytes] = field(default_factory=lambda: _none())
    closing: asyncio.Event = field(default_factory=asyncio.Event)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if not await self.begin(scope, send):
            return
        writing = asyncio.create_task(self._write(send))
        over = {asyncio.create_task(disconnected(receive)), asyncio.create_task(self._closed())}
        try:
            await asyncio.wait({writing, *over}, timeout=self.lives_s, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (writing, *over):
                task.cancel()
            await asyncio.wait({writing, *over})
        if writing.cancelled():
            await self._tell_end(send, expired=not any(task.done() and not task.cancelled() for task in over))
        elif (error := writing.exception()) and not isinstance(error, (OSError, TimeoutError)):
            raise error

    async def _closed(self) -> None:
        await self.closing.wait()

    async def _tell_end(self, send: Send, *, expired: bool) -> None:
        if self.closing.is_set():
            await close(send, "shutdown")
        elif expired:
            await close(send, EXPIRED)

    async def _write(self, send: Send) -> None:
        async for frame in self.frames:
            async with asyncio.timeout(WRITE_S):
                await send(more(frame))
        await send(END)


def more(body: bytes) -> HTTPResponseBodyEvent:
    return {"type": "http.response.body", "body": body, "more_body": True}


END: HTTPResponseBodyEvent = {"type": "http.response.body", "body": b"", "more_body": False}


async def close(send: Send, why: str) -> None:
    """Say why no more comes, to a reader that still takes it."""
    with suppress(OSError, TimeoutError):
        async with asyncio.timeout(CLOSING_S):
            await send(more(notice("interrupted", why)))
            await send(END)


async def _none() -> AsyncIterator[bytes]:
    return
    yield b""


async def disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        continue


def too_many(limit: int) -> PointsmanError:
    return PointsmanError(503, f"{limit} event streams are open already", slug="unavailable", retry_after_s=5)
