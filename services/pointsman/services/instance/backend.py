"""The HTTP client of the backends: pooled connections, no redirects, answers capped, every connect egress-checked."""

import errno
import socket
from collections.abc import Mapping
from contextvars import ContextVar
from typing import Any

import aiohttp
from yarl import URL

from pointsman.contracts.task import RESULT_BYTES_MAX
from pointsman.services.instance.answer import Answer
from pointsman.services.runtime.egress import EgressPolicy, address_denied
from pointsman.services.runtime.outcomes import CONNECT_MS

ENVELOPE_BYTES = 64 * 1024
BODY_BYTES_MAX = RESULT_BYTES_MAX + ENVELOPE_BYTES
CONNECT_S = CONNECT_MS / 1000
KEEPALIVE_S = 4.0
DNS_CACHE_S = 10
DEFAULT_HEADERS = {"User-Agent": "pointsman", "Accept": "*/*", "Accept-Encoding": "identity"}
NO_HEADERS: Mapping[str, str] = {}


class Dialled:
    """Whether a call opened a connection of its own; False means that it got a pooled one."""

    __slots__ = ("fresh",)

    def __init__(self) -> None:
        self.fresh = False


_DIALLED: ContextVar[Dialled | None] = ContextVar("dialled", default=None)


def note_dialling() -> Dialled:
    """Watch the connections that the current asyncio task opens from here on."""
    dialled = Dialled()
    _DIALLED.set(dialled)
    return dialled


class Backends:
    """One session for all servers; `KEEPALIVE_S` stays below the 5 s after which common servers close an idle peer."""

    def __init__(self, policy: EgressPolicy) -> None:
        self._policy = policy
        self._session: aiohttp.ClientSession | None = None

    async def start(self) -> None:
        connector = aiohttp.TCPConnector(
            limit=0,
            limit_per_host=0,
            keepalive_timeout=KEEPALIVE_S,
            ttl_dns_cache=DNS_CACHE_S,
            socket_factory=self._open_socket,
        )
        self._session = aiohttp.ClientSession(
            connector=connector,
            headers=DEFAULT_HEADERS,
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=None, connect=CONNECT_S),
            trust_env=False,
            auto_decompress=False,
        )

    async def stop(self) -> None:
        if self._session is not None:
            await self._session.close()

    async def ask(
        self,
        method: str,
        url: URL,
        headers: Mapping[str, str] = NO_HEADERS,
        body: bytes | None = None,
        *,
        limit: int = BODY_BYTES_MAX,
    ) -> Answer:
        """One exchange, unbounded in time: the caller sets the timeout. Raises aiohttp.ClientError or OSError."""
        assert self._session is not None
        response = await self._session.request(method, url, data=body, headers=headers, allow_redirects=False)
        try:
            read, is_cut = await _read(response, limit)
        except BaseException:
            response.close()
            raise
        return Answer(response.status, response.headers, read, is_cut)

    def _open_socket(self, address_info: tuple[Any, ...]) -> socket.socket:
        """Called for every connect, names and literals alike: here DNS has no say any more."""
        family, kind, protocol, _, address = address_info
        if reason := address_denied(str(address[0]), self._policy):
            raise PermissionError(errno.EACCES, reason)
        if (dialled := _DIALLED.get()) is not None:
            dialled.fresh = True
        return socket.socket(family, kind, protocol)


async def _read(response: aiohttp.ClientResponse, limit: int) -> tuple[bytes, bool]:
    """The body, and whether it was cut; a longer one is not read on but its connection closed."""
    if response.content_length is not None and response.content_length > limit:
        response.close()
        return b"", True
    chunks: list[bytes] = []
    size = 0
    while chunk := await response.content.readany():
        chunks.append(chunk)
        size += len(chunk)
        if size > limit:
            response.close()
            return b"".join(chunks)[:limit], True
    return (chunks[0] if len(chunks) == 1 else b"".join(chunks)), False
