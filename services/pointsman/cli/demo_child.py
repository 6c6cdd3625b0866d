"""A program that the demo or a benchmark runs beside itself: start it, wait for a line, stop it."""

import asyncio
import contextlib
import os
import re
import signal
import sys
from collections import deque
from collections.abc import Sequence
from typing import Self

TAIL_LINES = 30
LINE_BYTES_MAX = 1024 * 1024


class StepFailed(Exception):
    """Something needed did not work; the message is written for the person at the terminal."""


class Child:
    """One subprocess in a session of its own, so that Ctrl-C reaches only its owner, who then stops it."""

    def __init__(self, name: str, process: asyncio.subprocess.Process) -> None:
        self.name = name
        self.pid = process.pid
        self._process = process
        self._tail: deque[str] = deque(maxlen=TAIL_LINES)
        self._awaited: tuple[re.Pattern[str], asyncio.Future[str]] | None = None
        self._reading: asyncio.Task[None] | None = None

    @classmethod
    async def start(cls, name: str, arguments: Sequence[str], *, ready: str, timeout_s: float) -> tuple[Self, str]:
        """Runs `python *arguments` until a line matches `ready`; answers with the child and the match's first group."""
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *arguments,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            limit=LINE_BYTES_MAX,
            start_new_session=True,
        )
        child = cls(name, process)
        try:
            return child, await child._until_ready(re.compile(ready), timeout_s)
        except BaseException:
            await child.stop()
            raise

    async def must_live(self) -> None:
        """Ends only when the process does, and then with StepFailed."""
        code = await self._process.wait()
        raise StepFailed(f"{self.name} ended with code {code}{self.tail()}")

    async def stop(self, timeout_s: float = 20) -> None:
        """SIGTERM, then SIGKILL for it and what it left in its session."""
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.terminate()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._process.wait(), timeout_s)
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)
            await self._process.wait()
        if self._reading is not None:
            self._reading.cancel()

    def tail(self) -> str:
        """The last lines it printed, to stand behind a sentence."""
        return "; it said last:\n" + "\n".join(self._tail) if self._tail else ""

    async def _until_ready(self, ready: re.Pattern[str], timeout_s: float) -> str:
        line = asyncio.get_running_loop().create_future()
        self._awaited = (ready, line)
        self._reading = asyncio.create_task(self._read())
        await asyncio.wait({line, self._reading}, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
        if line.done():
            return str(line.result())
        said = "ended early" if self._reading.done() else f"was not ready within {timeout_s:g} s"
        raise StepFailed(f"{self.name} {said}{self.tail()}")

    async def _read(self) -> None:
        stream = self._process.stdout
        assert stream is not None
        while line := await stream.readline():
            self._see(line.decode(errors="replace").rstrip())

    def _see(self, line: str) -> None:
        self._tail.append(line)
        if self._awaited is None:
            return
        pattern, future = self._awaited
        if match := pattern.search(line):
            self._awaited = None
            if not future.done():
                future.set_result(match[1])


async def output_of(name: str, arguments: Sequence[str], timeout_s: float = 30) -> str:
    """What `python *arguments` prints; StepFailed when it fails."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *arguments,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(timeout_s):
            out, err = await process.communicate()
    except TimeoutError:
        raise StepFailed(f"{name} did not end within {timeout_s:g} s") from None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode != 0:
        raise StepFailed(f"{name} ended with code {process.returncode}: {err.decode(errors='replace').strip()}")
    return out.decode().strip()
