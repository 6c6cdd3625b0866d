"""Whatever is killed, the cockpit stays and comes back: `python -m tests.chaos.long.cockpit [--kills 20] [--seed 1]`.

Kills the broker, the process that tells frames, the gateway or the balancer of a running system, in seeded order, while a
cockpit looks on from a terminal. Exits with 1 when it ended, showed a traceback or did not get live again.
"""

import argparse
import asyncio
import re
from collections import Counter
from random import Random

from tests.benchmarks.cockpit_live import load, register
from tests.benchmarks.processes import child
from tests.support.system_up import system_up
from tests.support.terminal import Terminal, terminal

VICTIMS = ("nats", "history-statistics", "gateway", "balancer")
LIVE = re.compile(rb"live 0\.\d s")
NOTICED_S, AGAIN_S_MAX = 4.0, 60.0


async def live_again(screen: Terminal) -> None:
    """After so long that silence would have been noticed."""
    await asyncio.sleep(NOTICED_S)
    since = len(screen.drawn)
    async with asyncio.timeout(AGAIN_S_MAX):
        while not LIVE.search(bytes(screen.drawn[since:])):
            assert screen.process.returncode is None, f"the cockpit ended with {screen.process.returncode}"
            await asyncio.sleep(0.05)


async def main(options: argparse.Namespace) -> int:
    rng = Random(options.seed)
    killed: Counter[str] = Counter()
    async with (
        system_up() as system,
        system.client("ann", "admin") as admin,
        child("tests.support.fleet") as (_, port),
    ):
        await register(admin, 10, port)
        async with load(admin, 10, may_fail=True), terminal("tui", "--data-dir", str(system.data_dir)) as screen:
            await screen.draws(b"live")
            for _ in range(options.kills):
                victim = rng.choice(VICTIMS)
                screen.press(rng.choice((b"1", b"2", b"3", b"4", b"5", b"6")))
                old = system.kill(victim)
                await system.restarted(victim, old)
                await live_again(screen)
                killed[victim] += 1
                print(f"{victim} killed, live again", flush=True)
            assert b"Traceback" not in screen.drawn
            screen.press(b"q")
            code = await asyncio.wait_for(screen.process.wait(), 20)
    print(f"killed {dict(killed)}; the cockpit ended with {code}")
    return code


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    raise SystemExit(asyncio.run(main(parser.parse_args())))
