"""One reader of what is told to many: written to from outside, without a task of its own for each write."""

import asyncio
from collections.abc import Awaitable

from litestar.types import HTTPResponseBodyEvent, Send

from pointsman.services.gateway.sse import WRITE_S, more
from pointsman.services.runtime.feed import Batch, Cursor

QUEUED_MAX = 2_000
GONE = "gone"


class Sink:
    """A write that the connection takes at once costs no turn of the loop; what it does not take waits, up to a bound.

    `ended` says why no more comes.
    """

    def __init__(self, send: Send) -> None:
        self._send = send
        self._loop = asyncio.get_running_loop()
        self._waiting: Batch[bytes] = []
        self._read: Cursor | None = None
        self._is_held = True
        self._writing: asyncio.Task[None] | None = None
        self._deadline: asyncio.TimerHandle | None = None
        self.ended: asyncio.Future[str] = self._loop.create_future()

    def release(self, read: Cursor) -> None:
        """Write what came after `read`, and all that comes."""
        self._read, self._is_held = read, False
        self._flush()

    def take(self, message: HTTPResponseBodyEvent, batch: Batch[bytes]) -> None:
        """`message` is the batch as it is written; of a sign of life the batch is empty."""
        if self.ended.done():
            return
        if (self._read is None or not batch) and self._writing is None and not self._is_held:
            self._write(message)
            return
        self._waiting += batch
        if len(self._waiting) > QUEUED_MAX:
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
        if self._is_held or self._writing is not None or not self._waiting or self.ended.done():
            return
        waiting, self._waiting = self._waiting, []
        if self._read is not None:
            waiting = [(cursor, frame) for cursor, frame in waiting if not cursor.is_within(self._read)]
            self._read = None
        if waiting:
            self._write(more(b"".join(frame for _, frame in waiting)))

    def _write(self, message: HTTPResponseBodyEvent) -> None:
        writing = asyncio.Task(_done(self._send(message)), loop=self._loop, eager_start=True)
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


async def _done(sent: Awaitable[None]) -> None:
    await sent
