"""Sends every module to Pointsman as one task and follows each to its end."""

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence

from pointsman.cli.demo_child import StepFailed
from pointsman.cli.demo_client import DemoClient, Finished
from pointsman.cli.demo_corpus import Module, payload
from pointsman.cli.demo_fleet import CAPABILITY

CONCURRENCY = 64
STALL_S_MAX = 120.0


class Push:
    """Bounded on both sides: so many submits and so many waiting reads at a time."""

    def __init__(self, client: DemoClient, run: str, seen: Callable[[], object]) -> None:
        self._client = client
        self._run = run
        self._seen = seen
        self._accepted: asyncio.Queue[tuple[str, str] | None] = asyncio.Queue()
        self._finished: dict[str, Finished] = {}
        self._last_finish = time.monotonic()

    async def all(self, corpus: Sequence[Module]) -> dict[str, Finished]:
        """The finished tasks by module name; StepFailed when none finishes for two minutes."""
        self._last_finish = time.monotonic()
        modules = iter(corpus)
        async with asyncio.TaskGroup() as group:
            for _ in range(CONCURRENCY):
                group.create_task(self._follow())
            async with asyncio.TaskGroup() as submitting:
                for _ in range(CONCURRENCY):
                    submitting.create_task(self._submit(modules))
            for _ in range(CONCURRENCY):
                self._accepted.put_nowait(None)
        return self._finished

    async def _submit(self, modules: Iterator[Module]) -> None:
        for module in modules:
            task_id = await self._client.submit(_task(module), key=f"demo-{self._run}-{module.name}")
            self._accepted.put_nowait((module.name, task_id))

    async def _follow(self) -> None:
        while accepted := await self._accepted.get():
            name, task_id = accepted
            while (task := await self._client.finished(task_id)) is None:
                self._refuse_stall(task_id)
            self._finished[name] = task
            self._last_finish = time.monotonic()
            self._seen()

    def _refuse_stall(self, task_id: str) -> None:
        if time.monotonic() - self._last_finish > STALL_S_MAX:
            raise StepFailed(f"no task finished for {STALL_S_MAX:g} s; {task_id} is one that is open")


def _task(module: Module) -> dict[str, object]:
    return {
        "type": "analyse-module",
        "payload": payload(module),
        "capabilities": [CAPABILITY],
        "timeoutMs": 60_000,
        "maxAttempts": 10,
        "retry": {"preset": "fast"},
    }
