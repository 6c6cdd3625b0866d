"""End an attempt that nobody wants any more: close its call, tell its server, give its slot back when that is sure."""

import asyncio

import aiohttp

from pointsman.contracts.execution import Abort
from pointsman.services.instance.backend import Backends
from pointsman.services.instance.fleet import Fleet, Target
from pointsman.services.instance.request import cancel_headers_of
from pointsman.services.runtime.clock import Clock

CANCEL_S = 2.0
CANCEL_BYTES_MAX = 64 * 1024
GONE = frozenset({404, 410})


class Canceller:
    def __init__(self, fleet: Fleet, backends: Backends, clock: Clock) -> None:
        self._fleet = fleet
        self._backends = backends
        self._clock = clock

    async def is_over(self, abort: Abort, *, call_was_open: bool) -> bool:
        """Tell the server, if it wants to be told; whether it is then known not to run the attempt.

        A server registered with `cancelOnDisconnect` ends with its connection. Any other may go on for a caller that
        hung up: it says so itself, or holds its slot until the attempt's deadline.
        """
        target = self._fleet.target(abort.server_id)
        if target is None:
            return True
        if target.config.cancel and await self._told(target, abort):
            return True
        return call_was_open and target.config.cancel_on_disconnect

    async def _told(self, target: Target, abort: Abort) -> bool:
        headers = cancel_headers_of(target, abort, now=self._clock.now_ms())
        try:
            async with asyncio.timeout(CANCEL_S):
                url = target.task_url(abort.task_id)
                answer = await self._backends.ask("DELETE", url, headers, limit=CANCEL_BYTES_MAX, tls=target.tls)
        except (aiohttp.ClientError, OSError):
            return False
        return 200 <= answer.status < 300 or answer.status in GONE
