"""A program on a terminal of its own: what it draws, keys pressed at it, and the state in which it leaves the terminal."""

import asyncio
import fcntl
import os
import re
import struct
import sys
import termios
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pyte

from tests.support.system_up import COMMAND

WITHIN_S = 60.0
COLUMNS, ROWS = 120, 36
AS_ITS_TERMINAL = "import os, sys; os.login_tty(0); os.execv(sys.argv[1], sys.argv[1:])"
"""A program learns of Ctrl-C, of another size and of the end of a terminal only where that one controls its session."""
ENVIRONMENT = {"TERM": "xterm-256color", "COLORTERM": "truecolor", "LANG": "C.UTF-8"}
FORGOTTEN = ("COLUMNS", "LINES", "NO_COLOR", "TMUX", "LC_ALL", "PYTHONDONTWRITEBYTECODE")
KEYBOARD_TAKEN, KEYBOARD_GIVEN_BACK = re.compile(rb"\x1b\[>\d+u"), re.compile(rb"\x1b\[<\d*u")


@dataclass(frozen=True)
class State:
    """What the next program finds: the line's settings, the modes of screen, cursor and mouse, colours, and the keyboard's."""

    settings: list[Any]
    modes: frozenset[int]
    colours: object
    keyboards: int


class Terminal:
    def __init__(self, columns: int, rows: int, within_s: float) -> None:
        self.drawn = bytearray()
        self._screen = pyte.Screen(columns, rows)
        self._stream = pyte.ByteStream(self._screen)
        self._read_to = 0
        self._within_s = within_s
        self._news = asyncio.Event()
        self._is_over = False
        self._ours, self.theirs = os.openpty()
        self.resize(columns, rows)
        self.before = self.state
        asyncio.get_running_loop().add_reader(self._ours, self._read)

    async def run(self, *command: str) -> None:
        """The terminal is over when this program and all that it started have let go of it."""
        env = {name: value for name, value in os.environ.items() if name not in FORGOTTEN} | ENVIRONMENT
        self.process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-ISc", AS_ITS_TERMINAL, *command),
            stdin=self.theirs,
            stdout=self.theirs,
            stderr=self.theirs,
            env=env,
        )
        os.close(self.theirs)

    def _read(self) -> None:
        try:
            data = os.read(self._ours, 65536)
        except OSError:
            data = b""
        if not data:
            asyncio.get_running_loop().remove_reader(self._ours)
            self._is_over = True
        self.drawn += data
        self._news.set()

    def press(self, keys: bytes) -> None:
        os.write(self._ours, keys)

    def resize(self, columns: int, rows: int) -> None:
        self._see()
        self._screen.resize(rows, columns)
        fcntl.ioctl(self._ours, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    @property
    def text(self) -> str:
        """What stands on the screen."""
        self._see()
        return "\n".join(line.rstrip() for line in self._screen.display)

    @property
    def state(self) -> State:
        self._see()
        taken, given_back = (len(how.findall(self.drawn)) for how in (KEYBOARD_TAKEN, KEYBOARD_GIVEN_BACK))
        return State(
            settings=termios.tcgetattr(self._ours),
            modes=frozenset(self._screen.mode),
            colours=self._screen.cursor.attrs,
            keyboards=taken - given_back,
        )

    def _see(self) -> None:
        """Only when somebody looks: it takes longer than drawing does."""
        new, self._read_to = bytes(self.drawn[self._read_to :]), len(self.drawn)
        self._stream.feed(new)

    async def draws_more(self) -> None:
        self._news.clear()
        await self._news.wait()

    async def draws(self, words: bytes) -> None:
        """Wait until it has written them, no matter whether they still stand there."""
        await self._until(lambda: words in self.drawn, words)

    async def sees(self, wanted: str | Callable[[str], object]) -> str:
        """Wait until the screen shows it."""
        await self._until(lambda: wanted(self.text) if callable(wanted) else wanted in self.text, wanted)
        return self.text

    async def _until(self, is_so: Callable[[], object], wanted: object) -> None:
        try:
            async with asyncio.timeout(self._within_s):
                while not is_so():
                    assert not self._is_over, f"ended without {wanted!r}; the screen is\n{self.text}"
                    await self.draws_more()
        except TimeoutError:
            raise AssertionError(f"never saw {wanted!r}; the screen is\n{self.text}") from None

    async def ended(self) -> int:
        """Its exit code, when everything it wrote has been read."""
        async with asyncio.timeout(self._within_s):
            while not self._is_over:
                await self.draws_more()
            return await self.process.wait()

    def hang_up(self) -> None:
        """As when its window is closed."""
        if not self._is_over:
            asyncio.get_running_loop().remove_reader(self._ours)
            self._is_over = True
        if self._ours >= 0:
            os.close(self._ours)
            self._ours = -1


@asynccontextmanager
async def terminal(
    *arguments: str,
    program: tuple[str, ...] = COMMAND,
    columns: int = COLUMNS,
    rows: int = ROWS,
    within_s: float = WITHIN_S,
) -> AsyncIterator[Terminal]:
    """`within_s` is how long whatever is waited for may take."""
    made = Terminal(columns, rows, within_s)
    try:
        await made.run(*program, *arguments)
        yield made
    finally:
        if made.process.returncode is None:
            made.hang_up()
            made.process.terminate()
            await asyncio.wait_for(made.process.wait(), within_s)
        made.hang_up()
