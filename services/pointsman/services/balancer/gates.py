"""Gates: limits per type, concurrency key and pool, rates, keys that a Retry-After holds, the retry budget.

A task whose turn has come while one of its gates is closed is parked in the lane of all tasks that pass the same gates;
the lane sleeps at the closed gate. When that opens, as many come back as may pass, or the lane moves on to the next
closed gate as a whole. So what is parked costs nothing per decision, whether ten wait or a million.
"""

import heapq
from collections.abc import Callable, Iterator

from pointsman.contracts.explain import Gate as Scope
from pointsman.contracts.limits import EVERY_KEY, KeySettings, Limit, PoolSettings, Rate, TypeSettings
from pointsman.services.balancer.entry import Entry
from pointsman.services.balancer.fairness import Fairness
from pointsman.services.balancer.gate import Gate, GateId, Lane, LaneId
from pointsman.services.balancer.token_bucket import TokenBucket

BLOCK_MS_MAX = 300_000
RETRY_WINDOW_S = 10.0
RETRIES_PER_S_MIN = 0.01
STEPS_MAX = 500
ASIDE = frozenset({Scope.AFFINITY, Scope.PROBATION})
UNBOUNDED = Limit()


class Gates:
    """`free_slots` tells of a server how many tasks it could take now, infinity when it does not serve."""

    def __init__(self, fairness: Fairness, free_slots: Callable[[str], float]) -> None:
        self._fairness = fairness
        self._free_slots = free_slots
        self._gates: dict[GateId, Gate] = {}
        self._lanes: dict[LaneId, Lane] = {}
        self._running: dict[GateId, int] = {}
        self._every_key = UNBOUNDED
        self._own_keys: set[str] = set()
        self._dirty: dict[GateId, None] = {}
        self._openings: list[tuple[int, GateId]] = []
        self._asides: set[GateId] = set()
        self._released: dict[str, GateId] = {}

    def set_pool(self, pool: str, settings: PoolSettings | None, now_s: float) -> None:
        self._bound(pool_gate(pool), settings.limit if settings else UNBOUNDED, now_s)

    def set_type(self, task_type: str, settings: TypeSettings | None, now_s: float) -> None:
        self._bound(GateId(Scope.TYPE_LIMIT, task_type), settings.limit if settings else UNBOUNDED, now_s)

    def set_key(self, key: str, settings: KeySettings | None, now_s: float) -> None:
        """`*` bounds each key that has no limit of its own."""
        limit = settings.limit if settings else UNBOUNDED
        if key == EVERY_KEY:
            self._every_key = limit
            for gate_id in [one for one in self._gates if one.scope is Scope.KEY_LIMIT]:
                if gate_id.name not in self._own_keys:
                    self._bound(gate_id, limit, now_s)
            return
        (self._own_keys.add if settings else self._own_keys.discard)(key)
        self._bound(key_gate(key), limit if settings else self._every_key, now_s)

    def set_retries(self, pool: str, per_second: float | None, now_s: float) -> None:
        """The retry budget as a rate: what flows in within 10 s may be spent at once. None: the pool is forgotten."""
        if per_second is None:
            self._bound(retry_gate(pool), UNBOUNDED, now_s)
            return
        rate = Rate(per_second=max(per_second, RETRIES_PER_S_MIN), burst=max(1, round(per_second * RETRY_WINDOW_S)))
        self._bound(retry_gate(pool), Limit(rate=rate), now_s)

    def begin_term(self, now_s: float) -> None:
        """A new leader does not know which tokens its predecessor spent: none are left."""
        for gate in self._gates.values():
            if gate.bucket is not None and gate.id.scope is not Scope.RETRY_BUDGET:
                gate.bucket = TokenBucket(gate.bucket.rate, now_s, full=False)
                self._touch(gate)

    def block(self, key: str, until: int, now: int) -> None:
        """A server said Retry-After to a task of this concurrency key: all of the key wait, at most 300 s."""
        until = min(until, now + BLOCK_MS_MAX)
        if until > now:
            gate = self._gate(key_gate(key))
            gate.blocked_until = max(gate.blocked_until, until)
            self._touch(gate)

    def began(self, entry: Entry) -> None:
        for gate_id in counts_in(entry):
            self._running[gate_id] = self._running.get(gate_id, 0) + 1

    def ended(self, entry: Entry) -> None:
        for gate_id in counts_in(entry):
            left = self._running[gate_id] = self._running[gate_id] - 1
            if not left:
                del self._running[gate_id]
            if (gate := self._gates.get(gate_id)) is not None:
                self._touch(gate)

    def spend(self, entry: Entry, now_s: float, tokens: float = 1.0) -> None:
        """The entry begins and takes a token of each rate it passes; -1 gives them back."""
        pool = self._gates.get(pool_gate(entry.shape.pool))
        for gate in (*self._of(passes(entry)), *((pool,) if pool else ())):
            if gate.bucket is not None:
                gate.bucket.spend(tokens, now_s)

    def closed(self, entry: Entry, now: int, now_s: float) -> Gate | None:
        """The first gate that does not let the entry pass now; the pool's own is asked with `pool_is_open`."""
        return self._closed(passes(entry), now, now_s)

    def pool_is_open(self, pool: str, now: int, now_s: float) -> bool:
        gate = self._gates.get(pool_gate(pool))
        if gate is None or self.room(gate, now, now_s) >= 1:
            return True
        self._remember_opening(gate, now, now_s)
        return False

    def room(self, gate: Gate, now: int, now_s: float) -> float:
        match gate.id.scope:
            case Scope.AFFINITY:
                return self._free_slots(gate.id.name)
            case Scope.PROBATION:
                return 0 if gate.blocked_until > now else 1
            case _:
                pass
        return gate.room(self._running.get(gate.id, 0), now, now_s)

    def running(self, gate: Gate) -> int:
        return self._running.get(gate.id, 0)

    def get(self, gate_id: GateId) -> Gate | None:
        return self._gates.get(gate_id)

    def __iter__(self) -> Iterator[Gate]:
        return iter(self._gates.values())

    def lanes(self) -> Iterator[Lane]:
        return iter(self._lanes.values())

    def park(self, entry: Entry, gate: Gate, now: int, now_s: float) -> None:
        """The entry waits in its lane; a new lane sleeps at the closed gate."""
        shape = entry.shape
        aside = gate.id if gate.id.scope in ASIDE else None
        lane_id = LaneId(passes(entry), aside, shape.requirement, shape.priority, entry.fairness_key)
        lane = self._lanes.get(lane_id)
        if lane is None:
            lane = self._lanes[lane_id] = Lane(lane_id, self._fairness.of(shape.pool, shape.priority))
            lane.add(entry)
            gate.keep(lane)
            self._remember_opening(gate, now, now_s)
        elif lane.add(entry) and lane.gate is not None:
            lane.gate.keep(lane)

    def await_server(self, entry: Entry, server_id: str, now: int, now_s: float) -> None:
        """The entry may run on this server alone, which is full: others need not wait behind it."""
        gate_id = GateId(Scope.AFFINITY, server_id)
        self._asides.add(gate_id)
        self.park(entry, self._gate(gate_id), now, now_s)

    def await_release(self, entry: Entry, until: int, now: int, now_s: float) -> None:
        """No free server takes the entry's type before `until`, when one may be tried again."""
        gate = self._gate(GateId(Scope.PROBATION, entry.shape.type))
        gate.blocked_until = until
        self.park(entry, gate, now, now_s)

    def try_again(self, task_type: str) -> None:
        """An attempt of this type has ended: what no free server took may find one now."""
        gate = self._gates.get(GateId(Scope.PROBATION, task_type))
        if gate is not None:
            gate.blocked_until = 0
            self._touch(gate)

    def unpark(self, entry: Entry, lane: Lane) -> None:
        """The entry waits no longer."""
        lane.forget(entry)
        if not lane.count:
            self._drop(lane)

    def left(self, entry: Entry) -> None:
        """The entry waits in its line no longer: somebody parked may take its place."""
        ids, aside = passes(entry), self._released.pop(entry.id, None)
        for gate in self._of(ids if aside is None else (*ids, aside)):
            if gate.left(entry):
                self._touch(gate)

    def gone(self, entry: Entry) -> None:
        """The entry will not pass its gates: that of its key may have been there for it alone."""
        gate = self._gates.get(key_gate(entry.concurrency_key)) if entry.concurrency_key is not None else None
        if gate is not None:
            self._touch(gate)

    def tidy(self, now: int, now_s: float) -> None:
        """Forget gates at which nobody waits. Where nothing is dispatched, nobody else does."""
        for gate_id in list(self._dirty):
            gate = self._gates.get(gate_id)
            if gate is None or (gate.ready(0) is None and not gate.queues):
                del self._dirty[gate_id]
                if gate is not None:
                    self._settle(gate, now, now_s)

    def tick(self, now: int) -> None:
        """Time or the fleet may have opened gates; standbys, too, take note of it."""
        for gate_id in self._asides:
            if self._free_slots(gate_id.name):
                self._dirty[gate_id] = None
        while self._openings and self._openings[0][0] <= now:
            gate = self._gates.get(heapq.heappop(self._openings)[1])
            if gate is not None:
                self._touch(gate)

    def unparked(self, now: int, now_s: float) -> Iterator[Entry]:
        """Entries that may go back to their lines, a bounded number per call; the caller puts each there at once."""
        self.tick(now)
        for _ in range(STEPS_MAX):
            if not self._dirty:
                return
            gate_id = next(iter(self._dirty))
            entry = self._step(gate_id, now, now_s)
            if entry is not None:
                yield entry

    @property
    def is_dirty(self) -> bool:
        """Whether `unparked` has more to do."""
        return bool(self._dirty)

    def next_opening(self) -> int | None:
        """When time alone may open a gate, in ms since the epoch."""
        return self._openings[0][0] if self._openings else None

    def _step(self, gate_id: GateId, now: int, now_s: float) -> Entry | None:
        """Let one entry leave this gate, or send one lane on to the next closed one, or be done with the gate."""
        gate = self._gates.get(gate_id)
        lane = gate.ready(self.room(gate, now, now_s)) if gate is not None else None
        if gate is None or lane is None:
            del self._dirty[gate_id]
            if gate is not None:
                self._settle(gate, now, now_s)
            return None
        other = self._closed(lane.id.gates, now, now_s)
        if other is not None:
            other.keep(lane)
            self._remember_opening(other, now, now_s)
            return None
        return self._release(lane, gate)

    def _release(self, lane: Lane, gate: Gate) -> Entry:
        entry = lane.take()
        passed = list(self._of(lane.id.gates))
        if gate.id.scope in ASIDE:
            self._released[entry.id] = gate.id
            passed.append(gate)
        for one in passed:
            one.queue(lane.id.requirement).loose[entry.id] = lane.id.priority
        if not lane.count:
            self._drop(lane)
        return entry

    def _drop(self, lane: Lane) -> None:
        lane.gate = None
        del self._lanes[lane.id]

    def _closed(self, ids: tuple[GateId, ...], now: int, now_s: float) -> Gate | None:
        for gate in self._of(ids):
            if self.room(gate, now, now_s) < 1:
                return gate
        return None

    def _of(self, ids: tuple[GateId, ...]) -> Iterator[Gate]:
        for gate_id in ids:
            gate = self._gates.get(gate_id)
            if gate is None and gate_id.scope is Scope.KEY_LIMIT and self._every_key != UNBOUNDED:
                gate = self._gate(gate_id)
            if gate is not None:
                yield gate

    def _bound(self, gate_id: GateId, limit: Limit, now_s: float) -> None:
        if gate_id not in self._gates and limit == UNBOUNDED:
            return
        gate = self._gate(gate_id)
        gate.bound(limit, now_s)
        self._touch(gate)

    def _gate(self, gate_id: GateId) -> Gate:
        gate = self._gates.get(gate_id)
        if gate is None:
            gate = self._gates[gate_id] = Gate(gate_id)
            if gate_id.scope is Scope.KEY_LIMIT and gate_id.name not in self._own_keys:
                gate.bound(self._every_key, 0.0)
        return gate

    def _touch(self, gate: Gate) -> None:
        self._dirty[gate.id] = None

    def _settle(self, gate: Gate, now: int, now_s: float) -> None:
        """Nobody may leave it now: remember when time opens it; forget it when it bounds and holds nothing."""
        if gate.queues:
            self._remember_opening(gate, now, now_s)
        elif gate.bounds_like(self._default(gate.id), now, now_s):
            del self._gates[gate.id]
            self._asides.discard(gate.id)

    def _default(self, gate_id: GateId) -> Limit:
        """What a gate made anew would bound."""
        is_any_key = gate_id.scope is Scope.KEY_LIMIT and gate_id.name not in self._own_keys
        return self._every_key if is_any_key else UNBOUNDED

    def _remember_opening(self, gate: Gate, now: int, now_s: float) -> None:
        at = gate.opens_at(now, now_s)
        if at is not None and not now < gate.remembered <= at:
            gate.remembered = at
            heapq.heappush(self._openings, (at, gate.id))


def pool_gate(pool: str) -> GateId:
    return GateId(Scope.POOL_LIMIT, pool)


def key_gate(key: str) -> GateId:
    return GateId(Scope.KEY_LIMIT, key)


def retry_gate(pool: str) -> GateId:
    return GateId(Scope.RETRY_BUDGET, pool)


def passes(entry: Entry) -> tuple[GateId, ...]:
    """The gates of an entry besides that of its pool, in the order in which they are asked."""
    ids = [GateId(Scope.TYPE_LIMIT, entry.shape.type)]
    if entry.concurrency_key is not None:
        ids.append(key_gate(entry.concurrency_key))
    if entry.lease is not None and entry.lease.spent:
        ids.append(retry_gate(entry.shape.pool))
    return tuple(ids)


def counts_in(entry: Entry) -> tuple[GateId, ...]:
    """Where an entry counts while it runs; the same all its life."""
    ids = (GateId(Scope.TYPE_LIMIT, entry.shape.type), pool_gate(entry.shape.pool))
    return (*ids, key_gate(entry.concurrency_key)) if entry.concurrency_key is not None else ids
