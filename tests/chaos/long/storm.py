"""Faults in seeded order until so many calls have been made: `make chaos CHAOS_ARGS="--attempts 1000000 --seed 2"`.

Prints what the servers saw at most at a time against their limits, and how long dispatch was silent per kind of fault.
"""

import argparse
import asyncio
import json
import sys
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from random import Random
from statistics import median

from tests.chaos.faults import FAULTS
from tests.chaos.load import Load
from tests.chaos.storm import CALLS_BACK, KINDS, RESUMES_WITHIN_S, Step, Told, storm
from tests.support.pieces import pieces

SECONDS = (1.0, 20.0)
"""How long something is frozen or cut off."""
BROKER_SECONDS_MAX = 10.0


def steps(options: argparse.Namespace, rng: Random, load: Load) -> Iterator[Step]:
    """Until the tasks, the faults or the minutes are used up."""
    until_s = time.monotonic() + options.minutes * 60
    made = 0
    while len(load.watched.ended) < options.attempts and made < options.faults and time.monotonic() < until_s:
        fault, made = rng.choice(options.only), made + 1
        most = BROKER_SECONDS_MAX if fault.startswith("broker") else SECONDS[1]
        yield Step(fault, round(options.seconds or rng.uniform(SECONDS[0], most), 1))


def distribution(told: Sequence[Told]) -> Iterator[str]:
    by_fault: defaultdict[str, list[float]] = defaultdict(list)
    for one in told:
        by_fault[one.step.fault].append(one.silence_s)
    for fault, silences in sorted(by_fault.items()):
        low, middle, high = min(silences), median(silences), max(silences)
        yield f"{fault:<18} {len(silences):>4} times, silent {low:.2f} / {middle:.2f} / {high:.2f} s (least, median, most)"


async def run(options: argparse.Namespace) -> int:
    """How many promises were broken."""
    rng = Random(options.seed)
    async with pieces(balancers=options.balancers, gateway=True) as system:
        verdict, told = await storm(
            system, (*KINDS, CALLS_BACK), lambda load: steps(options, rng, load), rng, backlog=options.backlog
        )
        outcries = system.outcries()
        slow = [str(one) for one in told if one.is_of_leader and one.silence_s > RESUMES_WITHIN_S]
    print(json.dumps(verdict.numbers, indent=1, ensure_ascii=False))
    print("\n".join(distribution(told)))
    for title, lines in (("BROKEN", verdict.broken), ("SLOW", slow), ("OUTCRIES", outcries)):
        if lines:
            print("\n".join([title, *lines]))
    return len(verdict.broken) + len(slow) + len(outcries)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--attempts", type=int, default=100_000, help="stop after so many tasks are done")
    parser.add_argument("--faults", type=int, default=1_000_000, help="stop after so many faults")
    parser.add_argument("--minutes", type=float, default=24 * 60.0, help="stop after so many minutes")
    parser.add_argument("--only", nargs="+", choices=tuple(FAULTS), default=tuple(FAULTS), metavar="FAULT")
    parser.add_argument("--seconds", type=float, help="length of each fault instead of one drawn")
    parser.add_argument("--balancers", type=int, default=2)
    parser.add_argument("--backlog", type=int, default=300)
    parser.add_argument("--seed", type=int, default=1)
    return asyncio.run(run(parser.parse_args()))


if __name__ == "__main__":
    sys.exit(1 if main() else 0)
