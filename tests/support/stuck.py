"""A reader of a stream that asks for it and then reads nothing, over a socket of its own."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

import psutil

from tests.support.system_up import SystemUp, eventually

WITHIN_S = 60.0


class Stuck:
    def __init__(self, system: SystemUp, port: int) -> None:
        self._gateway = psutil.Process(system.pids()["gateway"])
        self._port = port

    async def is_served(self) -> bool:
        return any(one.raddr and one.raddr.port == self._port for one in self._gateway.net_connections("tcp"))

    async def is_dropped(self) -> bool:
        return not await self.is_served()

    async def served(self) -> None:
        await eventually(self.is_served, "the stuck reader is served", within_s=WITHIN_S)

    async def dropped(self) -> None:
        await eventually(self.is_dropped, "the stuck reader is dropped", within_s=WITHIN_S)


@contextmanager
def stuck_reader(system: SystemUp, token: str, path: str) -> Iterator[Stuck]:
    place = urlsplit(system.url)
    with socket.socket() as reader:
        reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        reader.connect((place.hostname, place.port))
        reader.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\r\n".encode())
        yield Stuck(system, reader.getsockname()[1])
