"""What the cockpit costs: CPU of decoding, folding and drawing. `python -m tests.benchmarks.cockpit`

Each figure is the least of several rounds, for the machine may be busy with something else; the limits are those of the
design (A11-A14) and hold on an idle core.
"""

import asyncio
import time
from collections.abc import Callable

from pointsman.contracts.frames import decode_frame, encode_frame
from pointsman.tui.model import Model
from pointsman.tui.moments import Moments
from pointsman.tui.screens.servers import ServersScreen
from tests.support.cockpit_world import World
from tests.support.cockpits import Seat, cockpit

ROUNDS = 30
SECONDS_KEPT = 120
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


def replay() -> None:
    world, model, moments = World(), Model(), Moments()
    model.fold(world.whole())
    for _ in range(5 * SECONDS_KEPT):
        model.fold(world.step())
        moments.note(model)
    world.at += 1_000
    model.fold(world.whole())
    kept = 1000 * best_ms(lambda: Moments().note(model), 20)
    at = world.at - 1_000 * SECONDS_KEPT // 2
    print(
        f"keep a second                    {kept:8.0f} us, {moments.size // SECONDS_KEPT:6,} bytes: an hour is "
        f"{3600 * moments.size / SECONDS_KEPT / 1e6:.0f} MB, at most 32"
    )
    print(
        f"seek                             {best_ms(lambda: moments.model_at(at, model.news), 50):8.1f} ms      limit 50"
    )


async def drawn(seat: Seat, changed: int | None, screen: str) -> float:
    """CPU in ms per frame at 5 Hz, from its arrival to what would go to a terminal, clock and all."""
    await seat.press(screen)
    await asyncio.sleep(2.5)
    frames = [seat.world.step(changed) for _ in range(ROUNDS)]
    began = time.process_time()
    for frame in frames:
        seat.source.frame(frame)
        await asyncio.sleep(0.2)
    return 1000 * (time.process_time() - began) / ROUNDS


async def screens() -> None:
    for servers, changed, screen, name in (
        (200, None, "2", "Servers, 200 of 200 changed"),
        (200, 1, "2", "Servers, 1 of 200 changed"),
        (1_000, None, "2", "Servers, 1,000 of 1,000 changed"),
        (200, None, "1", "Overview, 200 of 200 changed"),
    ):
        async with cockpit(World(servers=servers)) as seat:
            cpu = await drawn(seat, changed, screen)
            print(f"{name:32} {cpu:8.1f} ms a frame, {cpu / 2:4.1f} % at 5 Hz")


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
    replay()
    table_alone()
    asyncio.run(screens())
