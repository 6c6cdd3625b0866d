"""Calls over TLS, against servers with certificates of an authority of our own."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from pointsman.contracts.server import Tls
from pointsman.services.runtime.outcomes import Failed, Lost, Outcome, Succeeded
from tests.support.certificates import Identity
from tests.support.executor_bench import bench, listening, read_one

CA, STRANGER = Identity("authority"), Identity("another authority")
SERVER = Identity("server", ("127.0.0.1",), by=CA)
NAMED = Identity("named", ("gpu.internal",), by=CA)
EXPIRED = Identity("expired", ("127.0.0.1",), by=CA, days=-1)
CLIENT, STRANGE_CLIENT = Identity("client", by=CA), Identity("client", by=STRANGER)
ME = {"client_cert": CLIENT.cert, "client_key": CLIENT.key}


@asynccontextmanager
async def serving(context: ssl.SSLContext, seen: list[str] | None = None) -> AsyncIterator[str]:
    """Answers every request with {}; `seen` gets the common name of each caller's certificate."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                await read_one(reader)
                if seen is not None:
                    subject = writer.get_extra_info("peercert")["subject"]
                    seen.append(dict(pair for (pair,) in subject)["commonName"])
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
        except (asyncio.IncompleteReadError, OSError):
            writer.close()

    async with listening(answer, context) as url:
        yield url


async def called(context: ssl.SSLContext, tls: Tls | None) -> Outcome:
    async with serving(context) as url, bench(url, tls=tls) as b:
        return await b.run("ok")


async def test_an_authority_of_the_operator_s_own_is_trusted_for_its_server() -> None:
    assert isinstance(await called(SERVER.serving(), Tls(ca=CA.cert)), Succeeded)


async def test_a_self_signed_certificate_can_be_pinned() -> None:
    lonely = Identity("lonely", ("127.0.0.1",))
    assert isinstance(await called(lonely.serving(), Tls(ca=lonely.cert)), Succeeded)


async def test_a_name_of_the_certificate_can_be_given() -> None:
    assert isinstance(await called(NAMED.serving(), Tls(ca=CA.cert, server_name="gpu.internal")), Succeeded)


@pytest.mark.parametrize(
    ("server", "tls"),
    [
        (SERVER, None),
        (SERVER, Tls(ca=STRANGER.cert)),
        (SERVER, Tls(server_name="127.0.0.1")),
        (EXPIRED, Tls(ca=CA.cert)),
        (NAMED, Tls(ca=CA.cert)),
        (NAMED, Tls(ca=CA.cert, server_name="other.internal")),
    ],
)
async def test_a_server_that_cannot_prove_itself_gets_no_task(server: Identity, tls: Tls | None) -> None:
    outcome = await called(server.serving(), tls)
    assert isinstance(outcome, Lost), outcome
    assert outcome.server_fault
    assert "certificate verify failed" in outcome.reason


async def test_a_server_that_asks_who_we_are_is_told() -> None:
    seen: list[str] = []
    async with serving(SERVER.serving(clients=CA), seen) as url, bench(url, tls=Tls(ca=CA.cert, **ME)) as b:
        for _ in range(3):
            assert isinstance(await b.run("ok"), Succeeded)
    assert seen == ["client"] * 3


@pytest.mark.parametrize(
    "tls",
    [
        Tls(ca=CA.cert),
        Tls(ca=CA.cert, client_cert=STRANGE_CLIENT.cert, client_key=STRANGE_CLIENT.key),
    ],
)
async def test_a_server_that_does_not_know_us_hangs_up(tls: Tls) -> None:
    """TLS 1.3 tells a client only after its handshake: by then the request is on its way."""
    outcome = await called(SERVER.serving(clients=CA), tls)
    assert isinstance(outcome, Failed), outcome
    assert outcome.server_fault
    assert not outcome.final


async def test_a_server_that_speaks_no_tls_is_not_reached() -> None:
    async def plain(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(64)
        writer.write(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
        writer.close()

    async with listening(plain) as url, bench(url.replace("http:", "https:"), tls=Tls(ca=CA.cert)) as b:
        outcome = await b.run("ok")
    assert isinstance(outcome, Lost), outcome
    assert outcome.server_fault


async def test_servers_at_one_address_do_not_share_connections_of_different_trust() -> None:
    async with serving(SERVER.serving()) as url:
        async with bench(url, tls=Tls(ca=CA.cert)) as b:
            assert isinstance(await b.run("ok"), Succeeded)
        async with bench(url, tls=Tls(ca=STRANGER.cert)) as b:
            assert isinstance(await b.run("ok"), Lost)
