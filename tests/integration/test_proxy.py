"""The proxy of the fault tests does what it says: holds back one way, delivers late, or loses what it held."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from tests.support.proxy import ChaosProxy

WITHIN_S = 10.0
MOMENT_S = 0.2

type Ends = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@asynccontextmanager
async def far_end() -> AsyncIterator[tuple[int, asyncio.Queue[Ends]]]:
    """A server that hands its connections over."""
    connections: asyncio.Queue[Ends] = asyncio.Queue()

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await connections.put((reader, writer))

    server = await asyncio.start_server(take, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1], connections
    finally:
        server.close()


async def says(writer: asyncio.StreamWriter, reader: asyncio.StreamReader) -> None:
    writer.write(b"x")
    async with asyncio.timeout(WITHIN_S):
        assert await reader.readexactly(1) == b"x"


async def is_silent(reader: asyncio.StreamReader) -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(MOMENT_S):
            await reader.readexactly(1)


@pytest.fixture
async def line() -> AsyncIterator[tuple[ChaosProxy, Ends, Ends]]:
    """The proxy, our end and the far end of one connection through it."""
    async with far_end() as (port, connections), ChaosProxy("127.0.0.1", port) as proxy:
        ours = await asyncio.open_connection("127.0.0.1", proxy.port)
        async with asyncio.timeout(WITHIN_S):
            theirs = await connections.get()
        yield proxy, ours, theirs
        for _, writer in (ours, theirs):
            writer.transport.abort()


async def test_one_way_is_held_while_the_other_passes(line: tuple[ChaosProxy, Ends, Ends]) -> None:
    proxy, (reader, writer), (far_reader, far_writer) = line
    proxy.partition(there=False)
    await says(writer, far_reader)
    far_writer.write(b"y")
    await is_silent(reader)
    proxy.heal()
    async with asyncio.timeout(WITHIN_S):
        assert await reader.readexactly(1) == b"y"


async def test_what_was_held_when_the_connection_breaks_never_arrives(line: tuple[ChaosProxy, Ends, Ends]) -> None:
    proxy, (reader, writer), (far_reader, far_writer) = line
    proxy.partition()
    writer.write(b"there")
    far_writer.write(b"back")
    await is_silent(far_reader)
    proxy.reset()
    proxy.heal()
    async with asyncio.timeout(WITHIN_S):
        for end in (reader, far_reader):
            with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
                await end.readexactly(1)
