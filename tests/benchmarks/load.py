"""The load of the benchmark: durable tasks through REST, each result read back and compared."""

import asyncio
import time
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import dataclass

import aiohttp
import msgspec

IN_FLIGHT = 64
TAIL = 64
WAIT_S = 30
OPEN_WAIT_S = 10
FILLER = "x" * 200
JSON = {"Content-Type": "application/json"}


class WrongResult(Exception):
    """A task was refused, is missing, did not complete, or came back with another result."""


class Accepted(msgspec.Struct):
    id: str
    status: str


class Stored(msgspec.Struct):
    id: str
    status: str
    result: object = None
    error: str | None = None
    finishedAt: int | None = None


@dataclass(frozen=True)
class Pushed:
    """Tasks by number, and how long it took from the first POST until the last ones were seen to be stored."""

    ids: dict[int, str]
    started_ms: float
    seconds: float


def payload(number: int) -> dict[str, object]:
    """About 300 bytes of JSON."""
    return {"number": number, "text": FILLER, "values": [number % 7, 0.5, True, None], "name": f"job-{number}"}


def request_body(number: int) -> bytes:
    return msgspec.json.encode({"type": "bench-echo", "payload": payload(number), "capabilities": ["bench"]})


class Load:
    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session
        self._next = 0

    async def push(self, count: int) -> Pushed:
        """`count` tasks by single POSTs with 64 in flight, then waits for the 64 last: nothing polls meanwhile."""
        numbers = self._numbers(count)
        bodies = {number: request_body(number) for number in numbers}
        ids: dict[int, str] = {}
        started_ms, started = time.time() * 1000, time.perf_counter()
        await in_parallel(numbers, lambda number: self._submit(number, bodies[number], ids))
        await in_parallel(numbers[-TAIL:], lambda number: self._read(ids[number], wait_s=WAIT_S))
        return Pushed(ids, started_ms, time.perf_counter() - started)

    async def tasks_per_second(self, pushed: Pushed) -> float:
        """Verifies every result; the clock ends when the last of all was stored, also when that is not of the tail."""
        finished_ms: list[int] = []

        async def verify(number: int) -> None:
            task = await self._read(pushed.ids[number], wait_s=WAIT_S)
            check(number, task)
            finished_ms.append(task.finishedAt or 0)

        await in_parallel(pushed.ids, verify)
        return len(pushed.ids) / max(pushed.seconds, (max(finished_ms) - pushed.started_ms) / 1000)

    async def post_and_wait(self, number: int) -> None:
        """One request: the POST answers with the result."""
        async with self._session.post("/api/task", data=request_body(number), headers=_waiting(OPEN_WAIT_S)) as answer:
            check(number, await _stored(answer))

    async def post_then_get(self, number: int) -> None:
        """Two requests: POST, then a GET that waits."""
        ids: dict[int, str] = {}
        await self._submit(number, request_body(number), ids)
        check(number, await self._read(ids[number], wait_s=OPEN_WAIT_S))

    async def open_loop(
        self, one: Callable[[int], Coroutine[object, object, None]], *, rate: float, seconds: float
    ) -> list[float]:
        """Milliseconds from the intended start of each to its verified result, at a rate that does not wait."""
        loop = asyncio.get_running_loop()
        numbers = self._numbers(round(rate * seconds))
        first = loop.time() + 0.1
        took_ms: list[float] = []

        async def at(start: float, number: int) -> None:
            await one(number)
            took_ms.append((loop.time() - start) * 1000)

        async with asyncio.TaskGroup() as group:
            for place, number in enumerate(numbers):
                start = first + place / rate
                await asyncio.sleep(max(0.0, start - loop.time()))
                group.create_task(at(start, number))
        return took_ms

    def _numbers(self, count: int) -> range:
        self._next += count
        return range(self._next - count, self._next)

    async def _submit(self, number: int, body: bytes, ids: dict[int, str]) -> None:
        async with self._session.post("/api/task", data=body, headers=JSON) as answer:
            text = await answer.read()
            if answer.status != 202:
                raise WrongResult(f"POST /api/task: {answer.status} {text[:300]!r}")
            ids[number] = msgspec.json.decode(text, type=Accepted).id

    async def _read(self, task_id: str, *, wait_s: int | None = None) -> Stored:
        headers = {} if wait_s is None else {"Prefer": f"wait={wait_s}"}
        async with self._session.get(f"/api/task/{task_id}", headers=headers) as answer:
            return await _stored(answer)


def check(number: int, task: Stored) -> None:
    if task.status != "COMPLETED":
        raise WrongResult(f"{task.id} is {task.status}: {task.error}")
    if task.result != payload(number):
        raise WrongResult(f"{task.id} has another result than was sent: {task.result!r:.300}")


async def in_parallel(numbers: Iterable[int], one: Callable[[int], Coroutine[object, object, object]]) -> None:
    """Each number once, 64 at a time."""
    left = iter(numbers)

    async def work() -> None:
        for number in left:
            await one(number)

    async with asyncio.TaskGroup() as group:
        for _ in range(IN_FLIGHT):
            group.create_task(work())


async def _stored(answer: aiohttp.ClientResponse) -> Stored:
    text = await answer.read()
    if answer.status not in (200, 202):
        raise WrongResult(f"{answer.method} {answer.url.path}: {answer.status} {text[:300]!r}")
    return msgspec.json.decode(text, type=Stored)


def _waiting(seconds: int) -> dict[str, str]:
    return {**JSON, "Prefer": f"wait={seconds}"}
