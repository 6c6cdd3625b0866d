"""Who may serve, and with how many slots, by the operator's word and the health machine's (BALANCING.md §2, §3). Pure."""

import math
from collections.abc import Iterable
from typing import NamedTuple

from pointsman.contracts.server import HealthState, ServerAdmin, ServerConfig, ServerHealth, Wanted

SLOW_START_MS = 30_000
SLOW_START_FROM_MS = SLOW_START_MS // 10
HALF_OPEN_SLOTS = 1
PANIC_BELOW = 0.5
EVER = frozenset({HealthState.HEALTHY, HealthState.WARMING, HealthState.RECOVERING})
IN_PANIC = EVER | {HealthState.SUSPECT}


class Terms(NamedTuple):
    """What holds for a whole pool: whether suspects must serve too, and since when (ms) returning servers start slowly."""

    panic: bool = False
    slow_start_from: float = math.inf


class Standing(NamedTuple):
    """What is known of one server."""

    config: ServerConfig
    admin: ServerAdmin
    health: ServerHealth

    @property
    def state(self) -> HealthState:
        """What is stored of an earlier registration does not count."""
        return self.health.state if self.health.registered_at == self.config.registered_at else HealthState.NEW

    @property
    def is_wanted(self) -> bool:
        return self.admin.wanted is Wanted.ACTIVE

    def is_healthy(self, terms: Terms) -> bool:
        return self.state in (IN_PANIC if terms.panic else EVER)


def terms(pool: Iterable[Standing], known_since: int | None) -> Terms:
    """`known_since`: when this process began to know the fleet, in ms since the epoch.

    A fleet that has just been found, and one that is warming by more than half, starts at full speed: nobody else could
    take the load. With less than half of its capacity left a pool panics: what is only suspected serves as well.
    """
    wanted = [one for one in pool if one.is_wanted]
    warming = sum(one.state is HealthState.WARMING for one in wanted)
    capacity = sum(one.config.max_concurrent for one in wanted)
    left = sum(one.config.max_concurrent for one in wanted if one.state in EVER)
    is_ramped = known_since is not None and warming * 2 <= len(wanted)
    return Terms(
        panic=left < capacity * PANIC_BELOW,
        slow_start_from=known_since + SLOW_START_MS if is_ramped and known_since is not None else math.inf,
    )


def allowance(one: Standing, terms: Terms, now: int) -> tuple[int, int | None]:
    """Slots that health allows, and when (ms since the epoch) it allows the next one."""
    most = one.config.max_concurrent
    if one.state is HealthState.RECOVERING:
        return min(HALF_OPEN_SLOTS, most), None
    if one.state is HealthState.WARMING and one.health.since >= terms.slow_start_from:
        return _slow_start(most, one.health.since, now)
    return most, None


def _slow_start(most: int, since: int, now: int) -> tuple[int, int | None]:
    """`ceil(most * max(0.1, t / 30 s))`, in whole numbers."""
    passed = max(SLOW_START_FROM_MS, now - since)
    slots = min(most, -(-most * passed // SLOW_START_MS))
    return slots, None if slots == most else since + slots * SLOW_START_MS // most + 1
