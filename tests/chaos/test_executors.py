"""Executors are added and taken away while tasks run: work is shared, a dead one's is reclaimed, a stopped one's ends."""

import asyncio
import contextlib
import signal
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field

import msgspec
import pytest
import pytest_asyncio

from pointsman.client.bus import Message
from pointsman.client.nats_bus import connect
from pointsman.contracts.execution import ExecutorBeat
from pointsman.contracts.subjects import VIEW_EXECUTORS
from tests.support.backends import Backend
from tests.support.rest import Json, Rest
from tests.support.system_up import COMMAND, REPOSITORY, SystemUp, eventually, system_up

LIMIT = 40
RECLAIMED_WITHIN_MS = 6_000
BUSY_MACHINE_MS = 3_000
TASK = {"type": "executors", "timeoutMs": 60_000, "maxAttempts": 1}

pytestmark = pytest.mark.asyncio(loop_scope="module")


@dataclass
class Beats:
    """Which executors are heard, and how many calls each has open."""

    running: dict[str, int] = field(default_factory=dict)

    async def hear(self, message: Message) -> None:
        beat = msgspec.json.decode(message.data, type=ExecutorBeat)
        self.running[beat.executor] = len(beat.running)

    async def share(self) -> bool:
        assert len(self.running) == 2, self.running
        assert min(self.running.values()) >= LIMIT // 4, self.running
        return True


@dataclass
class Yard:
    """A running system, a server that takes 40 tasks, and a client."""

    system: SystemUp
    backend: Backend
    rest: Rest

    @contextlib.contextmanager
    def second_executor(self) -> Iterator[subprocess.Popen[bytes]]:
        process = subprocess.Popen(
            (*COMMAND, "serve", "instance", "--data-dir", str(self.system.data_dir)), cwd=REPOSITORY
        )
        try:
            yield process
        finally:
            process.kill()
            process.wait()

    @contextlib.asynccontextmanager
    async def both_busy(self, behave: str) -> AsyncIterator[tuple[list[str], subprocess.Popen[bytes]]]:
        """So many tasks that the server is full, shared by two executors; yields the ids and the second process."""
        with self.second_executor() as second:
            async with self.beats() as beats:
                await eventually(lambda: self.heard(beats), "two executors are heard")
                tasks = [TASK | {"payload": {"behave": behave}} for _ in range(LIMIT)]
                ids = await asyncio.gather(*(self.rest.accepted(task) for task in tasks))
                await eventually(beats.share, "both executors run a fair share")
            yield ids, second

    async def heard(self, beats: Beats) -> bool:
        return len(beats.running) == 2

    @contextlib.asynccontextmanager
    async def beats(self) -> AsyncIterator[Beats]:
        url, user, password = self.system.nats
        bus, beats = await connect(url, name="test", user=user, password=password), Beats()
        try:
            await bus.subscribe(VIEW_EXECUTORS, beats.hear)
            yield beats
        finally:
            await bus.close()

    async def ended(self, ids: list[str]) -> list[Json]:
        return await asyncio.gather(*(self.rest.finished(task_id, within_s=90) for task_id in ids))


@pytest_asyncio.fixture(loop_scope="module")
async def yard() -> AsyncIterator[Yard]:
    async with (
        system_up() as system,
        await Backend.start() as backend,
        system.client("chaos", "admin") as rest,
    ):
        server = {"id": "s", "endpoints": backend.endpoints, "maxConcurrent": LIMIT, "cancelOnDisconnect": True}
        await rest.call("POST", "/api/servers", server, expect=(201,))
        yield Yard(system, backend, rest)
        assert system.outcries() == []


@pytest.mark.timeout(150)
async def test_a_dead_executor_s_attempts_run_again_within_seconds(yard: Yard) -> None:
    async with yard.both_busy("slow:9000") as (ids, second):
        second.kill()
        killed_ms = time.time() * 1000
        ended = await yard.ended(ids)
    assert {task["status"] for task in ended} == {"COMPLETED"}
    lost = [attempt for task in ended for attempt in task["attempts"] if attempt["outcome"] == "lost"]
    after_ms = sorted(attempt["finishedAt"] - killed_ms for attempt in lost)
    assert len(lost) >= LIMIT // 4
    assert after_ms[-1] <= RECLAIMED_WITHIN_MS + BUSY_MACHINE_MS, after_ms
    assert (await yard.backend.stats())["peak"] <= LIMIT
    print(f"{len(lost)} reclaimed {after_ms[0] / 1000:.2f} to {after_ms[-1] / 1000:.2f} s after the kill")


@pytest.mark.timeout(150)
async def test_a_stopped_executor_ends_what_it_runs(yard: Yard) -> None:
    async with yard.both_busy("slow:4000") as (ids, second):
        second.send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(second.wait, 20) == 0
        ended = await yard.ended(ids)
    assert {task["status"] for task in ended} == {"COMPLETED"}
    assert {len(task["attempts"]) for task in ended} == {1}


@pytest.mark.timeout(150)
async def test_what_a_stopped_executor_cannot_end_is_handed_back_without_spending_an_attempt(yard: Yard) -> None:
    async with yard.both_busy("slow:14000") as (ids, second):
        second.send_signal(signal.SIGTERM)
        stopped_ms = time.time() * 1000
        assert await asyncio.to_thread(second.wait, 20) == 0
        ended = await yard.ended(ids)
    assert {task["status"] for task in ended} == {"COMPLETED"}
    handed_back = [task["attempts"] for task in ended if len(task["attempts"]) > 1]
    assert len(handed_back) >= LIMIT // 4
    for first, second_attempt in handed_back:
        assert (first["outcome"], second_attempt["outcome"]) == ("lost", "succeeded")
        assert first["error"] == "the executor stopped"
        assert second_attempt["startedAt"] - stopped_ms < 13_000
    assert (await yard.backend.stats())["peak"] <= LIMIT
