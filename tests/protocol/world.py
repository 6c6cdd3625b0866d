"""The states of the protocol and every step from each of them; each step says which code it stands for.

Two leaders, one in-flight lease write each, and their memories; the two buckets; messages that may be late or lost;
attempts, each with the call of its executor (which may sleep, die or be superseded by itself: every way in which two
executors can) and the run at its server. Time is not counted. What a clock decides is a step that may come at any
moment: confirmation too old, lease key expired, `start_by` passed, deadline passed. Of clocks only their order is
assumed: a leader doubts itself (4 s) before its key expires at the broker (5 s), `start_by` comes before the deadline,
and a server ends an attempt at its deadline. A process that is paused is one whose steps do not come.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

from tests.protocol.rules import Bounds, Rules, Windows

NOBODY = -1
PENDING, COMPLETED, FAILED, CANCELLED = "pending", "completed", "failed", "cancelled"
STANDBY, ACQUIRED, KNOWING = "standby", "acquired", "knowing"
HELD, LINGERING = "held", "lingering"

Ids = frozenset[int]
NONE: Ids = frozenset()


class Record(NamedTuple):
    """A key of `tasks`. `known` is the number of the newest attempt its writer knew of."""

    revision: int = 1
    generation: int = 1
    status: str = PENDING
    known: int = 0
    lingering: Ids = NONE


class Lease(NamedTuple):
    """A key of `leases`; `revision` is not part of what it says."""

    revision: int
    generation: int
    number: int
    current: int
    lingering: Ids


class Attempt(NamedTuple):
    task: int
    generation: int
    number: int
    server: int
    is_late: bool = False
    is_over: bool = False
    is_written: bool = False
    in_flight: bool = False
    call: str = ""
    runs: bool = False
    released: bool = False


class View(NamedTuple):
    """What a leader knows of one task: the last record it folded, the lease it believes in, the revision it compares."""

    revision: int = 0
    generation: int = 0
    is_live: bool = False
    known: int = 0
    lease: Lease | None = None
    lease_revision: int = 0
    orphan: Lease | None = None


class Commit(NamedTuple):
    """A decision whose lease write is under way; `is_reserved` until a fold moves the entry on."""

    attempt: int
    lease: Lease
    answer: str = ""
    is_reserved: bool = True


class Leader(NamedTuple):
    status: str
    views: tuple[View, ...]
    slots: frozenset[tuple[int, str]] = frozenset()
    commit: Commit | None = None
    is_torn: bool = False


class Write(NamedTuple):
    """A lease write on its way to the broker; `over` is the revision it expects."""

    leader: int
    attempt: int
    over: int
    lease: Lease


class Cancel(NamedTuple):
    """A cancel that has read and not yet written."""

    task: int
    revision: int
    generation: int
    known: int
    lingering: Ids


class State(NamedTuple):
    records: tuple[Record, ...]
    leases: tuple[Lease | None, ...]
    before: tuple[Lease | None, ...]
    attempts: tuple[Attempt, ...]
    leaders: tuple[Leader, ...]
    holder: int
    epochs: int
    writes: frozenset[Write]
    cancel: Cancel | None
    crashes: int
    losses: int
    cancels: int
    foul: str = ""


Step = tuple[str, State]


def put[T](items: tuple[T, ...], index: int, item: T) -> tuple[T, ...]:
    return (*items[:index], item, *items[index + 1 :])


class World:
    def __init__(self, bounds: Bounds, rules: Rules, windows: Windows) -> None:
        self.bounds, self.rules, self.windows = bounds, rules, windows
        self._steps: tuple[Callable[[State], Iterator[Step]], ...] = (
            self.follow,
            self.land,
            self.answered,
            self.start_attempts,
            self.run_attempts,
            self.pass_time,
            self.conclude,
            self.end_by_leader,
            self.free,
            self.lead,
            self.cancel,
            self.retry,
            self.decide,
            self.give_up,
            self.die,
            self.lose,
        )

    def first(self) -> State:
        """Accepted tasks, a leader that knows them, a hot standby."""
        bounds = self.bounds
        views = (View(1, 1, True),) * bounds.tasks
        return State(
            records=(Record(),) * bounds.tasks,
            leases=(None,) * bounds.tasks,
            before=(None,) * bounds.tasks,
            attempts=(),
            leaders=(Leader(KNOWING, views), Leader(STANDBY, views)),
            holder=0,
            epochs=1,
            writes=frozenset(),
            cancel=None,
            crashes=bounds.crashes,
            losses=bounds.losses,
            cancels=bounds.cancels,
        )

    def steps(self, state: State) -> Iterator[Step]:
        for family in self._steps:
            yield from family(state)

    # What a leader knows

    def follow(self, s: State) -> Iterator[Step]:
        """runtime/follow.py:Follower -> balancer/follow.py:Folding._on_task, _on_lease. Each stream at its own pace; of
        a key only the last message is left in the stream, so what lies between may never be seen."""
        for i, leader in enumerate(s.leaders):
            if leader.is_torn:
                continue
            for t, view in enumerate(leader.views):
                if s.records[t].revision > view.revision:
                    yield f"leader {i} reads record of task {t}", self._with(s, i, self._fold_task(s, leader, t))
                lease = s.leases[t]
                if lease is not None and lease.revision > view.lease_revision and not _is_lost(view, lease):
                    yield f"leader {i} reads lease of task {t}", self._with(s, i, self._fold_lease(s, leader, t, lease))

    def _fold_task(self, s: State, leader: Leader, t: int) -> Leader:
        """balancer/model.py:Model.fold_task, _drop, _linger, _add."""
        record, view = s.records[t], leader.views[t]
        slots, commit = leader.slots, leader.commit
        if view.is_live:
            if commit is not None and s.attempts[commit.attempt].task == t:
                commit = commit._replace(is_reserved=False)
            current = view.lease.current if view.lease is not None else NOBODY
            if current != NOBODY:
                slots = self._dropped(s, slots, current, record, view)
        slots = self._lingering(s, slots, record.lingering)
        if record.status != PENDING:
            orphan = view.orphan if self.rules.later_lease_kept else None
            if orphan is not None and orphan.generation <= record.generation:
                slots, orphan = self._unknown_lease(s, slots, record.generation, record.known, orphan), None
            new = View(record.revision, record.generation, False, record.known, None, 0, orphan)
        else:
            new = View(record.revision, record.generation, True, 0, None, view.lease_revision if view.is_live else 0)
        leader = leader._replace(views=put(leader.views, t, new), slots=slots, commit=commit)
        if new.is_live and view.orphan is not None:
            leader = self._fold_lease(s, leader, t, view.orphan)
        return leader

    def _dropped(
        self, s: State, slots: frozenset[tuple[int, str]], current: int, record: Record, view: View
    ) -> frozenset[tuple[int, str]]:
        attempt = s.attempts[current]
        is_unknown = record.generation == view.generation and record.known < attempt.number
        slots -= {(current, HELD)}
        if current in record.lingering or record.generation != view.generation:
            return self._lingering(s, slots, frozenset({current}))
        if is_unknown and self.rules.unknown_attempt_lingers:
            return self._lingering(s, slots, frozenset({current}))
        return slots

    def _unknown_lease(
        self, s: State, slots: frozenset[tuple[int, str]], generation: int, known: int, lease: Lease
    ) -> frozenset[tuple[int, str]]:
        """A lease that comes after the end of its task: the end may have been decided without knowing of it."""
        is_unknown = lease.generation == generation and lease.number > known
        if self.rules.unknown_attempt_lingers and is_unknown and lease.current != NOBODY:
            return self._lingering(s, slots, frozenset({lease.current}))
        return slots

    def _lingering(self, s: State, slots: frozenset[tuple[int, str]], ids: Ids) -> frozenset[tuple[int, str]]:
        for a in ids:
            if not s.attempts[a].is_over:
                slots = (slots - {(a, HELD)}) | {(a, LINGERING)}
        return slots

    def _fold_lease(self, s: State, leader: Leader, t: int, lease: Lease) -> Leader:
        """balancer/model.py:Model.fold_lease, _set_lease, _attempt_ended, _place; `_newer` is only asked in a replay
        (see `_refreshed`)."""
        view = leader.views[t]
        if not view.is_live:
            slots = leader.slots
            if view.revision == 0 or (self.rules.later_lease_kept and lease.generation > view.generation):
                view = view._replace(orphan=lease)
            else:
                slots = self._unknown_lease(s, slots, view.generation, view.known, lease)
            return leader._replace(
                views=put(leader.views, t, view._replace(lease_revision=lease.revision)), slots=slots
            )
        if lease.generation != view.generation:
            kept = lease if self.rules.later_lease_kept and lease.generation > view.generation else None
            view = view._replace(lease_revision=lease.revision, orphan=kept)
            return leader._replace(views=put(leader.views, t, view))
        slots, commit, held = leader.slots, leader.commit, view.lease
        before = held.current if held is not None else NOBODY
        if before not in (NOBODY, lease.current):
            slots -= {(before, HELD)}
            if before in lease.lingering:
                slots = self._lingering(s, slots, frozenset({before}))
        if self.rules.folds_lingering:
            slots = self._lingering(s, slots, lease.lingering - (held.lingering if held is not None else NONE))
        if lease.current != NOBODY:
            slots = (slots - {(lease.current, LINGERING)}) | {(lease.current, HELD)}
            if commit is not None and s.attempts[commit.attempt].task == t:
                commit = commit._replace(is_reserved=False)
        view = view._replace(lease=lease, lease_revision=lease.revision)
        return Leader(leader.status, put(leader.views, t, view), slots, commit, leader.is_torn)

    # Leadership

    def lead(self, s: State) -> Iterator[Step]:
        """runtime/leader.py:Leadership.is_leader, _renew, _acquire; balancer/service.py:_on_leadership, _know_all."""
        if s.holder != NOBODY:
            leader = s.leaders[s.holder]
            if leader.status != STANDBY and not leader.is_torn:
                yield f"leader {s.holder} is not confirmed", self._with(s, s.holder, leader._replace(status=STANDBY))
            if leader.status == STANDBY:
                yield f"key of leader {s.holder} expires", s._replace(holder=NOBODY)
        for i, leader in enumerate(s.leaders):
            if s.holder == NOBODY and s.epochs < self.bounds.epochs:
                status = ACQUIRED if self.rules.knows_before_pick else KNOWING
                moved = self._with(s, i, leader._replace(status=status))
                yield f"leader {i} acquires", moved._replace(holder=i, epochs=s.epochs + 1)
            if leader.status == ACQUIRED:
                yield f"leader {i} has read both streams", self._refreshed(s, i)

    def _refreshed(self, s: State, i: int) -> State:
        """balancer/follow.py:Folding.refresh, _on_replay; model.py:begin_replay, _newer, unconfirmed;
        reconcile.py:Reconciler.write_again. `_newer` is modelled by what it means: more attempts, or the same one
        further on."""
        leader = s.leaders[i]
        for t in range(self.bounds.tasks):
            if s.records[t].revision > leader.views[t].revision:
                leader = self._fold_task(s, leader, t)
        for t in range(self.bounds.tasks):
            lease, view = s.leases[t], leader.views[t]
            held = view.lease if view.is_live else None
            if held is not None and _is_lost(view, lease):
                must = self.rules.writes_again and (lease is None or self.rules.older_lease_overwritten)
                if must:
                    written = held._replace(revision=(lease.revision if lease is not None else 0) + 1)
                    s = s._replace(leases=put(s.leases, t, written), before=put(s.before, t, lease))
                    lease = written
                seen = lease.revision if lease is not None else 0
                believed = held._replace(revision=seen) if must else held
                view = view._replace(lease=believed, lease_revision=seen)
                leader = leader._replace(views=put(leader.views, t, view))
            elif lease is not None and lease.revision > view.lease_revision:
                leader = self._fold_lease(s, leader, t, lease)
        return self._with(s, i, leader._replace(status=KNOWING, is_torn=False))

    # Dispatch

    def decide(self, s: State) -> Iterator[Step]:
        """balancer/dispatch.py:Dispatcher._decide, _commit; model.py:next_decision, _reserve; outcomes.py:assign.
        The slot is held from here on. One decision in flight per leader."""
        if len(s.attempts) == self.bounds.attempts:
            return
        for i, leader in enumerate(s.leaders):
            if leader.status != KNOWING or leader.commit is not None:
                continue
            for server in range(self.bounds.servers):
                if self._active(s, leader, server) >= self.bounds.limit:
                    continue
                for t, view in enumerate(leader.views):
                    if view.is_live and (view.lease is None or view.lease.current == NOBODY):
                        yield f"leader {i} gives task {t} to server {server}", self._decided(s, i, t, server)

    def _active(self, s: State, leader: Leader, server: int) -> int:
        """balancer/slots.py:Slots.active, expire."""
        active = {
            a
            for a, kind in leader.slots
            if s.attempts[a].server == server and not (kind == LINGERING and s.attempts[a].is_over)
        }
        return len(active)

    def _decided(self, s: State, i: int, t: int, server: int) -> State:
        leader, a = s.leaders[i], len(s.attempts)
        view = leader.views[t]
        held = view.lease
        number = (held.number if held is not None else 0) + 1
        lingering = held.lingering if held is not None else NONE
        lease = Lease(view.lease_revision + 1, view.generation, number, a, lingering)
        commit = Commit(a, lease)
        attempts = (*s.attempts, Attempt(t, view.generation, number, server))
        write = Write(i, a, view.lease_revision, lease)
        s = s._replace(attempts=attempts, writes=s.writes | {write})
        s = self._with(s, i, leader._replace(slots=leader.slots | {(a, HELD)}, commit=commit))
        return s if self.rules.written_first else self._handed_over(s, a)

    def land(self, s: State) -> Iterator[Step]:
        """runtime/kv.py:KvBucket.update at the broker: now or much later, after its sender gave up or died too."""
        for write in s.writes:
            a, i = write.attempt, write.leader
            t = s.attempts[a].task
            lease, leader = s.leases[t], s.leaders[i]
            fits = (lease.revision if lease is not None else 0) == write.over or not self.rules.leases_compared
            new = s._replace(writes=s.writes - {write})
            if fits:
                revision = (lease.revision if lease is not None else 0) + 1
                new = self._with_lease(new, t, write.lease._replace(revision=revision))
                new = self._with_attempt(new, a, is_written=True)
            if leader.commit is not None and leader.commit.attempt == a:
                answer = leader.commit._replace(answer="written" if fits else "moved")
                new = self._with(new, i, leader._replace(commit=answer))
            yield f"write of attempt {a} lands{'' if fits else ' and is refused'}", new

    def answered(self, s: State) -> Iterator[Step]:
        """balancer/dispatch.py:Dispatcher._hand_over (model.py:committed) and the RevisionMoved arm of _commit
        (model.py:withdraw, dispatch.py:_heal)."""
        for i, leader in enumerate(s.leaders):
            commit = leader.commit
            if commit is None or not commit.answer:
                continue
            a = commit.attempt
            if commit.answer == "moved":
                yield f"leader {i} withdraws attempt {a}", self._healed(self._withdrawn(s, i), i, s.attempts[a].task)
            else:
                yield f"leader {i} sees attempt {a} written", self._committed(s, i)

    def _committed(self, s: State, i: int) -> State:
        leader = s.leaders[i]
        commit = leader.commit
        assert commit is not None
        a, t = commit.attempt, s.attempts[commit.attempt].task
        view = leader.views[t]
        if not view.is_live or view.generation != s.attempts[a].generation:
            return self._with(s, i, leader._replace(slots=leader.slots - {(a, HELD)}, commit=None))
        leader = leader._replace(commit=None)
        if commit.lease.revision > view.lease_revision:
            leader = self._fold_lease(s, leader, t, commit.lease)
        held = leader.views[t].lease
        s = self._with(s, i, leader)
        if held is None or held.current != a:
            slots = leader.slots - {(a, HELD)} if self.rules.withdrawal_frees else leader.slots
            return self._with(s, i, leader._replace(slots=slots))
        leads = leader.status == KNOWING or not self.rules.leads_after_write
        return self._handed_over(s, a) if leads and self.rules.written_first else s

    def _handed_over(self, s: State, a: int) -> State:
        """balancer/dispatch.py:Dispatcher._hand_over, its last line."""
        if not s.attempts[a].is_written:
            s = s._replace(foul="P6: an attempt is sent whose lease was never written")
        return self._with_attempt(s, a, in_flight=True)

    def _withdrawn(self, s: State, i: int) -> State:
        """balancer/model.py:Model.withdraw."""
        leader = s.leaders[i]
        assert leader.commit is not None
        a, slots = leader.commit.attempt, leader.slots
        view = leader.views[s.attempts[a].task]
        runs_here = view.is_live and view.lease is not None and view.lease.current == a
        if leader.commit.is_reserved or (self.rules.withdrawal_frees and not runs_here):
            slots -= {(a, HELD)}
        return self._with(s, i, leader._replace(slots=slots, commit=None))

    def _healed(self, s: State, i: int, t: int) -> State:
        lease, leader = s.leases[t], s.leaders[i]
        if lease is not None and lease.revision != leader.views[t].lease_revision:
            leader = self._fold_lease(s, leader, t, lease)
        return self._with(s, i, leader)

    def give_up(self, s: State) -> Iterator[Step]:
        """balancer/dispatch.py:Dispatcher._commit, its second arm: the outcome of the write stays unknown for 20 s
        (kv.py:_resolve). The write may land later all the same."""
        for i, leader in enumerate(s.leaders):
            if leader.commit is not None and not leader.commit.answer:
                yield f"leader {i} gives up attempt {leader.commit.attempt}", self._withdrawn(s, i)

    # Executors and servers

    def start_attempts(self, s: State) -> Iterator[Step]:
        """instance/executor.py:_on_handover, _run; attempt.py:Attempts.load, run (`start_by`), _exchange. The record is
        the one in the hand-over, as old as that."""
        for a, attempt in enumerate(s.attempts):
            if attempt.in_flight:
                may = not attempt.is_late or not self.rules.start_by
                if may and self.windows.before_socket:
                    yield f"attempt {a} is checked", self._with_attempt(s, a, in_flight=False, call="checked")
                elif may:
                    yield f"attempt {a} starts", self._started(s, a)
                else:
                    yield f"attempt {a} is refused as late", self._with_attempt(s, a, in_flight=False, call="lost")
            if attempt.call == "checked":
                yield f"attempt {a} starts", self._started(s, a)

    def _started(self, s: State, a: int) -> State:
        return self._with_attempt(s, a, in_flight=False, call="open", runs=not s.attempts[a].is_over)

    def run_attempts(self, s: State) -> Iterator[Step]:
        """instance/attempt.py:_exchange, task/reports.py:Reports.update: the server ends the attempt; its word comes
        as the answer of the call or, when that is gone, as a callback under the attempt's token."""
        for a, attempt in enumerate(s.attempts):
            if attempt.runs:
                for word in ("succeeded", "failed", "failed for now"):
                    yield f"attempt {a} {word}", self._with_attempt(s, a, runs=False, call=word)

    def pass_time(self, s: State) -> Iterator[Step]:
        """`start_by` (outcomes.py:START_BY_MS), then the deadline: the server ends what it runs (X-Pointsman-Deadline),
        an open call times out (attempt.py:_within_deadline)."""
        for a, attempt in enumerate(s.attempts):
            if not attempt.is_late:
                yield f"attempt {a} is late", self._with_attempt(s, a, is_late=True)
            elif not attempt.is_over:
                call = "failed for now" if attempt.call == "open" else attempt.call
                yield f"attempt {a} is past its deadline", self._with_attempt(s, a, is_over=True, runs=False, call=call)

    def conclude(self, s: State) -> Iterator[Step]:
        """runtime/settling.py:Settler.settle, _commit, _still_current; instance/executor.py:_conclude (a stale outcome
        is a Release); task/reports.py:_attempt (a lost lease: the token alone counts)."""
        for a, attempt in enumerate(s.attempts):
            if attempt.call == "succeeded":
                yield f"success of attempt {a} is committed", self._finish(s, a, COMPLETED)
            elif attempt.call == "failed":
                if not self._is_current(s, a) and self.rules.looks_again:
                    yield f"failure of attempt {a} is stale", self._stale(s, a)
                elif self.windows.before_commit:
                    yield f"attempt {a} has looked again", self._with_attempt(s, a, call="looked")
                else:
                    yield f"failure of attempt {a} is committed", self._finish(s, a, FAILED)
            elif attempt.call == "looked":
                yield f"failure of attempt {a} is committed", self._finish(s, a, FAILED)
            elif attempt.call in ("failed for now", "lost"):
                yield f"attempt {a} is handed back", self._hand_back(s, a)

    def _is_current(self, s: State, a: int) -> bool:
        """runtime/settling.py:same_attempt, tokens.py:AttemptClaims.generation."""
        attempt, lease = s.attempts[a], s.leases[s.attempts[a].task]
        record = s.records[attempt.task]
        if record.generation != attempt.generation and self.rules.generation_in_token:
            return False
        if lease is None or lease.generation != record.generation:
            return lease is None
        if lease.current == a:
            return True
        if lease.current == NOBODY or self.rules.generation_in_token:
            return False
        other = s.attempts[lease.current]
        return (other.number, other.server) == (attempt.number, attempt.server)

    def _finish(self, s: State, a: int, status: str) -> State:
        attempt = s.attempts[a]
        t, record, lease = attempt.task, s.records[attempt.task], s.leases[attempt.task]
        is_same = record.generation == attempt.generation or not self.rules.generation_in_token
        if self.rules.tasks_compared and (record.status != PENDING or not is_same):
            return self._stale(s, a)
        if record.generation != attempt.generation and not self._is_current(s, a):
            return self._stale(s, a)
        lingering = lease.lingering if lease is not None and lease.generation == record.generation else NONE
        new = Record(
            record.revision + 1, record.generation, status, attempt.number, frozenset(x for x in lingering if x < a)
        )
        s = self._with_attempt(s, a, call="")
        if record.status != PENDING and record.status != status:
            s = s._replace(foul=f"P2: a terminal record changes from {record.status} to {status}")
        elif record.generation != attempt.generation:
            s = s._replace(foul=f"P4: an attempt of generation {attempt.generation} ends {record.generation}")
        elif status == FAILED and self._has_moved_on(s, a):
            s = s._replace(foul="P4: a stale failure ends a task that moved on")
        return s._replace(records=put(s.records, t, new))

    def _has_moved_on(self, s: State, a: int) -> bool:
        attempt = s.attempts[a]
        same = (attempt.task, attempt.generation)
        return any(b.is_written and (b.task, b.generation) == same for b in s.attempts[a + 1 :])

    def _stale(self, s: State, a: int) -> State:
        return self._with_attempt(s, a, call="", released=True)

    def _hand_back(self, s: State, a: int) -> State:
        attempt = s.attempts[a]
        t, lease = attempt.task, s.leases[attempt.task]
        is_current = lease is not None and lease.current == a and s.records[t].status == PENDING
        if not is_current and (self.rules.leases_compared or lease is None):
            return self._stale(s, a)
        assert lease is not None
        waiting = Lease(lease.revision + 1, attempt.generation, attempt.number, NOBODY, lease.lingering)
        return self._with_lease(self._with_attempt(s, a, call=""), t, waiting)

    # What ends from our side

    def end_by_leader(self, s: State) -> Iterator[Step]:
        """balancer/reconcile.py:_reclaim (an executor that went silent: at any time) and _time_out, _end;
        outcomes.py:settle(Lost(may_still_run)), linger."""
        for i, leader in enumerate(s.leaders):
            if leader.status != KNOWING:
                continue
            for t, view in enumerate(leader.views):
                if not view.is_live or view.lease is None or view.lease.current == NOBODY:
                    continue
                a, lease, record = view.lease.current, s.leases[t], s.records[t]
                if record.status != PENDING or record.generation != view.generation:
                    continue
                if lease is None:
                    lease = view.lease._replace(revision=0)
                if lease.current != a or lease.generation != view.generation:
                    continue
                over = s.attempts[a].is_over
                lingering = lease.lingering | {a} if self.rules.lingers and not over else lease.lingering
                waiting = Lease(lease.revision + 1, lease.generation, lease.number, NOBODY, lingering)
                yield f"leader {i} {'times out' if over else 'reclaims'} attempt {a}", self._with_lease(s, t, waiting)

    def free(self, s: State) -> Iterator[Step]:
        """instance/executor.py:_on_abort, _cancel, abort.py:Canceller.is_over (by any executor: the server is told, and
        says that it runs nothing of the kind); model.py:released; slots.py:free_lingering, reported."""
        for a, attempt in enumerate(s.attempts):
            is_sure = attempt.is_late or attempt.call == "open" or not self.rules.release_waits
            if not attempt.released and attempt.is_written and is_sure and self._is_unwanted(s, a):
                call = "" if attempt.call == "open" else attempt.call
                yield f"attempt {a} is aborted", self._with_attempt(s, a, runs=False, call=call, released=True)
            for i, leader in enumerate(s.leaders):
                if (a, LINGERING) not in leader.slots:
                    continue
                freed = self._with(s, i, leader._replace(slots=leader.slots - {(a, LINGERING)}))
                if attempt.released:
                    yield f"leader {i} hears attempt {a} released", freed
                elif attempt.is_late and not attempt.runs and not attempt.released:
                    yield f"leader {i} hears server {attempt.server} run nothing (attempt {a})", freed

    def _is_unwanted(self, s: State, a: int) -> bool:
        record, lease = s.records[s.attempts[a].task], s.leases[s.attempts[a].task]
        return record.status != PENDING or (lease is not None and lease.current != a)

    def cancel(self, s: State) -> Iterator[Step]:
        """task/reports.py:Reports.cancel: read, then write; outcomes.py:cancel, _interrupted. The leader's own
        reconcile.py:_expire does the same."""
        if s.cancel is not None:
            yield f"cancel of task {s.cancel.task} is written", self._cancelled(s, s.cancel)
        elif s.cancels:
            for t, record in enumerate(s.records):
                if record.status != PENDING:
                    continue
                lease, known, lingering = s.leases[t], 0, NONE
                if lease is not None and lease.generation == record.generation:
                    known = lease.number
                    lingering = lease.lingering | ({lease.current} if lease.current != NOBODY else NONE)
                read = Cancel(t, record.revision, record.generation, known, lingering)
                yield f"cancel reads task {t}", s._replace(cancel=read, cancels=s.cancels - 1)

    def _cancelled(self, s: State, cancel: Cancel) -> State:
        record = s.records[cancel.task]
        s = s._replace(cancel=None)
        if record.revision != cancel.revision:
            if self.rules.tasks_compared:
                return s
            if record.status not in (PENDING, CANCELLED):
                s = s._replace(foul=f"P2: a terminal record changes from {record.status} to {CANCELLED}")
        new = Record(record.revision + 1, cancel.generation, CANCELLED, cancel.known, cancel.lingering)
        return s._replace(records=put(s.records, cancel.task, new))

    def retry(self, s: State) -> Iterator[Step]:
        """task/reports.py:Reports.retry, outcomes.py:renew."""
        for t, record in enumerate(s.records):
            if record.status in (FAILED, CANCELLED) and record.generation < self.bounds.generations:
                kept = record.lingering if self.rules.renewed_keeps_lingering else NONE
                new = Record(record.revision + 1, record.generation + 1, PENDING, 0, kept)
                yield f"task {t} is retried by hand", s._replace(records=put(s.records, t, new))

    # Faults

    def die(self, s: State) -> Iterator[Step]:
        """kill -9 of a leader (it comes back with an empty memory) or of an executor (its calls are gone, servers go
        on); a message that is lost."""
        if s.crashes:
            for i, leader in enumerate(s.leaders):
                if leader.is_torn:
                    continue
                cold = Leader(STANDBY, (View(),) * self.bounds.tasks)
                yield f"leader {i} is killed", self._with(s, i, cold)._replace(crashes=s.crashes - 1)
        for a, attempt in enumerate(s.attempts):
            if attempt.in_flight or attempt.call:
                gone = self._with_attempt(s, a, in_flight=False, call="")
                yield f"executor of attempt {a} is killed", gone

    def lose(self, s: State) -> Iterator[Step]:
        """The broker is killed and the last write of a key of `leases` is gone, the one before it back (DESIGN.md §2).
        An acknowledgement that has come is acted on before the connection is seen broken. Unless the window is open, the
        holder of the leader key lives, had read that write and stays leader."""
        if not s.losses or any(one.commit is not None and one.commit.answer for one in s.leaders):
            return
        for t, lease in enumerate(s.leases):
            if lease is None:
                continue
            lost = s._replace(leases=put(s.leases, t, s.before[t]), losses=s.losses - 1)
            if self.windows.loss_and_new_leader:
                yield (
                    f"the broker loses the lease of task {t}",
                    lost._replace(leaders=tuple(_replaying(one) for one in s.leaders)),
                )
            elif s.holder != NOBODY:
                leader = s.leaders[s.holder]
                if leader.status == KNOWING and leader.views[t].lease == lease:
                    lost = lost._replace(leaders=tuple(_replaying(one) for one in s.leaders))
                    torn = lost.leaders[s.holder]._replace(status=ACQUIRED, is_torn=True)
                    yield f"the broker loses the lease of task {t}", self._with(lost, s.holder, torn)

    # Writing a state anew

    def _with(self, s: State, i: int, leader: Leader) -> State:
        return s._replace(leaders=put(s.leaders, i, leader))

    def _with_attempt(self, s: State, a: int, **changes: object) -> State:
        return s._replace(attempts=put(s.attempts, a, s.attempts[a]._replace(**changes)))

    def _with_lease(self, s: State, t: int, lease: Lease) -> State:
        return s._replace(leases=put(s.leases, t, lease), before=put(s.before, t, s.leases[t]))


def _replaying(leader: Leader) -> Leader:
    """balancer/model.py:Model.begin_replay, in every balancer; one that knew all stands still until it does again."""
    status = ACQUIRED if leader.status == KNOWING else leader.status
    return leader._replace(status=status, views=tuple(view._replace(lease_revision=0) for view in leader.views))


def _is_lost(view: View, lease: Lease | None) -> bool:
    """Whether a replay shows less than the memory holds."""
    held = view.lease if view.is_live and view.lease_revision == 0 else None
    return held is not None and (lease is None or _is_newer(held, lease))


def _is_newer(held: Lease, other: Lease) -> bool:
    if held.generation != other.generation:
        return held.generation > other.generation
    return (held.number, held.current == NOBODY) > (other.number, other.current == NOBODY)
