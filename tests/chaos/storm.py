"""One fault after the other under load; then everything must have ended once, within the limits, with all slots free."""

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from random import Random

from tests.chaos.faults import FAULTS
from tests.chaos.load import Kind, Load, at_rest, judged, servers
from tests.support.checker import Verdict
from tests.support.pieces import Pieces

KINDS = (
    Kind("one", "stubborn:5", 1),
    Kind("three", "slow:10", 3, {"cancel_on_disconnect": True}),
    Kind("ten", "stubborn:20", 10),
)
CALLS_BACK = Kind("later", "accepted:10", 3)
TIMEOUT_MS = 8_000
CALM_S = 1.0
LOOK_S = 7.5
RESUMES_WITHIN_S = 7.0
"""The promise for a leader that is gone (RELIABILITY.md, F6)."""
ENDED_WITHIN_S = 90.0
AT_REST_WITHIN_S = 60.0


@dataclass(frozen=True)
class Step:
    """A fault of `seconds`; without a length for those that have none."""

    fault: str
    seconds: float = 0.0


@dataclass(frozen=True)
class Told:
    """What was seen of one fault: the longest time without a hand-over, from the fault on or from its end."""

    step: Step
    silence_s: float

    @property
    def is_of_leader(self) -> bool:
        return self.step.fault.startswith("leader") or self.step.fault == "answers lost"

    def __str__(self) -> str:
        return f"{self.step.fault} {self.step.seconds:g} s: dispatch silent for {self.silence_s:.2f} s"


type Plan = Callable[[Load], Iterable[Step]]
"""What is to happen next, in view of what has been done."""


async def storm(
    system: Pieces, kinds: Sequence[Kind], plan: Plan, rng: Random, *, backlog: int
) -> tuple[Verdict, list[Told]]:
    """Goes through the plan under load, lets all of it end, then judges."""
    load, told = Load(system, backlog=backlog, timeout_ms=TIMEOUT_MS), []
    async with servers(system, kinds) as limited:
        await load.watched.watch(system)
        work = asyncio.create_task(load.run())
        try:
            for step in plan(load):
                told.append(await _suffer(system, load, step, rng))
                print(f"{len(load.watched.ended):>7} done, {told[-1]}", flush=True)
        finally:
            load.stop()
            await work
        tasks = await load.all_ended(within_s=ENDED_WITHIN_S)
        ended_s = time.monotonic()
        verdict = await judged(load, tasks, limited)
        try:
            await at_rest(system, within_s=AT_REST_WITHIN_S)
        except AssertionError as error:
            verdict.broken.append(str(error))
        verdict.numbers["all slots free after"] = round(time.monotonic() - ended_s, 1)
    verdict.numbers |= {
        "leaders": system.count("leadership won", '"balancer"'),
        "late outcomes refused": system.count("late outcome refused"),
    }
    return verdict, told


async def _suffer(system: Pieces, load: Load, step: Step, rng: Random) -> Told:
    await asyncio.sleep(CALM_S)
    epoch = load.watched.epoch
    since_s = await FAULTS[step.fault](system, step.seconds, rng)
    if step.fault.startswith("leader"):
        await _follow_up(load, epoch, since_s + LOOK_S)
    await asyncio.sleep(CALM_S)
    return Told(step, load.watched.silence_s(since_s, time.monotonic()))


async def _follow_up(load: Load, epoch: int, until_s: float) -> None:
    """Until another leader hands over; the old one goes on when its trouble was short."""
    while load.watched.epoch == epoch and time.monotonic() < until_s:
        await asyncio.sleep(0.05)
