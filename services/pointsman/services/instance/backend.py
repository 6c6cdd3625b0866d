"""The HTTP client of the backends: pooled connections, no redirects, answers capped, every connect egress-checked."""

import errno
import socket
import ssl
from collections.abc import Awaitable, Mapping
from contextvars import ContextVar
from typing import Any

import aiohttp
from aiohttp.connector import Connection
from yarl import URL

from pointsman.contracts.errors import PointsmanError
from pointsman.contracts.server import Tls
from pointsman.contracts.task import RESULT_BYTES_MAX
from pointsman.services.instance.answer import Answer
from pointsman.services.runtime import tls as tls_contexts
from pointsman.services.runtime.egress import EgressPolicy, address_denied, port_denied, url_denied
from pointsman.services.runtime.outcomes import CONNECT_MS

ENVELOPE_BYTES = 64 * 1024
BODY_BYTES_MAX = RESULT_BYTES_MAX + ENVELOPE_BYTES
CONNECT_S = CONNECT_MS / 1000
KEEPALIVE_S = 4.0
DNS_CACHE_S = 10
JUDGED_MAX = 10_000
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


class Unsolicited(aiohttp.ClientConnectionError):
    """A pooled connection on which an answer lay that nobody had asked for; nothing was sent on it."""


class _Request(aiohttp.ClientRequest):
    def send(self, conn: Connection) -> Awaitable[aiohttp.ClientResponse]:  # type: ignore[override]
        """What arrived while the connection was idle (a 408, a second answer) would be taken as the answer to this."""
        if conn.protocol is not None and conn.protocol.should_close:
            raise Unsolicited("the server sent an answer to nothing")
        return super().send(conn)


class Backends:
    """One session for all servers, a pool of connections for each origin.

    A call takes an idle connection before it opens one, so a pool never holds more than were in use at once: the
    server's `maxConcurrent`, a probe and cancels. `KEEPALIVE_S` stays below the 5 s after which common servers close
    an idle peer.
    """

    def __init__(self, policy: EgressPolicy) -> None:
        self._policy = policy
        self._session: aiohttp.ClientSession | None = None
        self._judged: dict[URL, str | None] = {}
        self._contexts: dict[Tls, ssl.SSLContext] = {}

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
            request_class=_Request,
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
        tls: Tls | None = None,
    ) -> Answer:
        """One exchange, unbounded in time: the caller sets the timeout. Raises aiohttp.ClientError or OSError."""
        assert self._session is not None
        if reason := self._denied(url):
            raise PermissionError(errno.EACCES, reason)
        response = await self._sent(self._session, method, url, headers, body, tls)
        try:
            read, is_cut = await _read(response, limit)
        except BaseException:
            response.close()
            raise
        return Answer(response.status, response.headers, read, is_cut)

    async def _sent(
        self,
        session: aiohttp.ClientSession,
        method: str,
        url: URL,
        headers: Mapping[str, str],
        body: bytes | None,
        tls: Tls | None,
    ) -> aiohttp.ClientResponse:
        """The answer's head; each pooled connection that cannot be trusted any more is closed on the way."""
        dialled = _DIALLED.get() or note_dialling()
        while True:
            try:
                return await session.request(
                    method,
                    url,
                    data=body,
                    headers=headers,
                    allow_redirects=False,
                    ssl=True if tls is None else self._context(tls),
                    server_hostname=None if tls is None else tls.server_name,
                )
            except Unsolicited:
                if dialled.fresh:
                    raise

    def _denied(self, url: URL) -> str | None:
        """The rule that forbids this URL's form; what is registered may be older than the policy."""
        try:
            return self._judged[url]
        except KeyError:
            if len(self._judged) >= JUDGED_MAX:
                self._judged.clear()
            self._judged[url] = reason = url_denied(str(url), self._policy)
            return reason

    def _context(self, tls: Tls) -> ssl.SSLContext:
        if tls not in self._contexts:
            if len(self._contexts) >= JUDGED_MAX:
                self._contexts.clear()
            try:
                self._contexts[tls] = tls_contexts.context_of(tls)
            except PointsmanError as error:
                raise PermissionError(errno.EACCES, error.detail) from None
        return self._contexts[tls]

    def _open_socket(self, address_info: tuple[Any, ...]) -> socket.socket:
        """Called for every connect, names and literals alike: here DNS has no say any more."""
        family, kind, protocol, _, address = address_info
        if reason := address_denied(str(address[0]), self._policy) or port_denied(int(address[1]), self._policy):
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
