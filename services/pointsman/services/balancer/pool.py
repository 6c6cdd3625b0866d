"""The servers of one pool: which are free is kept up to date bit by bit, so that a decision looks at those alone."""

from collections.abc import Iterable
from heapq import heappop, heappush
from itertools import islice
from random import Random

from pointsman.contracts.balancer import Algorithm
from pointsman.contracts.limits import Affinity, PoolSettings
from pointsman.contracts.record import Attempt
from pointsman.services.balancer.gate import Wait
from pointsman.services.balancer.members import chosen
from pointsman.services.balancer.policies import Policy, Wish, make
from pointsman.services.balancer.probation import Probation
from pointsman.services.balancer.rendezvous import Homes, is_within
from pointsman.services.balancer.server_state import ServerState
from pointsman.services.balancer.serving import Census, Terms

CLASSES_MAX = 10_000
HOMES_MAX = 100
NEIGHBOURS = 4
LOOK_AGAIN_MS = 50

Capabilities = frozenset[str]


class Pool:
    """Bits stand for servers by ordinal, the rank of their ids.

    What changes is settled server by server at the next question; all are when one has come or gone, and when the terms
    change that hold for the whole pool.
    """

    def __init__(self) -> None:
        self.settings = PoolSettings()
        self.probation = Probation()
        self._policy: Policy = make(self.settings.algorithm)
        self._by_id: dict[str, ServerState] = {}
        self._members: list[ServerState] = []
        self._free = self._serving = 0
        self._tiers: list[int] = []
        self._matching: dict[Capabilities, int] = {}
        self._known_homes: dict[int, Homes[ServerState]] = {}
        self._terms = Terms()
        self._changed: set[str] = set()
        self._wakes: list[tuple[int, str]] = []
        self._census = Census()
        self._is_stale = self._is_recounted = True

    def __len__(self) -> int:
        return len(self._by_id)

    def join(self, server: ServerState) -> None:
        if server.id not in self._by_id:
            server.turn = sum(one.turn for one in self._by_id.values()) // max(1, len(self._by_id))
        self._by_id[server.id] = server
        self._is_stale = True

    def leave(self, server_id: str) -> None:
        del self._by_id[server_id]
        self.probation.forget(server_id)
        self._is_stale = True

    def configure(self, settings: PoolSettings) -> None:
        if settings.algorithm is not self.settings.algorithm:
            self._policy = make(settings.algorithm)
            for server in self._by_id.values():
                server.turn = 0
        self.settings = settings

    def reconsider(self, server: ServerState) -> None:
        """The operator or the health machine has changed its mind."""
        self._census.count(server.id, server.standing)
        self._is_recounted = True
        self._changed.add(server.id)

    def slots_changed(self, server: ServerState) -> None:
        if not self._is_stale:
            self._mark(server)

    def observe(self, server: ServerState, task_type: str, attempt: Attempt, now_s: float) -> None:
        server.observe(task_type, attempt, now_s)
        self.probation.observe(task_type, attempt, len(self))
        self._changed.add(server.id)

    def tick(self, now_s: float) -> None:
        """About once a second: let effective limits grow."""
        for server in self._by_id.values():
            if server.effective.tick(server.peak, now_s):
                self._changed.add(server.id)
            server.peak = server.active

    def settle(self, now: int, known_since: int | None) -> None:
        """Bring everything up to `now` (ms since the epoch)."""
        if self._is_stale:
            self._arrange()
        if self._is_recounted:
            self._agree(self._census.terms(known_since))
        while self._wakes and self._wakes[0][0] <= now:
            at, server_id = heappop(self._wakes)
            if server_id in self._by_id and self._by_id[server_id].wakes_at == at:
                self._changed.add(server_id)
        if self._changed:
            for server_id in self._changed:
                self._settle_one(self._by_id[server_id], now)
            self._changed.clear()

    def wakes_at(self, now: int) -> int | None:
        """When a server may take more without anything else happening."""
        times = (self._wakes[0][0] if self._wakes else None, self.probation.next_release(now))
        return min((at for at in times if at is not None), default=None)

    def has_free(self, capabilities: Capabilities) -> bool:
        return bool(self._free & self._matches(capabilities))

    def free_count(self, capabilities: Capabilities) -> int:
        return (self._free & self._matches(capabilities)).bit_count()

    def pick(
        self, capabilities: Capabilities, wish: Wish, now: int, now_s: float, rng: Random, avoid: str | None
    ) -> ServerState | None:
        able = self._free & self._matches(capabilities)
        if able:
            able &= ~self._bits(self.probation.held(wish.type, now))
        if not able:
            return None
        elsewhere = able & ~self._bits((avoid,)) if avoid is not None else able
        key = self._key(wish)
        if key is not None:
            server = self._by_key(key, capabilities, able, elsewhere or able)
        else:
            server = self._by_policy(self._top(elsewhere or able), wish, now_s, rng)
        if server is not None:
            self.probation.picked(wish.type, server.id, now)
        return server

    def wait(self, capabilities: Capabilities, wish: Wish, now: int) -> Wait:
        """For the home of its key, else for the end of a probation with its type, or for another slot: so look again soon."""
        key = self._key(wish)
        if key is not None and self.settings.affinity is Affinity.REQUIRE:
            home = self._homes(capabilities).of(key)
            if not home.is_free:
                return Wait(server_id=home.id)
        held = self.probation.held(wish.type, now)
        releases = [self.probation.release_at(wish.type, server_id) for server_id in held]
        return Wait(until=min([now + LOOK_AGAIN_MS, *releases]))

    def matching(self, capabilities: Capabilities) -> list[ServerState]:
        return chosen(self._members, self._matches(capabilities))

    def _key(self, wish: Wish) -> str | None:
        """The affinity key, where it counts."""
        return wish.affinity_key if self.settings.algorithm is Algorithm.CONSISTENT_HASH else None

    def _by_policy(self, able: int, wish: Wish, now_s: float, rng: Random) -> ServerState:
        candidates = chosen(self._members, able)
        return candidates[0] if len(candidates) == 1 else self._policy.pick(candidates, wish, now_s, rng)

    def _by_key(self, key: str, capabilities: Capabilities, able: int, elsewhere: int) -> ServerState | None:
        """The home of a key is the winner among the servers that serve, with or without a slot.

        So a server that stops serving hands its keys to the next in rendezvous order, and has them back afterwards.
        """
        homes = self._homes(capabilities)
        if self.settings.affinity is Affinity.REQUIRE:
            home = homes.of(key)
            return home if able >> home.ordinal & 1 else None
        share = homes.share_in_use()
        for server in islice(homes.order(key), NEIGHBOURS):
            if elsewhere >> server.ordinal & 1 and is_within(server, share):
                return server
        free = chosen(self._members, self._top(elsewhere))
        return Homes([server for server in free if is_within(server, share)] or free).of(key)

    def _homes(self, capabilities: Capabilities) -> Homes[ServerState]:
        serving = self._top(self._serving & self._matches(capabilities))
        homes = self._known_homes.get(serving)
        if homes is None:
            if len(self._known_homes) >= HOMES_MAX:
                self._known_homes.clear()
            homes = self._known_homes[serving] = Homes(chosen(self._members, serving))
        return homes

    def _top(self, bits: int) -> int:
        """Of these the ones with the highest priority."""
        return next((bits & tier for tier in self._tiers if bits & tier), 0)

    def _bits(self, ids: Iterable[str]) -> int:
        return sum(1 << self._by_id[one].ordinal for one in ids if one in self._by_id)

    def _matches(self, capabilities: Capabilities) -> int:
        """The servers that have all the capabilities, whatever their state."""
        bits = self._matching.get(capabilities)
        if bits is None:
            if len(self._matching) >= CLASSES_MAX:
                self._matching.clear()
            bits = self._bits(one.id for one in self._members if capabilities <= one.capabilities)
            self._matching[capabilities] = bits
        return bits

    def _arrange(self) -> None:
        """Give every server its bit, and have all of them settled."""
        self._members = [self._by_id[server_id] for server_id in sorted(self._by_id)]
        self._census = Census()
        self._free = self._serving = 0
        self._wakes.clear()
        self._matching.clear()
        self._known_homes.clear()
        tiers: dict[int, int] = {}
        for ordinal, server in enumerate(self._members):
            server.ordinal, server.wakes_at = ordinal, None
            tiers[server.config.priority] = tiers.get(server.config.priority, 0) | 1 << ordinal
            self._census.count(server.id, server.standing)
        self._tiers = [tiers[priority] for priority in sorted(tiers, reverse=True)]
        self._changed = set(self._by_id)
        self._is_stale, self._is_recounted = False, True

    def _agree(self, terms: Terms) -> None:
        self._is_recounted = False
        if terms != self._terms:
            self._terms = terms
            self._changed.update(self._by_id)

    def _settle_one(self, server: ServerState, now: int) -> None:
        before = server.wakes_at
        server.settle(self._terms, now)
        if server.wakes_at is not None and server.wakes_at != before:
            heappush(self._wakes, (server.wakes_at, server.id))
        self._mark(server)

    def _mark(self, server: ServerState) -> None:
        bit = 1 << server.ordinal
        self._free = self._free | bit if server.is_free else self._free & ~bit
        self._serving = self._serving | bit if server.serves else self._serving & ~bit
