"""Who may serve, and with how many slots, by the operator's word and the health machine's (BALANCING.md §2, §3). Pure."""

import math
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


def means_the_same(one: ServerHealth, other: ServerHealth) -> bool:
    """For who may serve, and with how many slots."""
    return _telling(one) == _telling(other)


def _telling(one: ServerHealth) -> tuple[HealthState, int, int, bool]:
    return one.state, one.since, one.registered_at, one.readmitted


class Count(NamedTuple):
    """Servers that are wanted, those of them that warm up, and the slots of all and of those in good health.

    What serves again only because of a panic is not in good health, else each panic would end itself.
    """

    wanted: int = 0
    warming: int = 0
    capacity: int = 0
    left: int = 0


class Census:
    """The servers of one pool, counted; each is counted anew when it changes."""

    def __init__(self) -> None:
        self._counted: dict[str, Count] = {}
        self._total = Count()

    def count(self, server_id: str, one: Standing) -> None:
        before, now = self._counted.get(server_id, Count()), _count(one)
        self._counted[server_id] = now
        self._total = Count(*(total - b + n for total, b, n in zip(self._total, before, now, strict=True)))

    def terms(self, known_since: int | None) -> Terms:
        """`known_since`: when this process began to know the fleet, in ms since the epoch.

        A fleet that has just been found, and one that is warming by more than half, starts at full speed: nobody else
        could take the load. With less than half of its capacity left a pool panics: what is only suspected serves too.
        """
        total = self._total
        is_slow = known_since is not None and total.warming * 2 <= total.wanted
        return Terms(
            panic=total.left < total.capacity * PANIC_BELOW,
            slow_start_from=known_since + SLOW_START_MS if is_slow and known_since is not None else math.inf,
        )


def _count(one: Standing) -> Count:
    if not one.is_wanted:
        return Count()
    slots, state = one.config.max_concurrent, one.state
    is_left = state in EVER and not one.health.readmitted
    return Count(1, int(state is HealthState.WARMING), slots, slots if is_left else 0)


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
