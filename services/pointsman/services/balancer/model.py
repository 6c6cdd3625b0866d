"""What the leader knows, folded from the buckets: live tasks, who waits, who runs where. No I/O; time by argument."""

from collections import OrderedDict
from heapq import heappop, heappush
from random import Random
from typing import NamedTuple

from pointsman.contracts.execution import Abort, attempt_key
from pointsman.contracts.lifecycle import is_terminal
from pointsman.contracts.record import Attempt, CurrentAttempt, Lease, TaskHead
from pointsman.contracts.task import Choice
from pointsman.services.balancer.attempts import Decision, Wish, abort_of, is_newer, knows_the_end, runs
from pointsman.services.balancer.backlog import Backlog
from pointsman.services.balancer.due import Due
from pointsman.services.balancer.entry import Entry, Shape, Shapes, State
from pointsman.services.balancer.fleet import Fleet
from pointsman.services.balancer.flow import Flow
from pointsman.services.balancer.lines import Line, Order
from pointsman.services.balancer.pending import PendingIndex
from pointsman.services.balancer.pools import Pools
from pointsman.services.balancer.slots import Slots
from pointsman.services.runtime.outcomes import CONNECT_MS

ENDED_KEPT_MS = 60_000
RAW_BYTES_MAX = 8 * 1024
RAW_TOTAL_BYTES_MAX = 16 << 20
LEARN_WITHIN_MS = 60_000
ASIDE_AT_ONCE_MAX = 100
TICK_S = 1.0
BUSY = frozenset({State.RESERVED, State.RUNNING})


class Ended(NamedTuple):
    """A task that ended: its last generation and attempt number as its record knew them, and when we heard."""

    generation: int
    attempt: int
    at: int


class Model:
    def __init__(self) -> None:
        self.entries: dict[str, Entry] = {}
        self.slots = Slots()
        self.fleet = Fleet(self.slots)
        self.pending = PendingIndex(self.fleet.free_slots)
        self.pools = Pools(self.fleet, self.pending)
        self.backlog = Backlog()
        self.flow = Flow()
        self.running: dict[str, Entry] = {}
        self.due = Due(self.entries)
        self.aborts: list[tuple[str, Abort]] = []
        self.by_executor: dict[str, int] = {}
        self._shapes = Shapes()
        self._ended: OrderedDict[str, Ended] = OrderedDict()
        self._orphans: OrderedDict[str, tuple[Lease, int, int]] = OrderedDict()
        self._behind: set[str] = set()
        self._raw_bytes = 0
        self._now_s = 0.0
        self._ticked_s = float("-inf")

    def fold_task(self, head: TaskHead, revision: int, raw: bytes, now: int, now_s: float) -> None:
        """A record of the `tasks` bucket, in stream order."""
        self._now_s = now_s
        entry = self.entries.get(head.id)
        if entry is not None and revision <= entry.revision:
            return
        if entry is not None:
            self._drop(entry, head, now, now_s)
        elif is_terminal(head.status):
            self._linger(head, now)
        if is_terminal(head.status):
            self._end(head, now, entry)
            return
        self._add(head, revision, raw, now, entry)

    def _end(self, head: TaskHead, now: int, before: Entry | None) -> None:
        if before is not None or not self._has_ended(head):
            self.flow.ended(head, before, now)
        self._ended[head.id] = Ended(head.generation, head.attempt, now)
        orphan = self._orphans.get(head.id)
        if orphan is not None and orphan[0].generation <= head.generation:
            del self._orphans[head.id]
            self._late_lease(head.id, orphan[0], now)

    def _has_ended(self, head: TaskHead) -> bool:
        ended = self._ended.get(head.id)
        return ended is not None and ended.generation >= head.generation

    def _late_lease(self, task_id: str, lease: Lease, now: int) -> None:
        """An attempt that was assigned while its task was being ended: the record does not know of it, so it lingers."""
        ended, current = self._ended[task_id], lease.current
        if current is None or lease.generation != ended.generation or current.number <= ended.attempt:
            return
        if current.deadline > now:
            self._linger_current(current, attempt_key(task_id, lease.generation, current.number))

    def _linger_current(self, current: CurrentAttempt, key: str) -> None:
        self.slots.linger(current.server_id, key, current.start_by + CONNECT_MS, current.deadline)

    def _add(self, head: TaskHead, revision: int, raw: bytes, now: int, before: Entry | None) -> None:
        entry = Entry(head, self._shapes.of(head), revision)
        self.entries[head.id] = entry
        self.backlog.came(entry)
        if before is None or before.generation != entry.generation:
            self.flow.submitted(entry, now)
        self.pools.seen(entry.shape.pool, self._now_s)
        self._ended.pop(head.id, None)
        self.due.lives(entry)
        self._linger(head, now)
        if len(raw) <= RAW_BYTES_MAX and self._raw_bytes + len(raw) <= RAW_TOTAL_BYTES_MAX:
            entry.raw = raw
            self._raw_bytes += len(raw)
        orphan = self._orphans.pop(head.id, None)
        if orphan is not None:
            if self._set_lease(entry, orphan[0], orphan[1]):
                self._linger_unseen(entry, orphan[0], 0, now)
        elif before is not None:
            entry.lease_revision = before.lease_revision
        self._place(entry, now)

    def fold_lease(self, task_id: str, lease: Lease, revision: int, now: int, now_s: float) -> None:
        """A record of the `leases` bucket, in stream order; it may come before or after its task."""
        self._now_s = now_s
        entry = self.entries.get(task_id)
        if entry is None:
            ended = self._ended.get(task_id)
            if ended is None or lease.generation > ended.generation:
                self._orphans[task_id] = (lease, revision, now)
            else:
                self._late_lease(task_id, lease, now)
            return
        if revision <= entry.lease_revision:
            return
        if lease.generation > entry.generation:
            self._orphans[task_id] = (lease, revision, now)
        if lease.generation != entry.generation:
            entry.lease_revision = revision
            return
        before = entry.lease.current if entry.lease is not None else None
        seen = entry.lease.attempt if entry.lease is not None else 0
        self._unplace(entry)
        if self._set_lease(entry, lease, revision):
            self._linger_unseen(entry, lease, seen, now)
            if before is not None and (lease.current is None or lease.current.number != before.number):
                self._attempt_ended(entry, before, lease, now, now_s)
        if entry.state is not State.RESERVED or lease.current is not None:
            self._place(entry, now)

    def _linger_unseen(self, entry: Entry, lease: Lease, seen: int, now: int) -> None:
        """Attempts that began and ended while nobody here looked may still run, too."""
        for one in lease.lingering:
            if (one.number > seen or one.generation < entry.generation) and one.until > now:
                key = attempt_key(entry.id, one.generation, one.number)
                self.slots.linger(one.server_id, key, one.start_by, one.until)

    def _attempt_ended(self, entry: Entry, before: CurrentAttempt, lease: Lease, now: int, now_s: float) -> None:
        key = attempt_key(entry.id, entry.generation, before.number)
        mine = (one for one in lease.lingering if one.generation == entry.generation)
        lingers = next((one for one in mine if one.number == before.number), None)
        if lingers is not None and lingers.until > now:
            self.slots.linger(before.server_id, key, lingers.start_by, lingers.until)
        else:
            self.slots.free(before.server_id, key)
        if lease.attempts and lease.attempts[-1].number == before.number:
            self._learn(entry.shape, lease.attempts[-1], now, now_s)

    def next_decision(self, now: int, now_s: float, rng: Random) -> Decision | None:
        """The most urgent task that some server can take now; its slot is held when this returns."""
        self._now_s = now_s
        heads: list[tuple[Order, Entry]] = []
        for line in self.pending.lines(now, now_s):
            self._look(line, heads, now, now_s)
        for _ in range(ASIDE_AT_ONCE_MAX):
            if not heads:
                return None
            _, entry = heappop(heads)
            requirement, wish = entry.shape.requirement, Wish(entry.shape.type, entry.affinity_key)
            server = self.fleet.pick(requirement, wish, now, now_s, rng, avoid=entry.avoids)
            if server is not None:
                choice = self.fleet.choice(requirement, server.id, entry.avoids)
                return self._reserve(entry, server.id, choice, now_s)
            line = self.pending.set_aside(entry, self.fleet.wait(requirement, wish, now), now, now_s)
            self._look(line, heads, now, now_s)
        self.pending.stop_short()
        return None

    def _look(self, line: Line, heads: list[tuple[Order, Entry]], now: int, now_s: float) -> None:
        """Add the first of the line who may pass, if any server may take it."""
        if self.fleet.has_free(line.requirement, now):
            head = self.pending.head(line, now, now_s)
            if head is not None:
                heappush(heads, head)

    def _reserve(self, entry: Entry, server_id: str, choice: Choice, now_s: float) -> Decision:
        number = (entry.lease.attempt if entry.lease else 0) + 1
        key = attempt_key(entry.id, entry.generation, number)
        self.pending.begin(entry, now_s)
        self.pools.began(entry.shape.pool, now_s, is_retry=entry.lease is not None and entry.lease.spent > 0)
        self._become(entry, State.RESERVED)
        self.slots.hold(server_id, key)
        return Decision(entry, entry.lease, entry.lease_revision, server_id, key, choice)

    def committed(self, decision: Decision, lease: Lease, revision: int, now: int) -> bool:
        """The lease is written. False when the task ended meanwhile: then nothing may be sent."""
        entry = decision.entry
        if self.entries.get(entry.id) is not entry:
            self.slots.free(decision.server_id, decision.attempt)
            return False
        if revision > entry.lease_revision:
            self._unplace(entry)
            self._set_lease(entry, lease, revision)
            self._place(entry, now)
        if runs(entry, decision):
            return True
        self.slots.free(decision.server_id, decision.attempt)
        if entry.state is State.RESERVED:
            self._place(entry, now)
        return False

    def withdraw(self, decision: Decision, now: int) -> None:
        """The lease could not be written: give the slot back and let the task wait again."""
        entry = decision.entry
        is_live = self.entries.get(entry.id) is entry
        if not is_live or not runs(entry, decision):
            self.slots.free(decision.server_id, decision.attempt)
            self.pending.gates.spend(entry, self._now_s, -1.0)
        if is_live and entry.state is State.RESERVED:
            self._place(entry, now)

    def tick(self, now: int, now_s: float) -> None:
        """Let what has become due wait for a slot; forget what is over."""
        self._now_s = now_s
        self.fleet.settle(now)
        self.pending.gates.tick(now)
        for entry in self.due.begun(now):
            self._place(entry, now)
        if now_s - self._ticked_s >= TICK_S:
            self._ticked_s = now_s
            self._each_second(now, now_s)

    def _each_second(self, now: int, now_s: float) -> None:
        self.slots.expire(now)
        self.fleet.tick(now, now_s)
        self.pools.tick(now_s, self.backlog.pools())
        self.pending.gates.tidy(now, now_s)
        self.due.tidy(now)
        self.backlog.tick(now_s)
        while self._ended and next(iter(self._ended.values())).at < now - ENDED_KEPT_MS:
            self._ended.popitem(last=False)
        while self._orphans and next(iter(self._orphans.values()))[2] < now - ENDED_KEPT_MS:
            self._orphans.popitem(last=False)

    def next_due(self) -> int | None:
        """When a delayed task falls due or a gate opens, in ms since the epoch; deadlines are looked at once a second."""
        times = (self.due.next(), self.pending.gates.next_opening())
        return min((at for at in times if at is not None), default=None)

    def released(self, task_id: str, generation: int, number: int) -> bool:
        return self.slots.free_lingering(attempt_key(task_id, generation, number)) is not None

    def begin_replay(self) -> None:
        """The `leases` stream is read anew: its sequences may have been given to other messages."""
        for entry in self.entries.values():
            entry.lease_revision = 0
        self._orphans.clear()
        self._behind.clear()

    def unconfirmed(self) -> list[Entry]:
        """Entries whose lease the replay did not show, or in an older form: lost with the broker's last moments."""
        return [
            entry
            for entry in self.entries.values()
            if entry.lease is not None and (entry.lease_revision == 0 or entry.id in self._behind)
        ]

    def written_again(self, entry: Entry, revision: int) -> None:
        entry.lease_revision = revision
        self._behind.discard(entry.id)

    def _set_lease(self, entry: Entry, lease: Lease, revision: int) -> bool:
        """False when it does not count: of another generation, or, in a replay, older than what is held."""
        is_replay, held = entry.lease_revision == 0, entry.lease
        entry.lease_revision = revision
        if lease.generation != entry.generation:
            return False
        if is_replay and held is not None and is_newer(held, lease):
            self._behind.add(entry.id)
            return False
        self.flow.leased(entry, held, lease)
        entry.lease = lease
        self._note_retry_after(entry, lease)
        return True

    def _note_retry_after(self, entry: Entry, lease: Lease) -> None:
        """A server that wants a task of this concurrency key to wait speaks for the whole key."""
        last = lease.attempts[-1] if lease.attempts and lease.current is None else None
        if last is not None and last.retry_after_ms and entry.concurrency_key is not None:
            until = last.finished_at + last.retry_after_ms
            self.pending.gates.block(entry.concurrency_key, until, last.finished_at)

    def _place(self, entry: Entry, now: int) -> None:
        """Put the entry where its lease says it is."""
        lease = entry.lease
        if lease is not None and lease.current is not None:
            self._run(entry, lease.current)
            return
        if lease is not None and lease.run_at is not None:
            entry.due = lease.run_at
        self._become(entry, State.DELAYED)
        if entry.due > now:
            self.due.is_delayed(entry)
        else:
            self.pending.add(entry, now, self._now_s)

    def _run(self, entry: Entry, current: CurrentAttempt) -> None:
        self._become(entry, State.RUNNING)
        self._forget_raw(entry)
        self.running[entry.id] = entry
        self.by_executor[current.executor] = self.by_executor.get(current.executor, 0) + 1
        self.slots.hold(current.server_id, attempt_key(entry.id, entry.generation, current.number))
        self.due.runs(entry, current)

    def _unplace(self, entry: Entry) -> None:
        if entry.state is State.PENDING:
            self.pending.forget(entry)
        self.due.is_not_delayed(entry)
        if self.running.pop(entry.id, None) is not None and entry.lease is not None and entry.lease.current is not None:
            self.by_executor[entry.lease.current.executor] -= 1
            self.due.runs_no_more(entry, entry.lease.current)
        if entry.state is not State.RESERVED:
            self._become(entry, State.DELAYED)

    def _become(self, entry: Entry, state: State) -> None:
        """What is reserved or runs counts in its limits."""
        if (state in BUSY) != (entry.state in BUSY):
            (self.pending.gates.began if state in BUSY else self.pending.gates.ended)(entry)
            (self.backlog.left if state in BUSY else self.backlog.came)(entry)
        entry.state = state

    def _drop(self, entry: Entry, head: TaskHead, now: int, now_s: float) -> None:
        """The entry's generation is over: free its slot, or let it linger and have the call ended."""
        del self.entries[entry.id]
        self.due.is_over(entry)
        self._behind.discard(entry.id)
        current = entry.lease.current if entry.lease is not None else None
        self._unplace(entry)
        self._become(entry, State.DELAYED)
        self.backlog.left(entry)
        self.backlog.ended(entry.shape.pool)
        self._forget_raw(entry)
        self._linger(head, now)
        if current is None:
            return
        key = attempt_key(entry.id, entry.generation, current.number)
        if knows_the_end(head, entry, current):
            self.slots.free(current.server_id, key)
        else:
            self._linger_current(current, key)
            self.aborts.append((current.executor, abort_of(entry, current, "cancelled")))
        if head.attempts and head.attempts[-1].number == current.number:
            self._learn(entry.shape, head.attempts[-1], now, now_s)

    def _linger(self, head: TaskHead, now: int) -> None:
        for one in head.lingering:
            if one.until > now:
                key = attempt_key(head.id, one.generation, one.number)
                self.slots.linger(one.server_id, key, one.start_by, one.until)

    def _learn(self, shape: Shape, attempt: Attempt, now: int, now_s: float) -> None:
        if now - attempt.finished_at < LEARN_WITHIN_MS:
            self.fleet.observe(shape.type, attempt, now_s)
            self.pending.gates.try_again(shape.type)

    def _forget_raw(self, entry: Entry) -> None:
        if entry.raw is not None:
            self._raw_bytes -= len(entry.raw)
            entry.raw = None
