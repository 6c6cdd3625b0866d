"""Breadth first through every state; the first broken property comes with a shortest way to it."""

import gc
from collections import deque
from dataclasses import dataclass

from tests.protocol.properties import Ending, broken
from tests.protocol.rules import Bounds, Rules, Windows
from tests.protocol.world import State, World


@dataclass(frozen=True, slots=True)
class Verdict:
    """`states` were seen; `is_complete` when there are no more. `broken` is empty when all held."""

    states: int
    is_complete: bool
    broken: str = ""
    trace: tuple[str, ...] = ()


def check(
    bounds: Bounds,
    rules: Rules = Rules(),
    windows: Windows = Windows(),
    *,
    states_max: int,
    endings: bool = True,
    start: tuple[str, ...] = (),
) -> Verdict:
    """Explore up to `states_max` states from where the steps `start` lead; `endings` says whether to try from each
    whether everything ends (P3, P5)."""
    gc.disable()
    try:
        return _explore(World(bounds, rules, windows), states_max, endings, start)
    finally:
        gc.enable()


def _explore(world: World, states_max: int, endings: bool, start: tuple[str, ...]) -> Verdict:
    first, ending = world.first(), Ending(world)
    for name in start:
        first = dict(world.steps(first))[name]
    origin: dict[State, tuple[State, str] | None] = {first: None}
    queue = deque([first])
    while queue:
        state = queue.popleft()
        wrong = broken(state, world.bounds) or (ending.fault(state) if endings else "")
        if wrong:
            return Verdict(len(origin), False, wrong, start + _trace(origin, state))
        if len(origin) >= states_max:
            continue
        for name, after in world.steps(state):
            if after not in origin:
                origin[after] = (state, name)
                queue.append(after)
    return Verdict(len(origin), len(origin) < states_max)


def _trace(origin: dict[State, tuple[State, str] | None], state: State) -> tuple[str, ...]:
    names: list[str] = []
    while (came := origin[state]) is not None:
        state, name = came
        names.append(name)
    return tuple(reversed(names))
