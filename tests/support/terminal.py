"""A program of ours on a terminal of its own: what it draws, and keys pressed at it."""

import asyncio
import fcntl
import os
import pty
import struct
import sys
import termios
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

WAIT_S = 150
ROWS, COLUMNS = 36, 120


@dataclass
class Terminal:
    """What a program draws, and the keys pressed at it."""

    descriptor: int
    process: asyncio.subprocess.Process
    drawn: bytearray

    async def shows(self, text: bytes) -> None:
        async with asyncio.timeout(WAIT_S):
            while text not in self.drawn:
                assert self.process.returncode is None, bytes(self.drawn[-2000:]).decode(errors="replace")
                await asyncio.sleep(0.1)

    def press(self, key: bytes) -> None:
        os.write(self.descriptor, key)


@asynccontextmanager
async def terminal(*arguments: str) -> AsyncIterator[Terminal]:
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
    env = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES", "NO_COLOR")}
    command = (sys.executable, "-m", "pointsman.cli.main", *arguments)
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env=env | {"TERM": "xterm-256color"},
        start_new_session=True,
    )
    os.close(theirs)
    drawn = bytearray()

    def read() -> None:
        try:
            drawn.extend(os.read(ours, 65536))
        except OSError:
            asyncio.get_running_loop().remove_reader(ours)

    asyncio.get_running_loop().add_reader(ours, read)
    try:
        yield Terminal(ours, process, drawn)
    finally:
        asyncio.get_running_loop().remove_reader(ours)
        if process.returncode is None:
            process.terminate()
            await asyncio.wait_for(process.wait(), 60)
        os.close(ours)
