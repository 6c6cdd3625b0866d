"""Time that costs nothing: an event loop that jumps to its next timer, and a clock that reads it."""

import asyncio
from typing import Any

EPOCH_MS = 1_700_000_000_000


class VirtualTime:
    """The clock of an event loop without sockets: it jumps to the next timer whenever nothing can run."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop: Any = loop
        self._selector = self._loop._selector
        self._select = self._selector.select
        self.now_s = float(int(loop.time()))
        self._loop.time = lambda: self.now_s
        self._selector.select = self._jump

    def restore(self) -> None:
        del self._loop.time
        self._selector.select = self._select

    def _jump(self, timeout: float | None = None) -> Any:
        if timeout is None or timeout <= 0:
            return self._select(timeout)
        events = self._select(0)
        if not events:
            self.now_s += timeout
        return events


class LoopClock:
    """The loop's own time, so that virtual time moves what the services read."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._began_s = loop.time()
        self.skew_ms = 0

    def now_ms(self) -> int:
        return EPOCH_MS + round((self._loop.time() - self._began_s) * 1000) + self.skew_ms

    def monotonic_s(self) -> float:
        return self._loop.time()
