"""How long a server stays out, and how much of a pool may be taken out for what its tasks tell. Pure."""

from collections.abc import Iterable
from random import Random
from typing import NamedTuple

from pointsman.contracts.server import HealthState, ServerHealth
from pointsman.services.instance.health_table import BY_TASKS, ELIGIBLE

FIRST_S, MAX_S, JITTER = 10.0, 300.0, 0.2
FORGIVEN_MS = 60_000
EJECTED_MAX = 0.3
PANIC_BELOW = 0.5


def ejection_s(ejections: int, rng: Random) -> float:
    """`min(300 s, 10 s * 2^(n-1))`, +-20 %; nothing for n = 0."""
    if ejections <= 0:
        return 0.0
    return min(MAX_S, FIRST_S * 2.0 ** min(ejections - 1, 16)) * rng.uniform(1 - JITTER, 1 + JITTER)


def forgiven(health: ServerHealth, now: int) -> int:
    """The ejections that still count: one less for each full minute in HEALTHY; `now` in ms since the epoch."""
    if health.state is not HealthState.HEALTHY:
        return health.ejections
    return max(0, health.ejections - max(0, now - health.since) // FORGIVEN_MS)


class Member(NamedTuple):
    """A server that is wanted, with its capacity in slots."""

    capacity: int
    health: ServerHealth


class Share(NamedTuple):
    """The capacity of a pool in slots; servers that were never proven do not count."""

    total: int = 0
    eligible: int = 0
    ejected: int = 0

    @property
    def is_panic(self) -> bool:
        return self.eligible < self.total * PANIC_BELOW

    def may_eject(self, capacity: int) -> bool:
        """At most 30 %, but one server always; and never into a panic, which would only bring it back."""
        is_within = self.ejected == 0 or self.ejected + capacity <= self.total * EJECTED_MAX
        return is_within and not self._replace(eligible=self.eligible - capacity).is_panic


def share_of(pool: Iterable[Member]) -> Share:
    """Who is back only because of the panic is not counted as eligible, else each panic would end itself."""
    total = eligible = ejected = 0
    for capacity, health in pool:
        if health.state is HealthState.NEW:
            continue
        total += capacity
        if health.state in ELIGIBLE and not health.readmitted:
            eligible += capacity
        if is_ejected(health):
            ejected += capacity
    return Share(total, eligible, ejected)


def is_ejected(health: ServerHealth) -> bool:
    """Whether it is out, or on its one slot, for what its tasks told."""
    return health.state in (HealthState.UNHEALTHY, HealthState.RECOVERING) and health.cause in BY_TASKS
