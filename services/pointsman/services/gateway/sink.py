"""Readers of what is told to many: written to from outside, without a task of its own for each write."""

import asyncio
from collections.abc import Awaitable, Callable

from litestar.types import HTTPResponseBodyEvent, Send

from pointsman.services.gateway.sse import HEARTBEAT, WRITE_S, more, too_many
from pointsman.services.runtime.feed import SILENCE_S, Batch, Cursor

GONE = "gone"
BEAT = more(HEARTBEAT)


class Sink:
    """A write that the connection takes at once costs no turn of the loop; what it does not take waits, up to `queued_max`.

    Nothing is written before `release`. `ended` says why no more comes.
    """

    def __init__(self, queued_max: int) -> None:
        self._queued_max = queued_max
        self._loop = asyncio.get_running_loop()
        self._send: Send | None = None
        self._waiting: Batch[bytes] = []
        self._read: Cursor | None = None
        self._writing: asyncio.Task[None] | None = None
        self._deadline: asyncio.TimerHandle | None = None
        self.ended: asyncio.Future[str] = self._loop.create_future()

    def release(self, send: Send, read: Cursor | None = None) -> None:
        """Write what came, but for what was `read` already, and all that comes."""
        self._send, self._read = send, read
        self._flush()

    def take(self, message: HTTPResponseBodyEvent, batch: Batch[bytes]) -> None:
        """`message` is the batch as it is written; of a sign of life the batch is empty."""
        if self.ended.done():
            return
        if (self._read is None or not batch) and self._writing is None and self._send is not None:
            self._write(self._send, message)
            return
        self._waiting += batch
        if len(self._waiting) > self._queued_max:
            self.lose("slow-reader")
        self._flush()

    def lose(self, why: str) -> None:
        if not self.ended.done():
            self.ended.set_result(why)

    def close(self) -> None:
        """The connection is gone or given up."""
        self.lose(GONE)
        self._waiting.clear()
        if self._deadline is not None:
            self._deadline.cancel()
        if self._writing is not None:
            self._writing.cancel()

    def _flush(self) -> None:
        if self._send is None or self._writing is not None or not self._waiting or self.ended.done():
            return
        waiting, self._waiting = self._waiting, []
        if self._read is not None:
            waiting = [(cursor, frame) for cursor, frame in waiting if not cursor.is_within(self._read)]
            self._read = None
        if waiting:
            self._write(self._send, more(b"".join(frame for _, frame in waiting)))

    def _write(self, send: Send, message: HTTPResponseBodyEvent) -> None:
        writing = asyncio.Task(_done(send(message)), loop=self._loop, eager_start=True)
        if writing.done():
            self._check(writing)
            return
        self._writing = writing
        self._deadline = self._loop.call_later(WRITE_S, self.lose, "slow-reader")
        writing.add_done_callback(self._written)

    def _written(self, writing: asyncio.Task[None]) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
        self._writing = None
        if self._check(writing):
            self._flush()

    def _check(self, writing: asyncio.Task[None]) -> bool:
        """Whether the connection took it."""
        if not writing.cancelled() and writing.exception() is None:
            return True
        self.lose(GONE)
        return False


class Sinks:
    """All readers of one hub, so many at most; given a sign of life after a while in which nothing was told."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._sinks: set[Sink] = set()
        self._silence: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._sinks)

    def add(self, sink: Sink) -> None:
        """Raises 503 when so many read already."""
        if len(self._sinks) >= self._most:
            raise too_many(self._most)
        self._sinks.add(sink)
        sink.ended.add_done_callback(lambda _: self.discard(sink))
        if self._silence is None:
            self._expect()

    def discard(self, sink: Sink) -> None:
        self._sinks.discard(sink)
        if not self._sinks and self._silence is not None:
            self._silence.cancel()
            self._silence = None

    def tell(self, message: HTTPResponseBodyEvent, batch: Batch[bytes]) -> None:
        self.each(lambda sink: sink.take(message, batch))

    def each(self, give: Callable[[Sink], None]) -> None:
        if self._silence is not None:
            self._silence.cancel()
            self._expect()
        for sink in tuple(self._sinks):
            give(sink)

    def lose(self, why: str) -> None:
        for sink in tuple(self._sinks):
            sink.lose(why)

    def _expect(self) -> None:
        self._silence = asyncio.get_running_loop().call_later(SILENCE_S, self.tell, BEAT, [])


async def _done(sent: Awaitable[None]) -> None:
    await sent
