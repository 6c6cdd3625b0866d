"""The misbehaving backend itself: answers each task as its payload wishes and writes down what it saw."""

import asyncio
import contextlib
import json
import socket
import struct
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from tests.support.http1 import Request, answer_of, head_of, read_request

HUGE_BYTES = 100 * 1024 * 1024
CHUNK = b"x" * 65_536
DRIP_BYTES, DRIP_PAUSE_S = 100_000, 0.1
CALLBACK_TRIES_MAX = 12
LATE_SLACK_MS = 1_000
"""How long a request that was sent in time may lie in the socket of a busy machine."""
CLOSES = {"Connection": "close"}


@dataclass
class Seen:
    """What `GET /stats` tells. `running` are the calls not yet answered, and the accepted ones not yet called back;
    `late` came after their X-Pointsman-Start-By."""

    calls: int = 0
    running: int = 0
    peak: int = 0
    tasks: Counter[str] = field(default_factory=Counter)
    attempts: defaultdict[str, list[int]] = field(default_factory=lambda: defaultdict(list))
    lastHeaders: dict[str, str] = field(default_factory=dict)
    lastBody: dict[str, Any] = field(default_factory=dict)
    callbacks: list[dict[str, Any]] = field(default_factory=list)
    deletes: list[str] = field(default_factory=list)
    hungUp: int = 0
    redirected: int = 0
    healthCalls: int = 0
    late: int = 0


@dataclass(frozen=True)
class Call:
    """One POST /predict: its task, the connection it came on, and the parts of its wish after the name."""

    task_id: str
    payload: object
    callback_url: str
    number: int
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    wish: tuple[str, ...]

    def part(self, index: int, otherwise: int) -> int:
        return int(self.wish[index]) if len(self.wish) > index else otherwise


class Simulator:
    def __init__(self, url: str, mode: str, session: aiohttp.ClientSession) -> None:
        self.url = url
        self._mode = mode
        self._health = "ok"
        self._session = session
        self._seen = Seen()
        self._calling_back: dict[str, asyncio.Task[None]] = {}

    @classmethod
    @contextlib.asynccontextmanager
    async def listen(cls, port: int, mode: str) -> AsyncIterator["Simulator"]:
        listener = socket.create_server(("127.0.0.1", port), backlog=1024)
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10)) as session:
            simulator = cls(f"http://127.0.0.1:{listener.getsockname()[1]}", mode, session)
            server = await asyncio.start_server(simulator._connection, sock=listener)
            try:
                yield simulator
            finally:
                server.close()
                for task in list(simulator._calling_back.values()):
                    task.cancel()

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while (request := await read_request(reader)) and await self._answer(request, reader, writer):
                await writer.drain()
        except ConnectionError:
            self._seen.hungUp += 1
        finally:
            writer.close()

    async def _answer(self, request: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """True when the connection may be used again."""
        match request.method, request.path:
            case "POST", "/predict":
                return await self._predict(request, reader, writer)
            case "GET", "/health":
                return await self._answer_health(reader, writer)
            case "GET", "/stats":
                writer.write(answer_of(200, vars(self._seen)))
            case "POST", "/control":
                self._control(json.loads(request.body))
                writer.write(answer_of(200, {"health": self._health, "mode": self._mode}))
            case "DELETE", path if path.startswith("/predict/"):
                self._cancel(path.removeprefix("/predict/"))
                writer.write(answer_of(200, {"status": "cancelled"}))
            case _, "/elsewhere":
                self._seen.redirected += 1
                writer.write(answer_of(200, {"redirected": True}))
            case _:
                writer.write(answer_of(404, {"error": "no such route"}))
        return True

    def _control(self, wish: dict[str, str]) -> None:
        self._health = wish.get("health", self._health)
        self._mode = wish.get("mode", self._mode)

    def _cancel(self, task_id: str) -> None:
        self._seen.deletes.append(task_id)
        if calling_back := self._calling_back.get(task_id):
            calling_back.cancel()

    async def _answer_health(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        self._seen.healthCalls += 1
        if self._health == "hang":
            await _until_hung_up(reader)
            return False
        bad = self._health == "bad"
        healthy = {"status": "healthy", "load": {"active_tasks": self._seen.running, "queue_length": 0}}
        writer.write(answer_of(503, {"status": "unhealthy"}) if bad else answer_of(200, healthy))
        return True

    async def _predict(self, request: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        call = self._note(request, reader, writer)
        try:
            return await self._behave(call)
        finally:
            self._seen.running -= 1

    def _note(self, request: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Call:
        task = json.loads(request.body)
        task_id, payload, seen = task["task_id"], task["request"]["payload"], self._seen
        seen.calls += 1
        seen.running += 1
        seen.peak = max(seen.peak, seen.running)
        seen.tasks[task_id] += 1
        seen.attempts[task_id].append(task["attempt"])
        seen.late += time.time() * 1000 > int(request.headers["x-pointsman-start-by"]) + LATE_SLACK_MS
        seen.lastHeaders, seen.lastBody = request.headers, task
        wish = (payload.get("behave") if isinstance(payload, dict) else None) or self._mode
        return Call(task_id, payload, task["callback_url"], seen.tasks[task_id], reader, writer, tuple(wish.split(":")))

    async def _behave(self, call: Call) -> bool:
        """Writes the answer that the task wishes for; True when the connection may be used again."""
        write = call.writer.write
        match call.wish[0]:
            case "ok":
                write(answer_of(200, call.payload))
            case "slow":
                if await _until_hung_up(call.reader, call.part(1, 1000) / 1000):
                    self._seen.hungUp += 1
                    return False
                write(answer_of(200, call.payload))
            case "stubborn":
                await asyncio.sleep(call.part(1, 1000) / 1000)
                write(answer_of(200, call.payload))
            case "fail":
                failing = call.number <= call.part(2, call.number)
                status = call.part(1, 500)
                write(answer_of(status, {"error": f"fails with {status}"}) if failing else answer_of(200, call.payload))
            case "retry-after":
                busy = call.number <= call.part(3, call.number)
                headers = {"Retry-After": str(call.part(2, 1))}
                write(
                    answer_of(call.part(1, 429), {"error": "busy"}, headers) if busy else answer_of(200, call.payload)
                )
            case "redirect":
                write(answer_of(302, {}, {"Location": f"{self.url}/elsewhere"}))
            case "error-json":
                write(answer_of(200, {"status": "error", "error": "the model refused", "code": "REFUSED"}))
            case "success-json":
                write(answer_of(200, {"status": "success", "result": call.payload}))
            case "accepted":
                self._call_back_later(call)
                write(answer_of(202, {"status": "accepted"}))
            case "accepted-silent":
                write(answer_of(202, {"status": "accepted"}))
            case _:
                await self._break_connection(call)
                return False
        return True

    async def _break_connection(self, call: Call) -> None:
        match call.wish[0]:
            case "hang":
                await _until_hung_up(call.reader)
                self._seen.hungUp += 1
            case "reset":
                _reset(call.writer)
            case "lie-length":
                body = json.dumps(call.payload).encode()
                call.writer.write(head_of(200, len(body) + 100, CLOSES) + body)
                await call.writer.drain()
            case "huge":
                call.writer.write(head_of(200, HUGE_BYTES + 2, CLOSES) + b'"')
                for _ in range(HUGE_BYTES // len(CHUNK)):
                    call.writer.write(CHUNK)
                    await call.writer.drain()
                call.writer.write(b'"')
            case "drip":
                call.writer.write(head_of(200, DRIP_BYTES, CLOSES))
                for _ in range(DRIP_BYTES):
                    call.writer.write(b" ")
                    await call.writer.drain()
                    await asyncio.sleep(DRIP_PAUSE_S)
            case "garbage":
                call.writer.write(b"\x00\xff\x13 this is not HTTP\r\n\r\n")
            case unknown:
                call.writer.write(answer_of(400, {"error": f"unknown wish {unknown!r}"}, CLOSES))

    def _call_back_later(self, call: Call) -> None:
        self._seen.running += 1
        task = asyncio.create_task(self._call_back(call))
        self._calling_back[call.task_id] = task
        task.add_done_callback(lambda _: self._calling_back.pop(call.task_id, None))

    async def _call_back(self, call: Call) -> None:
        """The work is over before it is reported: what comes in answer to the report is the next."""
        try:
            await asyncio.sleep(call.part(1, 0) / 1000)
        finally:
            self._seen.running -= 1
        for number in range(CALLBACK_TRIES_MAX):
            status, answer = await self._put(call)
            self._seen.callbacks.append({"task": call.task_id, "status": status, "answer": answer})
            if 0 < status < 500 and status != 429:
                return
            await asyncio.sleep(min(0.1 * 2**number, 2))

    async def _put(self, call: Call) -> tuple[int, str]:
        try:
            body = {"status": "COMPLETED", "result": call.payload}
            async with self._session.put(call.callback_url, json=body) as answer:
                return answer.status, await answer.text()
        except (aiohttp.ClientError, TimeoutError) as error:
            return 0, repr(error)


async def _until_hung_up(reader: asyncio.StreamReader, timeout_s: float | None = None) -> bool:
    """True when the other side closed the connection in that time."""
    try:
        async with asyncio.timeout(timeout_s):
            return not await reader.read(1)
    except TimeoutError:
        return False


def _reset(writer: asyncio.StreamWriter) -> None:
    """Close with RST instead of FIN."""
    connection = writer.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
