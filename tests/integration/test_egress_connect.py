"""The second stage of the egress policy: what got registered all the same is not connected to. A canary listens."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp
import pytest
from yarl import URL

from pointsman.services.instance.backend import Backends
from pointsman.services.runtime.egress import EgressPolicy, policy_of, url_denied
from pointsman.services.runtime.outcomes import Lost, Succeeded
from tests.support.executor_bench import bench
from tests.support.forbidden_urls import FORBIDDEN_URLS, at_port

NOWHERE = policy_of(())
CALL_S = 5.0
HERE = (
    "//127.",
    "//0x7f",
    "//0X7F",
    "//0177.0x0",
    "//0.0.0.0",
    "//0x0",
    "[::1]",
    "[::]",
    "0:0:1]",
    "ffff:7f00:1]",
    "localhost",
)
NO_ANSWER = (aiohttp.ClientError, OSError, ValueError)


@dataclass
class Canary:
    """Counts every connection to its port, on all addresses of this machine."""

    port: int = 0
    connects: int = 0

    async def sing(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connects += 1
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        writer.close()


@pytest.fixture
async def canary() -> AsyncIterator[Canary]:
    canary = Canary()
    v4 = await asyncio.start_server(canary.sing, "0.0.0.0", 0)
    canary.port = v4.sockets[0].getsockname()[1]
    async with v4, await asyncio.start_server(canary.sing, "::1", canary.port):
        yield canary


@asynccontextmanager
async def calling(policy: EgressPolicy) -> AsyncIterator[Backends]:
    backends = Backends(policy)
    await backends.start()
    try:
        yield backends
    finally:
        await backends.stop()


async def is_refused(backends: Backends, url: str) -> bool:
    try:
        async with asyncio.timeout(CALL_S):
            await backends.ask("POST", URL(url), body=b"{}")
    except NO_ANSWER:
        return True
    return False


async def test_no_forbidden_form_is_connected_to(canary: Canary) -> None:
    async with calling(NOWHERE) as backends:
        for url in FORBIDDEN_URLS:
            assert await is_refused(backends, at_port(url, canary.port)), url
    assert len(FORBIDDEN_URLS) >= 60
    assert canary.connects == 0


async def test_the_address_alone_is_enough_to_refuse(canary: Canary, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the check of the form out of the way, what is left is the check at the socket."""
    monkeypatch.setattr("pointsman.services.instance.backend.url_denied", lambda url, policy: None)
    async with calling(NOWHERE) as backends:
        for url in FORBIDDEN_URLS:
            if "example.com" not in url:
                assert await is_refused(backends, at_port(url, canary.port)), url
    assert canary.connects == 0


async def test_without_a_policy_the_canary_would_have_sung(canary: Canary) -> None:
    """The control: a plain client does reach this machine by many of these forms."""
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=CALL_S, sock_connect=0.2)) as session:
        for url in FORBIDDEN_URLS:
            if any(part in url for part in HERE):
                try:
                    await session.post(URL(at_port(url, canary.port)))
                except NO_ANSWER:
                    continue
    assert canary.connects >= 12


async def test_a_name_that_changes_its_address_after_registration_is_not_followed(
    canary: Canary, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"http://rebound.example:{canary.port}"
    assert url_denied(url, NOWHERE) is None
    for addresses in (["127.0.0.1"], ["::1"], ["10.0.0.1", "127.0.0.1"], ["::ffff:127.0.0.1"], ["169.254.169.254"]):
        monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", resolving(addresses))
        async with bench(url, allowed=()) as b:
            outcome = await b.run("ok")
            assert isinstance(outcome, Lost)
            assert "is in a network that is denied" in outcome.reason
    assert canary.connects == 0


async def test_a_network_that_is_allowed_is_reached_by_name(canary: Canary, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", resolving(["127.0.0.1"]))
    async with bench(f"http://inside.example:{canary.port}") as b:
        assert isinstance(await b.run("ok"), Succeeded)
    assert canary.connects == 1


async def test_a_port_that_is_no_longer_allowed_is_not_connected_to(canary: Canary) -> None:
    async with calling(policy_of(("127.0.0.0/8",), ports=("443",))) as backends:
        assert await is_refused(backends, f"http://127.0.0.1:{canary.port}/")
    assert canary.connects == 0


async def test_no_proxy_of_the_environment_is_used(canary: Canary, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{canary.port}")
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{canary.port}")
    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", resolving(["10.0.0.1"]))
    async with calling(policy_of(("127.0.0.0/8",))) as backends:
        assert await is_refused(backends, "http://anywhere.example/")
    assert canary.connects == 0


async def test_a_redirect_into_the_machine_is_not_followed(canary: Canary) -> None:
    async def redirect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(
            b"HTTP/1.1 307 T\r\nContent-Length: 0\r\nConnection: close\r\nLocation: http://127.0.0.1:%d/\r\n\r\n"
            % canary.port
        )
        writer.close()

    server = await asyncio.start_server(redirect, "127.0.0.1", 0)
    async with server, calling(policy_of(("127.0.0.0/8",))) as backends:
        answer = await backends.ask("POST", URL(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"), body=b"{}")
    assert answer.status == 307
    assert canary.connects == 0


def resolving(addresses: list[str]) -> Any:
    """A `getaddrinfo` that knows every name, and these addresses for it."""

    async def getaddrinfo(host: str, port: int, **_: object) -> list[tuple[Any, ...]]:
        return [
            (10, 1, 6, "", (address, port, 0, 0)) if ":" in address else (2, 1, 6, "", (address, port))
            for address in addresses
        ]

    return getaddrinfo
