"""One program that is started again when it ends, with growing pauses, until it is stopped."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Protocol

import structlog

from pointsman.services.runtime.embedded import child

log = structlog.get_logger()

PAUSE_FIRST_S = 0.1
PAUSE_MAX_S = 5.0
STEADY_AFTER_S = 10.0
FALLS_MAX = 5


class Launcher(Protocol):
    """What can be kept running. `program` is asked before each start and may prepare it."""

    @property
    def name(self) -> str: ...

    @property
    def log(self) -> Path: ...

    async def program(self) -> child.Program: ...

    async def ready(self) -> None: ...


class DidNotStart(RuntimeError):
    """A program was not ready in time; the message ends with its log."""


class Kept:
    """`on_start(name, pid)` is told of every start. `falls`: how often in a row it has ended soon after its start."""

    def __init__(self, launcher: Launcher, on_start: Callable[[str, int], None] = lambda _name, _pid: None) -> None:
        self.launcher = launcher
        self._on_start = on_start
        self._stopping = asyncio.Event()
        self._process: asyncio.subprocess.Process | None = None
        self._program: child.Program | None = None
        self._loop: asyncio.Task[None] | None = None
        self.falls = 0

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process and self._process.returncode is None else None

    def start(self) -> asyncio.Task[None]:
        """The task ends only after `stop`, or with an error when the program cannot be started at all."""
        self._loop = asyncio.create_task(self._keep(), name=f"keep {self.launcher.name}")
        return self._loop

    async def ready(self, *, within_s: float) -> None:
        """Returns once the program works; raises DidNotStart, or what broke the loop."""
        assert self._loop is not None
        waiting = asyncio.create_task(self.launcher.ready())
        try:
            done, _ = await asyncio.wait({waiting, self._loop}, timeout=within_s, return_when="FIRST_COMPLETED")
        finally:
            if not waiting.done():
                waiting.cancel()
        for task in done:
            task.result()
        if waiting not in done:
            tail = child.last_lines(self.launcher.log)
            raise DidNotStart(f"{self.launcher.name} is not ready after {within_s:.0f} s:\n{tail}")

    async def restart(self) -> None:
        """End it, so that it is started again."""
        if self._process and self._program:
            await child.stop(self._process, self._program)

    async def stop(self) -> None:
        self._stopping.set()
        if self._process and self._program:
            await child.stop(self._process, self._program)
        if self._loop is not None:
            await asyncio.wait({self._loop})

    def complaint(self) -> str:
        """What it said last."""
        log_file = self.launcher.log
        ended = f"{self.launcher.name} ended {self.falls} times in a row" if self.falls else self.launcher.name
        return f"{ended}; the end of {log_file}:\n{child.last_lines(log_file)}"

    async def _keep(self) -> None:
        pause_s = PAUSE_FIRST_S
        while not self._stopping.is_set():
            lived_s = await self._lived_s()
            if self._stopping.is_set():
                return
            is_steady = lived_s >= STEADY_AFTER_S
            pause_s = PAUSE_FIRST_S if is_steady else pause_s
            self.falls = 0 if is_steady else self.falls + 1
            log.warning("program ended", program=self.launcher.name, code=self._code, restart_in_s=pause_s)
            if self.falls == FALLS_MAX:
                log.error(self.complaint())
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), pause_s)
            pause_s = min(PAUSE_MAX_S, pause_s * 2)

    async def _lived_s(self) -> float:
        """Run it once. The first start may fail for good, later ones are tried again."""
        began_s = asyncio.get_running_loop().time()
        try:
            await self._run_once()
        except Exception:
            if self._process is None:
                raise
            log.exception("program could not be started again", program=self.launcher.name)
        return asyncio.get_running_loop().time() - began_s

    async def _run_once(self) -> None:
        self._program = await self.launcher.program()
        self._process = await child.spawn(self._program)
        if self._stopping.is_set():
            await child.stop(self._process, self._program)
        self._on_start(self.launcher.name, self._process.pid)
        await self._process.wait()

    @property
    def _code(self) -> int | None:
        return self._process.returncode if self._process else None
