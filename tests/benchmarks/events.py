"""How soon many readers of events are told, and what readers that do not read cost: `python -m tests.benchmarks.events`.

Exits 1 when a target is missed.
"""

import argparse
import asyncio
import os
import re
import signal
import socket
import sys
import time
from functools import partial
from urllib.parse import urlsplit

import aiohttp
import msgspec
import psutil

from pointsman.cli.demo_child import StepFailed
from pointsman.cli.demo_system import System
from tests.benchmarks.load import JSON, Accepted, in_parallel, request_body
from tests.benchmarks.rest import fresh

TARGET_P95_MS = 100.0
STUCK_MIB_MAX = 64.0
DROPPED_S_MAX = 30.0
DRAIN_S_MAX = 12.0
SINGLE_RATE = 20.0
AHEAD_MS = 25_000
STUCK = 20
STUCK_TASKS = 3_000
SMALL_BUFFER = 4_096
CONNECTIONS_MAX = 64
MIB = 1 << 20
_AT = re.compile(rb'"event":"([a-z-]+)".*?"at":(\d+)')
_END = re.compile(rb"event: (end|interrupted)")


class Missed(Exception):
    """A figure is beyond its target."""


class Reader(asyncio.Protocol):
    """One stream, as raw as it comes: when each event arrived after its time, but for those that are replayed."""

    def __init__(self, path: str, host: str, token: str, took_ms: list[float]) -> None:
        self._request = f"GET {path} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\n\r\n".encode()
        self._took_ms = took_ms
        self._rest = b""
        self._begun_ms = float("inf")
        self.status = b""
        self.begun = asyncio.Event()
        self.ended = asyncio.Event()
        self.why = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        now_ms = time.time() * 1000
        if not self.status:
            self.status = data[9:12]
            self._begun_ms = now_ms
            self.begun.set()
        *lines, self._rest = (self._rest + data).split(b"\n\n")
        for line in lines:
            if found := _AT.search(line):
                if int(found[2]) >= self._begun_ms:
                    self._took_ms.append(now_ms - int(found[2]))
            elif found := _END.search(line):
                self.why = found[1]
                self.ended.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self.begun.set()
        self.ended.set()


class Bench:
    def __init__(self, system: System, session: aiohttp.ClientSession) -> None:
        self._token = system.token
        self._session = session
        self._place = urlsplit(system.url)
        root = psutil.Process(system.child.pid)
        [self.gateway] = [p for p in root.children(recursive=True) if "gateway" in p.cmdline()]

    async def open(self, paths: list[str], took_ms: list[float]) -> list[Reader]:
        loop = asyncio.get_running_loop()
        readers: list[Reader] = []
        for path in paths:
            reader = Reader(path, self._place.netloc, self._token, took_ms)
            await loop.create_connection(partial(_same, reader), self._place.hostname, self._place.port)
            readers.append(reader)
        async with asyncio.timeout(60):
            for reader in readers:
                await reader.begun.wait()
        if wrong := {reader.status for reader in readers} - {b"200"}:
            raise Missed(f"streams answered {wrong}")
        return readers

    async def submit(self, number: int, **more: object) -> str:
        body = msgspec.json.decode(request_body(number)) | more
        async with self._session.post("/api/task", data=msgspec.json.encode(body), headers=JSON) as answer:
            return msgspec.json.decode(await answer.read(), type=Accepted).id

    async def at_rate(self, count: int, rate: float) -> None:
        loop = asyncio.get_running_loop()
        first = loop.time()
        async with asyncio.TaskGroup() as group:
            for number in range(count):
                await asyncio.sleep(max(0.0, first + number / rate - loop.time()))
                group.create_task(self.submit(number))

    async def everything(self, clients: int, rate: float, seconds: float) -> None:
        took_ms: list[float] = []
        readers = await self.open(["/api/events"] * clients, took_ms)
        cpu_s = self._cpu_s()
        await self.at_rate(round(rate * seconds), rate)
        await asyncio.sleep(2.0)
        lost = sum(reader.ended.is_set() for reader in readers)
        shown(f"{clients} readers of everything, {rate:g} tasks/s", took_ms, lost=lost, cpu_s=self._cpu_s() - cpu_s)

    async def single(self, clients: int, rate: float) -> None:
        took_ms: list[float] = []
        first_ms = time.time() * 1000 + AHEAD_MS
        ids: list[str] = []

        async def submit(number: int) -> None:
            ids.append(await self.submit(number, runAt=round(first_ms + number / rate * 1000)))

        await in_parallel(range(clients), submit)
        readers = await self.open([f"/api/task/{task_id}/events" for task_id in ids], took_ms)
        if time.time() * 1000 > first_ms:
            raise Missed("the streams were not open in time: nothing is measured")
        cpu_s = self._cpu_s()
        async with asyncio.timeout(AHEAD_MS / 1000 + clients / rate + 30):
            for reader in readers:
                await reader.ended.wait()
        lost = sum(reader.why != b"end" for reader in readers)
        shown(f"{clients} readers of one task each, {rate:g} tasks/s", took_ms, lost=lost, cpu_s=self._cpu_s() - cpu_s)

    def _cpu_s(self) -> float:
        times = self.gateway.cpu_times()
        return float(times.user + times.system)

    async def stuck(self) -> None:
        """Readers that never read: what the gateway grows by while they are there, and when they are dropped."""
        before = self.gateway.memory_info().rss
        request = f"GET /api/events HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {self._token}\r\n\r\n".encode()
        sockets = [self._connected(request) for _ in range(STUCK)]
        started = time.monotonic()
        peak = before
        pushing = asyncio.create_task(in_parallel(range(STUCK_TASKS), self.submit))
        dropped_s = 0.0
        while not pushing.done() or (not dropped_s and time.monotonic() - started < DROPPED_S_MAX):
            await asyncio.sleep(0.25)
            peak = max(peak, self.gateway.memory_info().rss)
            if not dropped_s and self._still_served(sockets) == 0:
                dropped_s = time.monotonic() - started
        await pushing
        for one in sockets:
            one.close()
        grown = (peak - before) / MIB
        print(
            f"{STUCK} stuck readers, {STUCK_TASKS} tasks: gateway grew by {grown:.1f} MiB, "
            f"{f'dropped after {dropped_s:.1f} s' if dropped_s else 'not dropped'}"
        )
        if grown > STUCK_MIB_MAX or not dropped_s:
            raise Missed(f"more than {STUCK_MIB_MAX:g} MiB, or not dropped within {DROPPED_S_MAX:g} s")

    def _connected(self, request: bytes) -> socket.socket:
        one = socket.socket()
        one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL_BUFFER)
        one.connect((self._place.hostname, self._place.port))
        one.sendall(request)
        return one

    def _still_served(self, sockets: list[socket.socket]) -> int:
        ports = {one.getsockname()[1] for one in sockets}
        connections = self.gateway.net_connections("tcp")
        return sum(c.status == psutil.CONN_ESTABLISHED and bool(c.raddr) and c.raddr.port in ports for c in connections)

    async def stop(self, clients: int) -> None:
        """How long the gateway takes to end with open streams, and that each is told."""
        waiting = await self.submit(0, delayMs=600_000)
        paths = ["/api/events", f"/api/task/{waiting}/events"] * (clients // 2)
        readers = await self.open(paths, [])
        started = time.monotonic()
        self.gateway.send_signal(signal.SIGTERM)
        await asyncio.to_thread(self.gateway.wait, DRAIN_S_MAX + 10)
        took_s = time.monotonic() - started
        told = sum(reader.why == b"interrupted" for reader in readers)
        print(f"gateway with {len(readers)} open streams: stopped in {took_s:.1f} s, {told} told", flush=True)
        if took_s > DRAIN_S_MAX or told < len(readers):
            raise Missed(f"not within {DRAIN_S_MAX:g} s, or not all told")


def _same(reader: Reader) -> Reader:
    return reader


def shown(what: str, took_ms: list[float], *, lost: int, cpu_s: float) -> None:
    ordered = sorted(took_ms)
    if not ordered:
        raise Missed(f"{what}: nothing was told")
    p50, p95, p99 = (ordered[min(len(ordered) - 1, int(len(ordered) * part))] for part in (0.5, 0.95, 0.99))
    told = f"{len(ordered)} events, p50 {p50:.0f} p95 {p95:.0f} p99 {p99:.0f} ms, {lost} streams lost"
    cost = (
        f"gateway {cpu_s / len(ordered) * 1e6:.0f} us CPU per event and reader; load average {os.getloadavg()[0]:.1f}"
    )
    print(f"{what}: {told}; {cost}", flush=True)
    if p95 > TARGET_P95_MS or lost:
        raise Missed(f"{what}: p95 above {TARGET_P95_MS:g} ms, or streams lost")


async def bench(options: argparse.Namespace) -> list[str]:
    missed: list[str] = []
    async with fresh(CONNECTIONS_MAX) as (system, session, _):
        one = Bench(system, session)
        for part in (
            one.everything(options.clients, options.rate, options.seconds),
            one.single(options.clients, SINGLE_RATE),
            one.stuck(),
            one.stop(options.clients),
        ):
            try:
                await part
            except Missed as error:
                missed.append(str(error))
    return missed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clients", type=int, default=500)
    parser.add_argument("--rate", type=float, default=5.0, help="tasks per second while latency is measured")
    parser.add_argument("--seconds", type=float, default=15.0)
    try:
        missed = asyncio.run(bench(parser.parse_args()))
    except StepFailed as error:
        missed = [str(error)]
    for line in missed:
        print("missed:", line, file=sys.stderr)
    sys.exit(1 if missed else 0)


if __name__ == "__main__":
    main()
