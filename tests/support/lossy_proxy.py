"""A faulty network before a real broker."""

import asyncio
import contextlib


class LossyProxy:
    """A TCP proxy before a real broker that can swallow one acknowledgement or go silent both ways."""

    def __init__(self, host: str, port: int) -> None:
        self._upstream = (host, port)
        self._server: asyncio.Server | None = None
        self._open = asyncio.Event()
        self._open.set()
        self._writers: list[asyncio.StreamWriter] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self.lost_acks = 0

    async def start(self) -> int:
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        return int(self._server.sockets[0].getsockname()[1])

    @property
    def is_cut(self) -> bool:
        return not self._open.is_set()

    def cut(self) -> None:
        self._open.clear()

    def mend(self) -> None:
        """What was stuck is thrown away with its connection; the client comes back on a new one."""
        for writer in self._writers:
            writer.transport.abort()
        self._open.set()

    async def stop(self) -> None:
        assert self._server is not None
        self._server.close()
        for writer in self._writers:
            writer.transport.abort()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            upstream, sender = await asyncio.open_connection(*self._upstream)
        except OSError:
            writer.transport.abort()
            return
        self._writers += [writer, sender]
        for work in (self._forward(reader, sender), self._filter(upstream, writer)):
            task = asyncio.create_task(work)
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                await self._open.wait()
                writer.write(data)
                await writer.drain()
        writer.transport.abort()

    async def _filter(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            while line := await reader.readline():
                await self._open.wait()
                words = line.split()
                is_message = bool(words) and words[0] in (b"MSG", b"HMSG")
                body = await reader.readexactly(int(words[-1]) + 2) if is_message else b""
                if self.lost_acks and is_message and body.startswith(b'{"stream":"KV_'):
                    self.lost_acks -= 1
                    continue
                writer.write(line + body)
                await writer.drain()
        writer.transport.abort()
