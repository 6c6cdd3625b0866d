"""What the cockpit costs: CPU of drawing, decoding and folding, bytes to the terminal. `python -m tests.benchmarks.cockpit`

Each figure is the least of several rounds, for the machine may be busy with something else; the limits are those of the
design (A11-A14) and hold on an idle core.
"""

import asyncio
import io
import time
from collections.abc import Callable
from statistics import median

from pointsman.contracts.frames import decode_frame, encode_frame
from pointsman.tui.model import Model
from pointsman.tui.screens.servers import ServersScreen
from tests.support.cockpit_world import World
from tests.support.cockpits import Seat, cockpit

ROUNDS = 30
WARM_UP = 5


def best_ms(work: Callable[[], object], times: int = 200) -> float:
    best = float("inf")
    for _ in range(times):
        began = time.process_time()
        work()
        best = min(best, time.process_time() - began)
    return 1000 * best


def codec() -> None:
    world = World()
    model = Model()
    model.fold(world.whole())
    data = encode_frame(world.step())
    print(f"frame of 200 changed servers     {len(data):8,} bytes   limit 20,000")
    print(f"decode                           {1000 * best_ms(lambda: decode_frame(data)):8.0f} us      limit 150")
    frames = [world.step() for _ in range(200)]
    one = iter(frames)
    print(f"fold                             {1000 * best_ms(lambda: model.fold(next(one))):8.0f} us")


async def drawn(seat: Seat, changed: int | None, screen: str) -> tuple[float, float]:
    """CPU in ms per frame from its arrival to the finished drawing, and bytes it would send to a terminal."""
    await seat.press(screen)
    await seat.pilot.pause(0.5)
    cpu: list[float] = []
    size: list[int] = []
    for number in range(WARM_UP + ROUNDS):
        frame = seat.world.step(changed)
        written = Written(seat)
        began = time.process_time()
        seat.source.frame(frame)
        draws = seat.app.draws
        while seat.app.draws == draws:
            await asyncio.sleep(0)
        await seat.pilot.pause()
        if number >= WARM_UP:
            cpu.append(1000 * (time.process_time() - began))
            size.append(written.taken())
        await asyncio.sleep(0.12)
    return median(cpu), median(size)


class Written:
    """What goes to the terminal since it was made."""

    def __init__(self, seat: Seat) -> None:
        self.buffer = io.StringIO()
        driver = seat.app._driver
        assert driver is not None
        driver.write = self.buffer.write  # type: ignore[method-assign, assignment]

    def taken(self) -> int:
        return len(self.buffer.getvalue().encode())


async def screens() -> None:
    for servers, changed, screen, name, limit in (
        (200, None, "2", "Servers, 200 of 200 changed", 15),
        (200, 1, "2", "Servers, 1 of 200 changed", 4),
        (10_000, 1, "2", "Servers, 1 of 10,000 changed", 4),
        (200, None, "1", "Overview, 200 of 200 changed", None),
    ):
        async with cockpit(World(servers=servers)) as seat:
            seat.app._filters.clear()
            cpu, size = await drawn(seat, changed, screen)
            told = f"limit {limit} ms" if limit else ""
            print(f"{name:32} {cpu:8.1f} ms      {size:8,.0f} bytes a frame   {told}")


def table_alone() -> None:
    """A12 and A11 as they were measured for the design: the table's own lines, without the rest of the screen."""

    async def run() -> None:
        for servers in (200, 10_000):
            async with cockpit(World(servers=servers)) as seat:
                await seat.press("2")
                await seat.pilot.pause(0.5)
                screen = seat.app.screen
                assert isinstance(screen, ServersScreen)
                for changed in (200, 1):
                    if (servers, changed) == (10_000, 200):
                        continue
                    cpu = []
                    for _ in range(WARM_UP + ROUNDS):
                        seat.app.model.fold(seat.world.step(changed))
                        began = time.process_time()
                        screen.draw()
                        for y in range(screen.table.size.height):
                            screen.table.render_line(y)
                        cpu.append(1000 * (time.process_time() - began))
                    print(f"table: {changed:3} of {servers:6,} changed     {min(cpu):8.1f} ms")

    asyncio.run(run())


if __name__ == "__main__":
    codec()
    table_alone()
    asyncio.run(screens())
