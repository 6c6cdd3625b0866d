"""The prober over real sockets: answers that are none, writes of others, and a thousand servers at once."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from random import Random

import msgspec
import pytest

from pointsman.contracts.base import encode
from pointsman.contracts.server import HealthState, ServerConfig, ServerHealth
from pointsman.services.instance.backend import Backends
from pointsman.services.instance.fleet import Fleet
from pointsman.services.instance.prober import Prober
from pointsman.services.runtime.clock import SystemClock
from pointsman.services.runtime.egress import policy_of
from pointsman.services.runtime.follow import Followed
from pointsman.services.runtime.kv import Entry, RevisionMoved

WITHIN_S = 20.0
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
GOOD = HEAD + b'Content-Length: 20\r\n\r\n{"status":"healthy"}'

Connection = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@dataclass
class Shelf:
    """A bucket that tells the fleet of what is written, as the follower does."""

    fleet: Fleet
    entries: dict[str, Entry] = field(default_factory=dict)
    sequence: int = 0
    writes: int = 0

    async def get(self, name: str, *, latest: bool = False) -> Entry | None:
        return self.entries.get(name)

    async def create(self, name: str, data: bytes, *, operation: str, ttl_s: int | None = None) -> int:
        return await self.update(name, data, revision=0, operation=operation, ttl_s=ttl_s)

    async def update(self, name: str, data: bytes, *, revision: int, operation: str, ttl_s: int | None = None) -> int:
        entry = self.entries.get(name)
        if (entry.revision if entry else 0) != revision:
            raise RevisionMoved(name)
        self.writes += 1
        return self.put(name, data)

    def put(self, name: str, data: bytes) -> int:
        """By anybody, without asking."""
        self.sequence += 1
        self.entries[name] = Entry(name, self.sequence, data)
        self.fleet.fold(Followed(f"$KV.servers.{name}", self.sequence, data, not data))
        return self.sequence


@dataclass
class Desk:
    prober: Prober
    shelf: Shelf
    seen: dict[str, ServerHealth] = field(default_factory=dict)

    def register(self, name: str, url: str) -> None:
        config = ServerConfig(id=name, name=name, predict=f"{url}/predict", health=f"{url}/health", registered_at=1)
        self.shelf.put(f"config.{name}", encode(config))

    async def until(self, claim: Callable[[dict[str, ServerHealth]], bool]) -> dict[str, ServerHealth]:
        async with asyncio.timeout(WITHIN_S):
            while True:
                self.seen |= self.prober.fresh()
                if claim(self.seen):
                    return self.seen
                await asyncio.sleep(0.02)

    def stored(self, name: str) -> ServerHealth:
        return msgspec.json.decode(self.shelf.entries[f"health.{name}"].data, type=ServerHealth)


@asynccontextmanager
async def desk() -> AsyncIterator[Desk]:
    fleet = Fleet(lambda server_id: prober.changed(server_id))
    backends, shelf = Backends(policy_of(("127.0.0.0/8",))), Shelf(fleet)
    prober = Prober(
        fleet=fleet, backends=backends, bucket=shelf, leads=lambda: True, clock=SystemClock(), rng=Random(7)
    )
    await backends.start()
    running = asyncio.create_task(prober.run())
    try:
        await asyncio.sleep(0)
        yield Desk(prober, shelf)
    finally:
        running.cancel()
        await prober.stop()
        await backends.stop()


@asynccontextmanager
async def answering(connection: Connection) -> AsyncIterator[str]:
    server = await asyncio.start_server(connection, "127.0.0.1", 0, backlog=2000)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()


def saying(answer: bytes) -> Connection:
    async def connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        writer.close()

    return connection


async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(HEAD + b"Content-Length: 1000\r\n\r\n")
    while not reader.at_eof():
        writer.write(b" ")
        await writer.drain()
        await asyncio.sleep(0.1)


@pytest.mark.parametrize(
    ("connection", "said"),
    [
        (saying(b"\x00\xff\x13 this is not HTTP\r\n\r\n"), "the health check failed"),
        (saying(HEAD + b"Content-Length: 3\r\n\r\n{]}"), "says that it is JSON and is not"),
        (saying(HEAD + b"Content-Length: 9999999\r\n\r\n" + b"x" * 100), "too large"),
        (saying(HEAD + b"\r\n" + b" " * 200_000), "too large"),
        (saying(HEAD + b"Content-Length: 30\r\n\r\n{}"), "the health check failed"),
        (
            saying(b"HTTP/1.1 302 Found\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n"),
            "redirects are not followed",
        ),
        (saying(b""), "the health check failed"),
        (saying(HEAD + b'Content-Length: 21\r\n\r\n{"server_id":"other"}'), "says it is other"),
        (drip, "no answer within 2 s"),
    ],
)
async def test_an_answer_that_is_none_is_bad_and_says_why(connection: Connection, said: str) -> None:
    async with answering(connection) as url, desk() as at:
        at.register("other", "http://127.0.0.1:1")
        at.register("a", url)
        seen = await at.until(lambda seen: "a" in seen and seen["a"].consecutive_failures >= 1)
        assert seen["a"].state is HealthState.NEW
        assert said in (seen["a"].error or "")
        assert seen["a"].next_check is not None
        assert seen["a"].next_check > (seen["a"].last_check or 0)


async def test_a_change_of_state_is_stored_once_and_nothing_else_is() -> None:
    async with answering(saying(GOOD)) as url, desk() as at:
        at.register("a", url)
        await at.until(lambda seen: "a" in seen and seen["a"].state is HealthState.WARMING)
        first = at.seen["a"].last_check
        await at.until(lambda seen: seen["a"].last_check != first)
        assert at.stored("a").state is HealthState.WARMING
        assert at.shelf.writes == 1


async def test_what_somebody_else_wrote_is_what_the_prober_goes_on_from() -> None:
    async with answering(saying(GOOD)) as url, desk() as at:
        at.register("a", url)
        await at.until(lambda seen: "a" in seen and at.shelf.writes == 1)
        reset = ServerHealth(state=HealthState.NEW, since=SystemClock().now_ms(), registered_at=1)
        at.shelf.put("health.a", encode(reset))
        await at.until(lambda seen: at.shelf.writes == 2)
        assert at.stored("a").state is HealthState.WARMING


async def test_a_thousand_servers_that_hang_are_asked_a_bounded_number_at_a_time() -> None:
    open_now = peak = 0

    async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal open_now, peak
        open_now += 1
        peak = max(peak, open_now)
        while await reader.read(1000):
            pass
        open_now -= 1
        writer.close()

    async with answering(hang) as url, desk() as at:
        for n in range(1000):
            at.register(f"s{n}", url)
        await at.until(lambda seen: len(seen) >= 300)
        assert 200 <= peak <= 260
