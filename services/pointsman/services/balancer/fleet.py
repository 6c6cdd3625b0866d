"""The servers as the balancer sees them: what is wanted, what is seen, how many slots are free."""

import math
from collections.abc import Iterator
from random import Random

from pointsman.contracts.balancer import Algorithm, ServerLoad
from pointsman.contracts.record import Attempt
from pointsman.contracts.server import HealthState, ServerAdmin, ServerConfig, ServerHealth, Wanted
from pointsman.services.balancer.entry import Requirement
from pointsman.services.balancer.estimator import Estimator
from pointsman.services.balancer.gate import Wait
from pointsman.services.balancer.limits import EffectiveLimit
from pointsman.services.balancer.policies import Policy, Wish, make
from pointsman.services.balancer.slots import Slots

SERVING = frozenset({HealthState.HEALTHY, HealthState.WARMING})
BACKPRESSURE = frozenset({429, 503})


class ServerState:
    """One server: implements `policies.Candidate`."""

    __slots__ = ("_slots", "admin", "capabilities", "config", "effective", "estimator", "health", "id", "ordinal")

    def __init__(self, config: ServerConfig, slots: Slots) -> None:
        self._slots = slots
        self.id = config.id
        self.ordinal = 0
        self.admin = ServerAdmin()
        self.health = ServerHealth()
        self.estimator = Estimator()
        self.effective = EffectiveLimit(config.max_concurrent)
        self.configure(config)

    def configure(self, config: ServerConfig) -> None:
        self.config = config
        self.capabilities = frozenset(config.capabilities)
        self.effective.resize(config.max_concurrent)

    @property
    def weight(self) -> int:
        return self.config.weight

    @property
    def limit(self) -> int:
        return self.effective.value

    @property
    def active(self) -> int:
        return self._slots.active(self.id)

    @property
    def serves(self) -> bool:
        """Whether operator and health let new tasks in."""
        return self.admin.wanted is Wanted.ACTIVE and self.is_healthy

    @property
    def is_healthy(self) -> bool:
        """What is stored of an earlier registration does not count."""
        return self.health.state in SERVING and self.health.registered_at == self.config.registered_at

    def has_slot(self, now: int) -> bool:
        return self.serves and self.effective.held_until <= now and self._slots.active(self.id) < self.effective.value


class Fleet:
    def __init__(self, slots: Slots) -> None:
        self._slots = slots
        self._servers: dict[str, ServerState] = {}
        self._admins: dict[str, ServerAdmin] = {}
        self._healths: dict[str, ServerHealth] = {}
        self._matching: dict[Requirement, list[ServerState]] = {}
        self._policies: dict[str, tuple[Algorithm, Policy]] = {}

    def __len__(self) -> int:
        return len(self._servers)

    def __iter__(self) -> Iterator[ServerState]:
        return iter(self._servers.values())

    def get(self, server_id: str) -> ServerState | None:
        return self._servers.get(server_id)

    def configure(self, config: ServerConfig) -> None:
        server = self._servers.get(config.id)
        if server is None:
            server = self._servers[config.id] = ServerState(config, self._slots)
            server.admin = self._admins.get(config.id, ServerAdmin())
            server.health = self._healths.get(config.id, ServerHealth())
        else:
            server.configure(config)
        self._reorder()

    def remove(self, server_id: str) -> None:
        self._servers.pop(server_id, None)
        self._reorder()

    def set_admin(self, server_id: str, admin: ServerAdmin | None) -> None:
        self._admins[server_id] = admin or ServerAdmin()
        if admin is None:
            del self._admins[server_id]
        if server_id in self._servers:
            self._servers[server_id].admin = admin or ServerAdmin()

    def set_health(self, server_id: str, health: ServerHealth | None) -> None:
        self._healths[server_id] = health or ServerHealth()
        if health is None:
            del self._healths[server_id]
        if server_id in self._servers:
            self._servers[server_id].health = health or ServerHealth()

    def set_algorithm(self, pool: str, algorithm: Algorithm) -> None:
        if self._policies.get(pool, (None, None))[0] is not algorithm:
            self._policies[pool] = (algorithm, make(algorithm))

    def algorithm(self, pool: str) -> Algorithm:
        return self._policies[pool][0] if pool in self._policies else Algorithm.RESPONSE_TIME

    def policy(self, pool: str) -> Policy:
        if pool not in self._policies:
            self.set_algorithm(pool, Algorithm.RESPONSE_TIME)
        return self._policies[pool][1]

    def matching(self, requirement: Requirement) -> list[ServerState]:
        """Servers of the pool that have all the capabilities, whatever their state."""
        servers = self._matching.get(requirement)
        if servers is None:
            pool, capabilities = requirement
            servers = [s for s in self._servers.values() if s.config.pool == pool and capabilities <= s.capabilities]
            servers.sort(key=lambda server: server.ordinal)
            self._matching[requirement] = servers
        return servers

    def eligible(self, requirement: Requirement, now: int) -> list[ServerState]:
        """Matching servers with a free slot, of the highest priority tier that has any."""
        free = [server for server in self.matching(requirement) if server.has_slot(now)]
        if len(free) < 2:
            return free
        top = max(server.config.priority for server in free)
        return [server for server in free if server.config.priority == top]

    def has_free(self, requirement: Requirement, now: int) -> bool:
        return any(server.has_slot(now) for server in self.matching(requirement))

    def pick(
        self, requirement: Requirement, wish: Wish, now: int, now_s: float, rng: Random, *, avoid: str | None = None
    ) -> ServerState | None:
        eligible = self.eligible(requirement, now)
        if not eligible:
            return None
        if avoid is not None and len(eligible) > 1:
            eligible = [server for server in eligible if server.id != avoid] or eligible
        return self.policy(requirement[0]).pick(eligible, wish, now_s, rng)

    def wait(self, requirement: Requirement, wish: Wish, now: int) -> Wait:
        return Wait(until=now + 1_000)

    def free_slots(self, server_id: str) -> float:
        server = self._servers.get(server_id)
        if server is None or not server.serves:
            return math.inf
        return max(0, server.limit - server.active)

    def refusals(self, server: ServerState, requirement: Requirement, now: int) -> tuple[str, ...]:
        missing = tuple(f"lacks {name}" for name in sorted(requirement[1] - server.capabilities))
        return missing if missing or server.has_slot(now) else ("no slot",)

    def observe(self, task_type: str, attempt: Attempt, now_s: float) -> None:
        """Learn from an ended attempt: service time, backpressure, faults."""
        server = self._servers.get(attempt.server_id)
        if server is None:
            return
        elapsed = attempt.finished_at - attempt.started_at
        if attempt.outcome == "succeeded":
            server.effective.answered()
            server.estimator.succeeded(task_type, elapsed, now_s)
        elif attempt.http_status in BACKPRESSURE and attempt.outcome == "lost":
            server.effective.refused(attempt.retry_after_ms, attempt.finished_at)
        elif attempt.server_fault:
            server.effective.faulted(attempt.finished_at)
        if attempt.outcome in ("failed", "timed-out") or attempt.server_fault:
            server.estimator.failed(task_type, elapsed, attempt.retry_after_ms or 0, now_s)

    def loads(self, now_s: float) -> dict[str, ServerLoad]:
        return {server.id: _load(server, now_s) for server in self._servers.values()}

    def tick(self, now_s: float) -> None:
        for server in self._servers.values():
            server.effective.tick(server.active, now_s)

    def earliest_hold(self, now: int) -> int | None:
        """When the next held server opens again, in ms since the epoch."""
        return min((s.effective.held_until for s in self if s.effective.held_until > now), default=None)

    def _reorder(self) -> None:
        self._matching.clear()
        for ordinal, server_id in enumerate(sorted(self._servers)):
            self._servers[server_id].ordinal = ordinal


def _load(server: ServerState, now_s: float) -> ServerLoad:
    estimate = server.estimator.read_ms("", now_s)
    return ServerLoad(
        load=server.active / server.limit,
        active_tasks=server.active,
        weight=server.weight,
        effective_limit=server.limit,
        healthy=server.is_healthy,
        pool=server.config.pool,
        estimate_ms=estimate or None,
    )
