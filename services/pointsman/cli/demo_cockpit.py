"""The cockpit beside the demo: it has the terminal, while rounds of the same work go on until it is left."""

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from pointsman.cli.demo_child import StepFailed

STOP_S = 5.0
ROUNDS_MAX = 30


def has_terminal() -> bool:
    return all(stream.isatty() for stream in (sys.stdin, sys.stdout, sys.stderr))


@asynccontextmanager
async def open_cockpit(data_dir: Path) -> AsyncIterator[asyncio.subprocess.Process]:
    """`pointsman tui` on this terminal; it is asked to end, and so gives the terminal back, when the block ends first."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "pointsman.cli.main", "tui", "--data-dir", str(data_dir)
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.terminate()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(process.wait(), STOP_S)
        if process.returncode is None:
            process.kill()
            await process.wait()


async def rounds[T](cockpit: asyncio.subprocess.Process, one: Callable[[], Awaitable[T]]) -> list[T]:
    """What each round came to, of 30 at most; the one that runs when the cockpit is left is the last. StepFailed when it
    broke.
    """
    came: list[T] = []
    while cockpit.returncode is None and len(came) < ROUNDS_MAX:
        came.append(await one())
    if code := await cockpit.wait():
        raise StepFailed(f"the cockpit ended with code {code}")
    return came
