"""A submitter that is called back: an HTTP server in this process that keeps what it got and verifies the signature."""

import asyncio
import base64
import hashlib
import hmac
import json
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

HANG_S = 30.0


@dataclass
class Receiver:
    """`statuses` are answered first, one per call, then 200; `hangs` answers nothing for half a minute."""

    url: str = ""
    port: int = 0
    statuses: list[int] = field(default_factory=list)
    headers: dict[str, str] = field(default_factory=dict)
    hangs: bool = False
    calls: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    taken: Counter[str] = field(default_factory=Counter)
    running: int = 0
    peak: int = 0

    async def answer(self, request: web.Request) -> web.Response:
        self.running += 1
        self.peak = max(self.peak, self.running)
        try:
            return await self._answer(request)
        finally:
            self.running -= 1

    async def _answer(self, request: web.Request) -> web.Response:
        body = await request.read()
        self.calls.append(({name.lower(): value for name, value in request.headers.items()}, body))
        if self.hangs:
            await asyncio.sleep(HANG_S)
        status = self.statuses.pop(0) if self.statuses else 200
        if status == 200:
            self.taken[json.loads(body)["id"]] += 1
        return web.Response(status=status, headers=self.headers if status != 200 else {})

    def bodies(self) -> list[dict[str, Any]]:
        return [json.loads(body) for _, body in self.calls]

    def are_signed(self, secret: str) -> bool:
        """Whether all calls carry a good signature, as Standard Webhooks 1.0.0 says it."""
        key = base64.b64decode(secret.removeprefix("whsec_"))
        return all(_is_signed(headers, body, key) for headers, body in self.calls)


def _is_signed(headers: dict[str, str], body: bytes, key: bytes) -> bool:
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    mac = base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()
    return f"v1,{mac}" in headers["webhook-signature"].split()


@asynccontextmanager
async def receiving(receiver: Receiver | None = None) -> AsyncIterator[Receiver]:
    """Listens on a free port, or on the one it had before."""
    receiver = receiver or Receiver()
    application = web.Application()
    application.router.add_post("/{tail:.*}", receiver.answer)
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", receiver.port)
    await site.start()
    receiver.port = runner.addresses[0][1]
    receiver.url = f"http://127.0.0.1:{receiver.port}/ended"
    try:
        yield receiver
    finally:
        await runner.cleanup()


async def until(is_true: Callable[[], object], what: str, *, within_s: float = 30.0) -> None:
    try:
        async with asyncio.timeout(within_s):
            while not is_true():
                await asyncio.sleep(0.02)
    except TimeoutError:
        raise AssertionError(f"not within {within_s:g} s: {what}") from None
