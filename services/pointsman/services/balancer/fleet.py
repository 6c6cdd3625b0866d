"""The servers as the balancer sees them: what is wanted, what is seen, which can take a task now."""

import math
from collections.abc import Iterator
from random import Random

from pointsman.contracts.balancer import Algorithm, ServerLoad
from pointsman.contracts.limits import PoolSettings
from pointsman.contracts.record import Attempt
from pointsman.contracts.server import ServerAdmin, ServerConfig, ServerHealth
from pointsman.contracts.task import Choice
from pointsman.services.balancer import refusals
from pointsman.services.balancer.entry import Requirement
from pointsman.services.balancer.gate import Wait
from pointsman.services.balancer.policies import Wish
from pointsman.services.balancer.pool import Pool
from pointsman.services.balancer.server_state import ServerState
from pointsman.services.balancer.serving import means_the_same
from pointsman.services.balancer.slots import Slots

__all__ = ["Fleet", "ServerState"]


class Fleet:
    """Folded from the buckets; `now` is ms since the epoch, `now_s` monotonic."""

    def __init__(self, slots: Slots) -> None:
        self._slots = slots
        self._servers: dict[str, ServerState] = {}
        self._pools: dict[str, Pool] = {}
        self._admins: dict[str, ServerAdmin] = {}
        self._healths: dict[str, ServerHealth] = {}
        self._known_since: int | None = None
        self._now = 0
        slots.watch(self._slots_changed)

    def __len__(self) -> int:
        return len(self._servers)

    def __iter__(self) -> Iterator[ServerState]:
        self.settle(self._now)
        return iter(self._servers.values())

    def get(self, server_id: str) -> ServerState | None:
        self.settle(self._now)
        return self._servers.get(server_id)

    def configure(self, config: ServerConfig) -> None:
        server = self._servers.get(config.id)
        if server is None:
            server = self._servers[config.id] = ServerState(config, self._slots.active(config.id))
            server.admin = self._admins.get(config.id, ServerAdmin())
            server.health = self._healths.get(config.id, ServerHealth())
        elif server.config.pool != config.pool:
            self._pools[server.config.pool].leave(server.id)
        server.configure(config)
        self._pool(config.pool).join(server)

    def remove(self, server_id: str) -> None:
        server = self._servers.pop(server_id, None)
        if server is not None:
            self._pools[server.config.pool].leave(server_id)

    def set_admin(self, server_id: str, admin: ServerAdmin | None) -> None:
        self._admins[server_id] = admin or ServerAdmin()
        if server_id in self._servers:
            self._servers[server_id].admin = self._admins[server_id]
            self._pool_of(server_id).reconsider(self._servers[server_id])
        if admin is None:
            del self._admins[server_id]

    def set_health(self, server_id: str, health: ServerHealth | None) -> None:
        before, now = self._healths.get(server_id, ServerHealth()), health or ServerHealth()
        self._healths[server_id] = now
        if server_id in self._servers:
            self._servers[server_id].health = now
            if not means_the_same(before, now):
                self._pool_of(server_id).reconsider(self._servers[server_id])
        if health is None:
            del self._healths[server_id]

    def set_pool(self, pool: str, settings: PoolSettings) -> None:
        self._pool(pool).configure(settings)

    def algorithm(self, pool: str) -> Algorithm:
        return self._pools[pool].settings.algorithm if pool in self._pools else PoolSettings().algorithm

    def has_free(self, requirement: Requirement, now: int) -> bool:
        """Whether any server of the pool with these capabilities could take a task now, whatever its type and key."""
        pool, capabilities = self._settled(requirement[0], now), requirement[1]
        return pool is not None and pool.has_free(capabilities)

    def free_count(self, requirement: Requirement, now: int) -> int:
        """How many servers could take such a task now."""
        pool = self._settled(requirement[0], now)
        return pool.free_count(requirement[1]) if pool is not None else 0

    def pick(
        self, requirement: Requirement, wish: Wish, now: int, now_s: float, rng: Random, *, avoid: str | None = None
    ) -> ServerState | None:
        """The server for a task, or None when it has to wait: eligible, then highest priority, then the algorithm.

        `avoid` is left out as long as any other can take it. Though `has_free`, a task waits for the home of its
        affinity key where the pool requires that, and for a server whose probation with its type is not over.
        """
        pool, capabilities = self._settled(requirement[0], now), requirement[1]
        return pool.pick(capabilities, wish, now, now_s, rng, avoid) if pool is not None else None

    def choice(self, requirement: Requirement, server_id: str, avoid: str | None) -> Choice:
        """How the server that was just picked, and holds no slot for it yet, is told to have been chosen."""
        pool = self._pools[requirement[0]]
        among = pool.free_count(requirement[1])
        avoided = avoid if avoid != server_id else None
        return Choice(algorithm=pool.settings.algorithm, among=among, avoided=avoided)

    def wait(self, requirement: Requirement, wish: Wish, now: int) -> Wait:
        """For what a task waits that `pick` gave no server though there is a free one."""
        pool, capabilities = self._settled(requirement[0], now), requirement[1]
        return pool.wait(capabilities, wish, now) if pool is not None else Wait(until=now)

    def free_slots(self, server_id: str) -> float:
        """How many tasks it could take, as last settled; infinity when it does not serve."""
        server = self._servers.get(server_id)
        return server.free_slots if server is not None and server.serves else math.inf

    def matching(self, requirement: Requirement) -> list[ServerState]:
        """Servers of the pool that have all the capabilities, whatever their state."""
        pool = self._settled(requirement[0], self._now)
        return pool.matching(requirement[1]) if pool is not None else []

    def refusals(self, server: ServerState, requirement: Requirement, now: int) -> tuple[str, ...]:
        """Every reason why this server takes no such task now; empty when it could."""
        self.settle(now)
        return refusals.refusals(server, requirement)

    def on_probation(self, pool: str, task_type: str, now: int) -> frozenset[str]:
        """Servers that take no task of this type now, because they failed what others complete."""
        return frozenset(self._pools[pool].probation.held(task_type, now)) if pool in self._pools else frozenset()

    def observe(self, task_type: str, attempt: Attempt, now_s: float) -> None:
        """Learn from an ended attempt."""
        server = self._servers.get(attempt.server_id)
        if server is not None:
            self._pool_of(server.id).observe(server, task_type, attempt, now_s)

    def loads(self, now_s: float) -> dict[str, ServerLoad]:
        return {server.id: _load(server, now_s) for server in self}

    def settle(self, now: int) -> None:
        """Open what time opens: holds that are over, steps of slow starts."""
        self._saw(now)
        for pool in self._pools.values():
            pool.settle(now, self._known_since)

    def tick(self, now: int, now_s: float) -> None:
        for pool in self._pools.values():
            pool.tick(now_s)
        self.settle(now)

    def earliest_hold(self, now: int) -> int | None:
        """When a server may take more without anything else happening, in ms since the epoch."""
        self.settle(now)
        times = (pool.wakes_at(now) for pool in self._pools.values())
        return min((at for at in times if at is not None), default=None)

    def _slots_changed(self, server_id: str, active: int) -> None:
        server = self._servers.get(server_id)
        if server is not None:
            server.active = active
            server.peak = max(server.peak, active)
            self._pool_of(server_id).slots_changed(server)

    def _settled(self, name: str, now: int) -> Pool | None:
        self._saw(now)
        pool = self._pools.get(name)
        if pool is not None:
            pool.settle(now, self._known_since)
        return pool

    def _saw(self, now: int) -> None:
        self._now = now
        if self._known_since is None and now:
            self._known_since = now

    def _pool(self, name: str) -> Pool:
        pool = self._pools.get(name)
        if pool is None:
            pool = self._pools[name] = Pool()
        return pool

    def _pool_of(self, server_id: str) -> Pool:
        return self._pools[self._servers[server_id].config.pool]


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
