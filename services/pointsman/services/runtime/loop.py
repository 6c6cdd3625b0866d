"""Background work with an owner: periodic loops that log a failure once and go on, and stop with their group."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence

import structlog

from pointsman.client.bus import BusError
from pointsman.contracts.errors import PointsmanError

log = structlog.get_logger()

CANCEL_ROUNDS = 10
CANCEL_ROUND_S = 0.5
OUTAGES = (BusError, PointsmanError, TimeoutError)


class Background:
    """Owns the tasks of one service; `stop` cancels and awaits them. Only a bug is logged with its traceback."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()

    def run(self, work: Coroutine[None, None, None], name: str) -> asyncio.Task[None]:
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def every(self, seconds: float, step: Callable[[], Awaitable[None]], name: str) -> asyncio.Task[None]:
        """Run `step`, then wait, and again; a failing step is logged and the loop goes on."""
        return self.run(_periodic(seconds, step, name), name)

    def __len__(self) -> int:
        return len(self._tasks)

    async def stop(self) -> None:
        """Ask again until all have ended, at most 5 s: a library may swallow a cancellation."""
        for _ in range(CANCEL_ROUNDS):
            tasks = set(self._tasks)
            if not tasks:
                return
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks, timeout=CANCEL_ROUND_S)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if task.cancelled() or (error := task.exception()) is None:
            return
        if isinstance(error, OUTAGES):
            log.warning("background work failed", work=task.get_name(), error=_told(error))
        else:
            log.error("background work failed", work=task.get_name(), exc_info=error)


async def _periodic(seconds: float, step: Callable[[], Awaitable[None]], name: str) -> None:
    while True:
        try:
            await step()
        except OUTAGES as error:
            log.warning("loop step failed", loop=name, error=_told(error))
        except Exception:
            log.exception("loop step failed", loop=name)
        await asyncio.sleep(seconds)


async def gather_all[T](works: Sequence[Coroutine[None, None, T]]) -> list[T]:
    """The results in order; the first failure cancels the rest and is raised as it is."""
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(work) for work in works]
    except ExceptionGroup as failures:
        raise failures.exceptions[0] from None
    return [task.result() for task in tasks]


def _told(error: BaseException) -> str:
    return str(error) or type(error).__name__
