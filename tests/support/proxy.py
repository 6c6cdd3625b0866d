"""A TCP proxy that partitions: each direction can be held back, and what was held arrives late or never."""

import asyncio
import contextlib

CHUNK_BYTES = 65_536


class Direction:
    """One way through the proxy. While it is held nothing passes, and TCP holds back whoever writes."""

    def __init__(self) -> None:
        self._open = asyncio.Event()
        self._open.set()

    @property
    def is_held(self) -> bool:
        return not self._open.is_set()

    def hold(self) -> None:
        self._open.clear()

    def release(self) -> None:
        self._open.set()

    async def passes(self) -> None:
        await self._open.wait()


class ChaosProxy:
    """`there` is what the client sends, `back` what it hears. Use as `async with ChaosProxy(host, port) as proxy`."""

    def __init__(self, host: str, port: int) -> None:
        self._upstream = (host, port)
        self._server: asyncio.Server | None = None
        self._transports: set[asyncio.Transport] = set()
        self._work: set[asyncio.Task[None]] = set()
        self.there = Direction()
        self.back = Direction()
        self.connections = 0

    async def __aenter__(self) -> "ChaosProxy":
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        self.reset()
        for work in tuple(self._work):
            work.cancel()
        await asyncio.gather(*self._work, return_exceptions=True)

    @property
    def port(self) -> int:
        assert self._server is not None
        return int(self._server.sockets[0].getsockname()[1])

    def partition(self, *, there: bool = True, back: bool = True) -> None:
        """Hold back the named directions, also of connections that are made meanwhile."""
        for direction, is_held in ((self.there, there), (self.back, back)):
            if is_held:
                direction.hold()

    def heal(self) -> None:
        """What was held back arrives now, as after a short partition that TCP bridges."""
        self.there.release()
        self.back.release()

    def reset(self) -> None:
        """Break every connection; what is held back is lost."""
        for transport in tuple(self._transports):
            transport.abort()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            upstream_reader, upstream_writer = await asyncio.open_connection(*self._upstream)
        except OSError:
            writer.transport.abort()
            return
        pair = (writer.transport, upstream_writer.transport)
        self._transports.update(pair)
        self._run(_pump(reader, upstream_writer, self.there, pair))
        self._run(_pump(upstream_reader, writer, self.back, pair))

    def _run(self, work: "asyncio._CoroutineLike[None]") -> None:
        task = asyncio.create_task(work)
        self._work.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._work.discard(task)
        self._transports = {transport for transport in self._transports if not transport.is_closing()}


async def _pump(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    direction: Direction,
    pair: tuple[asyncio.Transport, asyncio.Transport],
) -> None:
    """Until either side ends; then both do, whatever is still held."""
    with contextlib.suppress(OSError):
        while data := await reader.read(CHUNK_BYTES):
            await direction.passes()
            writer.write(data)
            await writer.drain()
    for transport in pair:
        transport.abort()
