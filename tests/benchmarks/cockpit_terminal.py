"""The cockpit as a process on a terminal: start, frame to screen, keys, CPU, memory, bytes. 200 servers, 2,000 tasks/s.

`python -m tests.benchmarks.cockpit_terminal [SECONDS]`. Limits are those of the design for an idle machine with two cores.
"""

import asyncio
import contextlib
import fcntl
import os
import pty
import re
import signal
import struct
import sys
import tempfile
import termios
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median, quantiles

import psutil

from pointsman.client.bus import BusDown
from pointsman.client.nats_bus import NatsBus, connect
from pointsman.contracts.frames import RATE_HZ, encode_frame
from pointsman.contracts.subjects import VIEW_FRAME
from tests.support.cockpit_broker import Announcer, broker
from tests.support.cockpit_world import World

COLUMNS, LINES = 120, 36
FRAME = re.compile(rb"frame ([\d,]+) gaps")
SECONDS = 15.0
FORGOTTEN = ("COLUMNS", "LINES", "PYTHONDONTWRITEBYTECODE")


class Timed(Announcer):
    """Remembers when each frame was told."""

    def __init__(self, bus: NatsBus, world: World) -> None:
        super().__init__(bus, world)
        self.told_at: dict[int, float] = {}

    async def run(self) -> None:
        await self.answer_snapshots()
        while True:
            if not self.is_silent:
                frame = self.world.step()
                data = encode_frame(frame)
                self.told_at[frame.seq] = time.monotonic()
                with contextlib.suppress(BusDown):
                    await self._bus.publish(VIEW_FRAME, data)
            await asyncio.sleep(1 / RATE_HZ)


class Terminal:
    """A process on a pty, whose output is read at once."""

    def __init__(self, *command: str) -> None:
        self.began = time.monotonic()
        self.pid, self._fd = pty.fork()
        if self.pid == 0:
            for name in FORGOTTEN:
                os.environ.pop(name, None)
            os.environ |= {"TERM": "xterm-256color", "COLORTERM": "truecolor", "LANG": "C.UTF-8"}
            os.execvp(command[0], command)
        fcntl.ioctl(self._fd, termios.TIOCSWINSZ, struct.pack("HHHH", LINES, COLUMNS, 0, 0))
        self.size = 0
        self.seen = bytearray()
        self.heard: Callable[[bytes], None] = lambda _: None
        self.process = psutil.Process(self.pid)
        asyncio.get_running_loop().add_reader(self._fd, self._read)

    def _read(self) -> None:
        try:
            data = os.read(self._fd, 1 << 16)
        except OSError:
            asyncio.get_running_loop().remove_reader(self._fd)
            return
        self.size += len(data)
        self.seen += data
        self.heard(data)

    def press(self, keys: bytes) -> None:
        os.write(self._fd, keys)

    async def until(self, words: bytes, within_s: float = 30.0) -> float:
        """Seconds since the start of the process when they were seen."""
        async with asyncio.timeout(within_s):
            while words not in self.seen:
                await asyncio.sleep(0.002)
        return time.monotonic() - self.began

    def cpu_s(self) -> float:
        used = self.process.cpu_times()
        return float(used.user + used.system)

    async def end(self) -> None:
        os.kill(self.pid, signal.SIGTERM)
        await asyncio.to_thread(os.waitpid, self.pid, 0)


async def measured(terminal: Terminal, cluster: Timed, name: str, seconds: float) -> None:
    """CPU, bytes, and the time from the telling of a frame to its number on the terminal."""
    waited: list[float] = []

    def heard(_: bytes) -> None:
        now = time.monotonic()
        for found in FRAME.finditer(bytes(terminal.seen)):
            told = cluster.told_at.pop(int(found[1].replace(b",", b"")), None)
            if told is not None:
                waited.append(1000 * (now - told))
        del terminal.seen[:-200]

    terminal.seen.clear()
    cluster.told_at.clear()
    terminal.heard = heard
    cpu, size, began = terminal.cpu_s(), terminal.size, time.monotonic()
    await asyncio.sleep(seconds)
    took = time.monotonic() - began
    terminal.heard = lambda _: None
    share, rate = 100 * (terminal.cpu_s() - cpu) / took, (terminal.size - size) / took / 1000
    told = ""
    if len(waited) > 2:
        told = (
            f"frame->screen p50 {median(waited):4.0f} p95 {quantiles(waited, n=20)[-1]:4.0f} max {max(waited):4.0f} ms"
        )
    rss = terminal.process.memory_info().rss / 1e6
    print(f"{name:10} CPU {share:5.1f} %  {rate:6.1f} kB/s  RSS {rss:4.0f} MB  {told}")


async def main(seconds: float) -> None:
    with tempfile.TemporaryDirectory() as folder:
        async with broker(Path(folder)) as nats:
            bus = await connect(nats.url, name="made-up cluster")
            cluster = Timed(bus, World())
            task = asyncio.create_task(cluster.run())
            terminal = Terminal(str(Path(sys.executable).with_name("pointsman")), "tui", "--url", nats.url)
            hello, skeleton = await terminal.until(b"connecting"), await terminal.until(b"1 Overview")
            numbers = await terminal.until("● live".encode())
            print(
                f"start: first byte {hello:.2f} s, skeleton {skeleton:.2f} s (<= 1.0), numbers {numbers:.2f} s (<= 1.3)"
            )
            print(f"       CPU by then {terminal.cpu_s():.2f} s (<= 1.2)")
            await asyncio.sleep(3)
            for key, name in ((b"1", "Overview"), (b"2", "Servers"), (b"3", "Tasks")):
                terminal.press(key)
                await asyncio.sleep(1)
                await measured(terminal, cluster, name, seconds)
            await keys(terminal)
            cluster.is_silent = True
            await asyncio.sleep(8)
            await measured(terminal, cluster, "no frames", seconds)
            await terminal.end()
            task.cancel()
            await bus.close()


async def keys(terminal: Terminal) -> None:
    """From a key to the first bytes that it makes, between two frames' drawings."""
    terminal.press(b"2")
    await asyncio.sleep(1)
    waited = []
    for _ in range(30):
        before, began = terminal.size, time.monotonic()
        terminal.press(b"j")
        while terminal.size == before:
            await asyncio.sleep(0.001)
        waited.append(1000 * (time.monotonic() - began))
        await asyncio.sleep(0.13)
    print(f"key -> screen p50 {median(waited):.0f} p95 {quantiles(waited, n=20)[-1]:.0f} ms (<= 50)")


if __name__ == "__main__":
    asyncio.run(main(float(sys.argv[1]) if len(sys.argv) > 1 else SECONDS))
