"""Keep-alive against servers that keep it, and against servers that close at bad moments."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest

from pointsman.contracts.record import Attempt
from pointsman.services.instance import backend as client
from pointsman.services.runtime.outcomes import Failed, Lost, Outcome, Succeeded
from tests.support.executor_bench import SERVER, bench, handover_of, listening, read_one

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
STALE = Lost(reason="the server closed an idle connection")
LOST_SO = Attempt(
    number=1,
    server_id=SERVER,
    started_at=1,
    finished_at=2,
    outcome="lost",
    error="the server closed an idle connection",
)
Then = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@dataclass
class Counted:
    """Connections of a server, and the most that were open at a time."""

    url: str = ""
    opened: int = 0
    open: int = 0
    peak: int = 0
    requests: int = 0
    gone: asyncio.Condition = field(default_factory=asyncio.Condition)

    def enter(self) -> None:
        self.opened, self.open = self.opened + 1, self.open + 1
        self.peak = max(self.peak, self.open)

    async def leave(self) -> None:
        self.open -= 1
        async with self.gone:
            self.gone.notify_all()


@asynccontextmanager
async def counting(then: Then | None = None, *, work_s: float = 0.0) -> AsyncIterator[Counted]:
    """Answers each request; after the first of a connection it does `then` instead, if given."""
    seen = Counted()

    async def connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.enter()
        try:
            while True:
                await read_one(reader)
                seen.requests += 1
                await asyncio.sleep(work_s)
                writer.write(OK)
                if then is not None:
                    return await then(reader, writer)
        except (asyncio.IncompleteReadError, OSError):
            return None
        finally:
            writer.close()
            await seen.leave()

    async with listening(connection) as seen.url:
        yield seen


async def test_calls_reuse_as_many_connections_as_run_at_once() -> None:
    async with counting(work_s=0.01) as seen, bench(seen.url) as b:
        for _ in range(10):
            handovers = [handover_of("ok") for _ in range(8)]
            await asyncio.gather(*(b.hand(handover) for handover in handovers))
            outcomes = await asyncio.gather(*(b.outcome(handover) for handover in handovers))
            assert all(isinstance(outcome, Succeeded) for outcome in outcomes)
        assert seen.requests == 80
        assert seen.opened == seen.peak == 8


async def test_an_idle_connection_is_closed_before_common_servers_close_it(monkeypatch: pytest.MonkeyPatch) -> None:
    assert client.KEEPALIVE_S < 5.0
    monkeypatch.setattr(client, "KEEPALIVE_S", 0.05)
    async with counting() as seen, bench(seen.url) as b:
        assert isinstance(await b.run("ok"), Succeeded)
        async with asyncio.timeout(5), seen.gone:
            await seen.gone.wait_for(lambda: seen.open == 0)
        assert isinstance(await b.run("ok"), Succeeded)
        assert seen.opened == 2


async def test_a_connection_that_was_closed_in_time_is_not_used_again() -> None:
    async def close(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        return

    async with counting(close) as seen, bench(seen.url) as b:
        for _ in range(20):
            assert isinstance(await b.run("ok"), Succeeded)
            async with asyncio.timeout(5), seen.gone:
                await seen.gone.wait_for(lambda: seen.open == 0)


async def hang_up_on_the_next(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")


async def reset_on_the_next(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readexactly(1)
    writer.transport.abort()


async def answer_half_of_the_next(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await read_one(reader)
    writer.write(OK[:-1])


@pytest.mark.parametrize("then", [hang_up_on_the_next, reset_on_the_next])
async def test_an_idle_connection_closed_as_we_send_spends_no_attempt(then: Then) -> None:
    async with counting(then) as seen, bench(seen.url) as b:
        assert isinstance(await b.run("ok"), Succeeded)
        assert await b.run("ok") == STALE
        assert isinstance(await b.run("ok"), Succeeded)


@pytest.mark.parametrize("then", [hang_up_on_the_next, reset_on_the_next])
async def test_a_task_that_met_two_of_them_in_a_row_has_failed(then: Then) -> None:
    async with counting(then) as seen, bench(seen.url) as b:
        assert isinstance(await b.run("ok"), Succeeded)
        outcome = await b.run("ok", attempts=(LOST_SO,))
        assert isinstance(outcome, Failed)
        assert outcome.server_fault


@pytest.mark.parametrize(
    "extra",
    [
        b'HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\n"poison"',
        b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 900000\r\n\r\n",
        b"HTTP/1.1 204 No Content\r\n\r\n" * 3,
    ],
)
async def test_an_answer_to_nothing_is_not_the_next_task_s(extra: bytes) -> None:
    """What a server sends on idle connections, all eight of them, is never read as a result."""
    said = asyncio.Event()

    async def speak_again(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await said.wait()
        writer.write(extra)
        await read_one(reader)
        writer.write(OK)
        await reader.read()

    async with counting(speak_again, work_s=0.05) as seen, bench(seen.url) as b:
        handovers = [handover_of("ok") for _ in range(8)]
        for handover in handovers:
            await b.hand(handover)
        for handover in handovers:
            assert isinstance(await b.outcome(handover), Succeeded)
        said.set()
        await asyncio.sleep(0.1)
        outcome = await b.run("ok")
        assert isinstance(outcome, Succeeded)
        assert bytes(outcome.result) == b"{}"
        assert (seen.opened, seen.requests) == (9, 9)


@pytest.mark.parametrize("banner", [b"SSH-2.0-OpenSSH_9.9\r\n", b"220 mail ESMTP\r\n", OK, OK * 2])
async def test_a_server_that_speaks_first_is_asked_once(banner: bytes) -> None:
    seen = Counted()

    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.enter()
        writer.write(banner)
        await reader.read()
        writer.close()

    async with listening(speak) as url:
        for _ in range(10):
            async with bench(url) as b:
                assert isinstance(await b.run("ok"), Failed | Succeeded)
        assert seen.opened == 10


async def test_half_an_answer_is_never_an_idle_connection() -> None:
    async with counting(answer_half_of_the_next) as seen, bench(seen.url) as b:
        assert isinstance(await b.run("ok"), Succeeded)
        outcome = await b.run("ok")
        assert isinstance(outcome, Failed)
        assert "broke off" in outcome.error


async def test_a_new_connection_that_is_closed_without_an_answer_has_failed() -> None:
    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.close()

    async with listening(hang_up) as url, bench(url) as b:
        outcome = await b.run("ok")
        assert isinstance(outcome, Failed)
        assert outcome.server_fault


async def test_a_server_that_closes_after_each_answer_without_saying_so_loses_no_task() -> None:
    """The race itself, 300 times: whatever is met, it is a success or costs no attempt."""

    async def close(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        return

    async with counting(close) as seen, bench(seen.url) as b:
        outcomes: list[Outcome] = [await b.run("ok") for _ in range(300)]
    assert all(isinstance(outcome, Succeeded) or outcome == STALE for outcome in outcomes)
    assert sum(isinstance(outcome, Succeeded) for outcome in outcomes) >= 150
