"""The cockpit as a process on a terminal: start, frame to screen, keys, CPU, memory, bytes. 200 servers, 2,000 tasks/s.

`python -m tests.benchmarks.cockpit_terminal [SECONDS]`. Limits are those of the design for an idle machine with two cores.
"""

import asyncio
import contextlib
import re
import sys
import tempfile
import time
from pathlib import Path
from statistics import median, quantiles

import psutil

from pointsman.client.bus import BusDown
from pointsman.client.nats_bus import NatsBus, connect
from pointsman.contracts.frames import RATE_HZ, encode_frame
from pointsman.contracts.subjects import VIEW_FRAME
from tests.benchmarks.cockpit_live import key_to_screen
from tests.benchmarks.processes import cpu_s_of
from tests.support.cockpit_broker import Announcer, broker
from tests.support.cockpit_world import World
from tests.support.terminal import Terminal, terminal

FRAME = re.compile(rb"frame ([\d,]+) gaps")
FRAME_TEXT_MAX = 40
SECONDS = 15.0


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


async def measured(screen: Terminal, cluster: Timed, name: str, seconds: float) -> None:
    """CPU, bytes, and the time from the telling of a frame to its number on the terminal."""
    waited: list[float] = []
    cluster.told_at.clear()
    process, size, began = psutil.Process(screen.process.pid), len(screen.drawn), time.monotonic()
    cpu, looked_to = cpu_s_of(process.pid), size
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            while True:
                await screen.draws_more()
                now = time.monotonic()
                for found in FRAME.finditer(screen.drawn, looked_to):
                    told = cluster.told_at.pop(int(found[1].replace(b",", b"")), None)
                    if told is not None:
                        waited.append(1000 * (now - told))
                looked_to = max(looked_to, len(screen.drawn) - FRAME_TEXT_MAX)
    took = time.monotonic() - began
    share, rate = 100 * (cpu_s_of(process.pid) - cpu) / took, (len(screen.drawn) - size) / took / 1000
    told = ""
    if len(waited) > 2:
        told = (
            f"frame->screen p50 {median(waited):4.0f} p95 {quantiles(waited, n=20)[-1]:4.0f} max {max(waited):4.0f} ms"
        )
    print(f"{name:10} CPU {share:5.1f} %  {rate:6.1f} kB/s  RSS {process.memory_info().rss / 1e6:4.0f} MB  {told}")


async def main(seconds: float) -> None:
    with tempfile.TemporaryDirectory() as folder:
        async with broker(Path(folder)) as nats:
            bus = await connect(nats.url, name="made-up cluster")
            cluster = Timed(bus, World())
            task = asyncio.create_task(cluster.run())
            began = time.monotonic()
            async with terminal("tui", "--url", nats.url) as screen:
                await started(screen, began)
                await asyncio.sleep(3)
                for key, name in ((b"1", "Overview"), (b"2", "Servers"), (b"3", "Tasks")):
                    screen.press(key)
                    await asyncio.sleep(1)
                    await measured(screen, cluster, name, seconds)
                screen.press(b"2")
                await asyncio.sleep(1)
                await key_to_screen(screen)
                cluster.is_silent = True
                await asyncio.sleep(8)
                await measured(screen, cluster, "no frames", seconds)
            task.cancel()
            await bus.close()


async def started(screen: Terminal, began: float) -> None:
    after_s = []
    for words in ("connecting", "1 Overview", "● live"):
        await screen.draws(words.encode())
        after_s.append(time.monotonic() - began)
    hello, skeleton, numbers = after_s
    print(f"start: first byte {hello:.2f} s, skeleton {skeleton:.2f} s (<= 1.0), numbers {numbers:.2f} s (<= 1.3)")
    print(f"       CPU by then {cpu_s_of(screen.process.pid):.2f} s (<= 1.2)")


if __name__ == "__main__":
    asyncio.run(main(float(sys.argv[1]) if len(sys.argv) > 1 else SECONDS))
