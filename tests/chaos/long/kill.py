"""The long form of the kill test, by hand: `python -m tests.chaos.long.kill --rounds 100 --tasks 1000 --seed 1`."""

import argparse
import asyncio
import json
import sys
import time
from collections import Counter
from random import Random

from tests.chaos.rounds import VICTIMS, kill_round
from tests.support.system_up import SystemUp, system_up


async def rounds(system: SystemUp, options: argparse.Namespace) -> int:
    """How many rounds broke a promise."""
    rng, broken, total = Random(options.seed), 0, Counter[str]()
    for number in range(options.rounds):
        victim = rng.choice(options.victims)
        began_s = time.monotonic()
        verdict = await kill_round(system, victim, options.tasks, Random(rng.random()), f"k{number}-{victim}")
        total["acked"] += len_of(verdict.numbers, "acked")
        total["called more than once"] += len_of(verdict.numbers, "called more than once")
        total[victim] += 1
        print(f"{number} {victim} {time.monotonic() - began_s:.1f} s {json.dumps(verdict.numbers)}", flush=True)
        if verdict.broken:
            broken += 1
            print("\n".join(["BROKEN", *verdict.broken, system.tails()]), flush=True)
    print(f"{options.rounds} rounds, {broken} broken, {dict(total)}")
    print("\n".join(sorted(set(system.outcries()))))
    return broken


def len_of(numbers: dict[str, object], name: str) -> int:
    value = numbers[name]
    assert isinstance(value, int)
    return value


async def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--tasks", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--victims", nargs="+", choices=VICTIMS, default=VICTIMS)
    options = parser.parse_args()
    async with system_up() as system:
        return await rounds(system, options)


if __name__ == "__main__":
    sys.exit(1 if asyncio.run(main()) else 0)
