"""Answers byte by byte, as no proper server would write them: each is a result or a fault, at once, and bounded."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from pointsman.services.runtime.outcomes import Failed, Outcome, Succeeded, TimedOut
from tests.support.executor_bench import CLOCK, bench, listening, read_one

OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
BRACES = b"Content-Length: 2\r\n\r\n{}"


@asynccontextmanager
async def answering(raw: bytes, and_on: bytes = b"") -> AsyncIterator[str]:
    """Writes `raw` whatever is asked, then `and_on` for as long as anybody listens, and hangs up."""

    async def connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            await read_one(reader)
            writer.write(raw)
            await writer.drain()
            while and_on:
                writer.write(and_on)
                await writer.drain()
        writer.close()

    async with listening(connection) as url:
        yield url


async def outcome(raw: bytes, and_on: bytes = b"", *, timeout_ms: int = 5_000) -> Outcome:
    async with answering(raw, and_on) as url, bench(url) as b:
        return await b.run("ok", timeout_ms=timeout_ms)


SOUND = {
    "HTTP/1.0, to its end": (b"HTTP/1.0 200 OK\r\n\r\n[1]", b"[1]"),
    "HTTP/1.0, with a length": (b"HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\n[1]", b"[1]"),
    "HTTP/1.1, to its end": (OK + b"\r\n[1]", b"[1]"),
    "chunks, extensions, trailers": (CHUNKED + b'2;a="b"\r\n[1\r\n1\r\n]\r\n0\r\nExpires: never\r\n\r\n', b"[1]"),
    "100 before it": (b"HTTP/1.1 100 Continue\r\n\r\n" + OK + BRACES, b"{}"),
    "hints before it": (b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" * 50 + OK + BRACES, b"{}"),
    "no reason": (b"HTTP/1.1 200\r\n" + BRACES, b"{}"),
    "204": (b"HTTP/1.1 204 No Content\r\n\r\n", b"null"),
    "a cookie": (OK + b"Set-Cookie: a=b\r\n" + BRACES, b"{}"),
}

UNSOUND = {
    "nothing": (b"", "closed the connection without an answer"),
    "TLS": (b"\x16\x03\x01\x02\x00\x01\x00", "not an HTTP answer"),
    "HTTP/2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "not an HTTP answer"),
    "a protocol we did not ask for": (
        b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n",
        "HTTP 101",
    ),
    "two lengths": (OK + b"Content-Length: 3\r\n" + BRACES, "not an HTTP answer"),
    "one length twice": (OK + b"Content-Length: 2\r\n" + BRACES, "not an HTTP answer"),
    "a list of lengths": (OK + b"Content-Length: 2, 2\r\n\r\n{}", "not an HTTP answer"),
    "length and chunks": (
        OK + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
        "not an HTTP",
    ),
    "a negative length": (OK + b"Content-Length: -2\r\n\r\n{}", "not an HTTP answer"),
    "a length with a sign": (OK + b"Content-Length: +2\r\n\r\n{}", "not an HTTP answer"),
    "a length in words": (OK + b"Content-Length: two\r\n\r\n{}", "not an HTTP answer"),
    "a length beyond all": (OK + b"Content-Length: 99999999999999999999999\r\n\r\n{}", "not an HTTP answer"),
    "less than its length": (OK + b"Content-Length: 100\r\n\r\n{}", "broke off"),
    "chunks that end early": (CHUNKED + b"2\r\n{}\r\n9\r\n", "broke off"),
    "a chunk of no size": (CHUNKED + b"zz\r\n{}\r\n", "not an HTTP answer"),
    "a chunk beyond all": (CHUNKED + b"FFFFFFFFFFFFFFFFFF\r\n", "not an HTTP answer"),
    "a coded transfer": (OK + b"Transfer-Encoding: gzip\r\n\r\n{}", "encoded (gzip)"),
    "a packed body": (OK + b"Content-Encoding: gzip\r\nContent-Length: 4\r\n\r\n\x1f\x8b\x08\x00", "encoded (gzip)"),
    "a body behind a 204": (b"HTTP/1.1 204 No Content\r\n" + BRACES, "not an HTTP answer"),
    "a header too long": (OK + b"X: " + b"a" * 20_000 + b"\r\n" + BRACES, "not an HTTP answer"),
    "too many headers": (OK + b"X: a\r\n" * 400 + BRACES, "Too many headers"),
    "a header of no form": (OK + b"no colon\r\n" + BRACES, "not an HTTP answer"),
    "a NUL in a header": (OK + b"X: a\x00b\r\n" + BRACES, "not an HTTP answer"),
    "a status in words": (b"HTTP/1.1 two OK\r\n" + BRACES, "not an HTTP answer"),
    "a status of four digits": (b"HTTP/1.1 2000 OK\r\n" + BRACES, "not an HTTP answer"),
    "a status of the future": (b"HTTP/1.1 600 So\r\n" + BRACES, "HTTP 600"),
    "not modified": (b"HTTP/1.1 304 Not Modified\r\n\r\n", "HTTP 304 is not an answer"),
}

ENDLESS = {
    "status": (b"HTTP/1.1 200 ", b"a" * 10_000, "not an HTTP answer"),
    "header": (OK + b"X: ", b"a" * 10_000, "not an HTTP answer"),
    "headers": (OK, b"X: a\r\n" * 1_000, "Too many headers"),
    "trailers": (CHUNKED + b"2\r\n{}\r\n0\r\n", b"X: a\r\n" * 1_000, "Too many headers"),
    "trailer": (CHUNKED + b"2\r\n{}\r\n0\r\nX: ", b"a" * 10_000, "not an HTTP answer"),
    "chunks": (CHUNKED, b"400\r\n" + b"a" * 1_024 + b"\r\n", "larger than"),
    "body": (OK + b"\r\n", b"a" * 10_000, "larger than"),
}


@pytest.mark.parametrize(("raw", "result"), SOUND.values(), ids=SOUND.keys())
async def test_an_odd_but_sound_answer_is_a_result(raw: bytes, result: bytes) -> None:
    found = await outcome(raw)
    assert isinstance(found, Succeeded), found
    assert bytes(found.result) == result


@pytest.mark.parametrize(("raw", "said"), UNSOUND.values(), ids=UNSOUND.keys())
async def test_an_unsound_answer_fails_the_attempt_and_says_why(raw: bytes, said: str) -> None:
    found = await outcome(raw)
    assert isinstance(found, Failed), found
    assert not found.final
    assert said in found.error


@pytest.mark.parametrize(("raw", "and_on", "said"), ENDLESS.values(), ids=ENDLESS.keys())
async def test_an_endless_answer_is_cut(raw: bytes, and_on: bytes, said: str) -> None:
    began_s = CLOCK.monotonic_s()
    found = await outcome(raw, and_on)
    assert isinstance(found, Failed), found
    assert said in found.error
    assert CLOCK.monotonic_s() - began_s < 3.0


@pytest.mark.parametrize("and_on", [b"HTTP/1.1 103 Early Hints\r\n\r\n", b"\r\n"])
async def test_a_server_that_never_comes_to_the_point_meets_the_deadline(and_on: bytes) -> None:
    assert isinstance(await outcome(b"", and_on * 100, timeout_ms=400), TimedOut)
