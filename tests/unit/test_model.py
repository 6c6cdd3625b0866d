"""What the leader knows, folded from two streams in whatever order they come, with crashes in between."""

from dataclasses import dataclass, field
from random import Random
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from msgspec.structs import replace

from pointsman.contracts.base import encode
from pointsman.contracts.limits import KeySettings, Limit
from pointsman.contracts.record import Lease, TaskHead, TaskRecord, TaskSpec
from pointsman.contracts.server import HealthState, ServerConfig, ServerHealth
from pointsman.services.balancer.attempts import Decision
from pointsman.services.balancer.entry import State
from pointsman.services.balancer.model import Model
from pointsman.services.runtime import outcomes
from pointsman.services.runtime.outcomes import Failed, Lost, Succeeded, assign

NOW = 1_700_000_000_000
LIMIT = 1


def a_model(servers: tuple[str, ...] = ("a", "b"), limit: int = 2) -> Model:
    model = Model()
    for server in servers:
        model.fleet.configure(
            ServerConfig(
                id=server, name=server, predict="http://x", health="http://x", registered_at=1, max_concurrent=limit
            )
        )
        model.fleet.set_health(server, ServerHealth(state=HealthState.HEALTHY, registered_at=1))
    return model


def a_record(task_id: str = "t1", **spec: Any) -> TaskRecord:
    fields = {"type": "resize", "deadline": NOW + 3_600_000, "timeout_ms": 60_000} | spec
    return TaskRecord(id=task_id, owner="ann", spec=TaskSpec(**fields), created_at=NOW, updated_at=NOW)


def a_head(record: TaskRecord) -> TaskHead:
    return msgspec.json.decode(encode(record), type=TaskHead)


def fold(model: Model, record: TaskRecord, revision: int, now: int = NOW) -> None:
    raw = encode(record)
    model.fold_task(msgspec.json.decode(raw, type=TaskHead), revision, raw, now, now / 1000)


def fold_lease(model: Model, lease: Lease, revision: int, now: int = NOW, task_id: str = "t1") -> None:
    model.fold_lease(task_id, lease, revision, now, now / 1000)


def a_lease(record: TaskRecord, before: Lease | None = None, *, server: str = "a", now: int = NOW) -> Lease:
    return assign(before, record.generation, server_id=server, executor="x", epoch=1, now=now, deadline=now + 60_000)


def settle(record: TaskRecord, lease: Lease, outcome: outcomes.Ended, now: int = NOW) -> Any:
    return outcomes.settle(record, lease, outcome, now=now, rng=Random(7))


def decide(model: Model, now: int = NOW) -> Decision | None:
    return model.next_decision(now, now / 1000, Random(7))


def test_a_task_waits_runs_and_is_gone() -> None:
    model, record = a_model(), a_record()
    fold(model, record, 1)
    assert (model.pending.count, model.slots.total()) == (1, 0)
    decision = decide(model)
    assert decision is not None
    assert (model.pending.count, model.slots.total()) == (0, 1)
    lease = a_lease(record, server=decision.server_id)
    assert model.committed(decision, lease, 1, NOW)
    assert model.by_executor == {"x": 1}
    fold(model, settle(record, lease, Succeeded()), 2)
    assert (model.slots.total(), model.running, model.entries, model.by_executor) == (0, {}, {}, {"x": 0})


def test_a_lease_may_come_before_its_task() -> None:
    model, record = a_model(), a_record()
    fold_lease(model, a_lease(record), 1)
    fold(model, record, 1)
    assert list(model.running) == ["t1"]
    assert model.slots.by_server() == {"a": 1}


def test_a_late_lease_of_an_ended_task_holds_a_slot_only_until_its_deadline() -> None:
    model, record = a_model(), a_record()
    fold(model, record, 1)
    fold(model, outcomes.cancel(record, None, None, NOW), 2)
    fold_lease(model, a_lease(record), 1)
    assert model.slots.by_server() == {"a": 1}
    model.tick(NOW + 60_000, 0)
    assert model.slots.total() == 0
    assert not model.entries


def test_a_record_that_was_folded_before_changes_nothing() -> None:
    model, record = a_model(), a_record()
    fold(model, record, 1)
    lease = a_lease(record)
    fold_lease(model, lease, 5)
    waiting = settle(record, lease, Lost(reason="x"))
    fold_lease(model, waiting, 6)
    fold_lease(model, lease, 5)
    fold(model, record, 1)
    assert (model.pending.count, model.slots.total(), model.running) == (1, 0, {})


def test_an_answer_dated_before_its_assignment_still_frees_the_slot() -> None:
    """The executor's clock is behind the leader's: order comes from the stream, not from the clocks."""
    model, record = a_model(), a_record()
    fold(model, record, 1)
    lease = a_lease(record, now=NOW)
    fold_lease(model, lease, 1)
    waiting = settle(record, lease, Lost(reason="refused"), now=NOW - 5_000)
    fold_lease(model, waiting, 2)
    assert (model.running, model.slots.total(), model.pending.count) == ({}, 0, 1)


def test_what_a_broker_crash_took_is_known_as_missing() -> None:
    model, record = a_model(), a_record()
    fold(model, record, 1)
    fold_lease(model, a_lease(record), 3)
    model.begin_replay()
    assert [entry.id for entry in model.unconfirmed()] == ["t1"]
    assert list(model.running) == ["t1"]
    model.written_again(model.entries["t1"], 1)
    assert model.unconfirmed() == []


def test_a_lease_that_came_back_in_an_older_form_is_known_as_missing_too() -> None:
    """kill -9 took the last write, and the record it had replaced is in the stream again."""
    model, record = a_model(), a_record()
    fold(model, record, 1)
    first = a_lease(record)
    waiting = settle(record, first, Lost(reason="x"))
    second = a_lease(record, waiting, server="b")
    for revision, lease in enumerate((first, waiting, second), 1):
        fold_lease(model, lease, revision)
    model.begin_replay()
    fold_lease(model, waiting, 2)
    assert model.slots.by_server() == {"b": 1}
    assert [entry.id for entry in model.unconfirmed()] == ["t1"]
    assert model.entries["t1"].lease_revision == 2


def test_after_a_replay_the_stream_s_newer_word_counts() -> None:
    model, record = a_model(), a_record()
    fold(model, record, 1)
    lease = a_lease(record)
    fold_lease(model, lease, 9)
    model.begin_replay()
    fold_lease(model, settle(record, lease, Lost(reason="x"), now=NOW - 1), 4)
    assert (model.slots.total(), model.unconfirmed(), model.pending.count) == (0, [], 1)


def test_a_new_leader_holds_the_slots_of_attempts_that_may_still_run() -> None:
    """A cold start reads only the last lease; the attempts that it says linger hold their slots too."""
    record = a_record()
    lost = Lost(reason="executor died", may_still_run=True)
    waiting = settle(record, a_lease(record), lost)
    waiting = settle(record, a_lease(record, waiting, server="b"), lost)
    for lease_first in (False, True):
        model = a_model()
        if lease_first:
            fold_lease(model, waiting, 4)
        fold(model, record, 1)
        if not lease_first:
            fold_lease(model, waiting, 4)
        assert model.slots.by_server() == {"a": 1, "b": 1}


def test_a_slot_that_was_released_is_not_held_again_by_the_next_lease() -> None:
    model, record = a_model(), a_record()
    fold(model, record, 1)
    lease = a_lease(record)
    fold_lease(model, lease, 1)
    waiting = settle(record, lease, Lost(reason="x", may_still_run=True))
    fold_lease(model, waiting, 2)
    assert model.slots.by_server() == {"a": 1}
    assert model.released("t1", 1, 1)
    fold_lease(model, a_lease(record, waiting, server="b"), 3)
    assert model.slots.by_server() == {"b": 1}


def test_a_decision_that_cannot_be_written_gives_its_slot_back() -> None:
    model, record = a_model(), a_record()
    fold(model, record, 1)
    decision = decide(model)
    assert decision is not None
    model.withdraw(decision, NOW)
    assert (model.pending.count, model.slots.total()) == (1, 0)


def test_a_task_that_ends_while_its_lease_cannot_be_written_leaves_no_slot_behind() -> None:
    model, record = a_model(), a_record()
    fold(model, record, 1)
    decision = decide(model)
    assert decision is not None
    fold(model, outcomes.cancel(record, None, None, NOW), 2)
    model.withdraw(decision, NOW)
    assert model.slots.total() == 0


def test_a_task_that_another_leader_gave_away_leaves_no_slot_behind_here() -> None:
    model, record = a_model(), a_record()
    fold(model, record, 1)
    decision = decide(model)
    assert decision is not None
    other = "b" if decision.server_id == "a" else "a"
    fold_lease(model, a_lease(record, server=other), 1)
    model.withdraw(decision, NOW)
    assert model.slots.by_server() == {other: 1}
    assert list(model.running) == ["t1"]


def test_a_reserved_task_is_not_given_away_a_second_time() -> None:
    model, record = a_model(), a_record()
    fold(model, record, 1)
    decision = decide(model)
    assert decision is not None
    fold_lease(model, replace(settle(record, a_lease(record), Lost(reason="x")), attempt=1), 1)
    assert decide(model) is None
    model.withdraw(decision, NOW)
    assert (model.pending.count, model.slots.total()) == (1, 0)


def test_a_lease_seen_before_its_acknowledgement_counts_once_even_over_a_replay() -> None:
    model, record = a_model(), a_record()
    fold(model, record, 1)
    decision = decide(model)
    assert decision is not None
    lease = a_lease(record, server=decision.server_id)
    fold_lease(model, lease, 1)
    model.begin_replay()
    assert model.committed(decision, lease, 1, NOW)
    assert (model.by_executor, model.slots.total()) == ({"x": 1}, 1)
    fold(model, settle(record, lease, Succeeded()), 2)
    assert (model.by_executor, model.slots.total()) == ({"x": 0}, 0)


def test_the_next_generation_starts_afresh_and_the_old_attempt_lingers() -> None:
    model, record = a_model(), a_record()
    fold(model, record, 1)
    lease = a_lease(record)
    fold_lease(model, lease, 1)
    cancelled = outcomes.cancel(record, lease, None, NOW)
    fold(model, outcomes.renew(cancelled, NOW, ""), 3)
    assert (model.pending.count, model.slots.by_server()) == (1, {"a": 1})
    assert [abort.number for _, abort in model.aborts] == [1]
    fold_lease(model, lease, 2)
    assert (model.pending.count, model.running) == (1, {})
    assert model.entries["t1"].lease_revision == 2


def test_the_next_attempt_goes_elsewhere_if_it_can() -> None:
    model, record = a_model(), a_record(retry=outcomes.RetryPolicy(base_ms=1, max_ms=1, jitter=0.0))
    fold(model, record, 1)
    waiting = settle(record, a_lease(record), Failed(error="x"))
    fold_lease(model, waiting, 1)
    model.tick(NOW + 1, 0)
    decision = decide(model, NOW + 1)
    assert decision is not None
    assert decision.server_id == "b"


def test_what_is_delayed_waits_for_its_time() -> None:
    model = a_model()
    fold(model, a_record(run_at=NOW + 1000), 1)
    assert (model.pending.count, decide(model), model.next_due()) == (0, None, NOW + 1000)
    model.tick(NOW + 999, 0)
    assert model.pending.count == 0
    model.tick(NOW + 1000, 1)
    assert model.pending.count == 1


def test_a_deadline_that_nobody_has_dealt_with_asks_for_no_hurry() -> None:
    """A standby deals with none, and would go round and round."""
    model, record = a_model(), a_record(deadline=NOW + 90_000)
    fold(model, record, 1)
    fold_lease(model, a_lease(record), 1)
    model.tick(NOW + 200_000, 200)
    assert model.next_due() is None


def test_a_standby_takes_note_of_gates_that_time_has_opened() -> None:
    """It decides nothing, and would go round and round."""
    model = a_model()
    model.pending.gates.block("k", NOW + 1_000, NOW)
    fold(model, a_record(concurrency_key="k"), 1)
    assert model.next_due() == NOW + 1_000
    model.tick(NOW + 1_000, 1)
    assert model.next_due() is None


def test_overdue_attempts_and_tasks_are_named_until_dealt_with() -> None:
    model, record = a_model(), a_record(deadline=NOW + 90_000)
    fold(model, record, 1)
    fold_lease(model, a_lease(record), 1)
    assert model.due.attempts_overdue(NOW + 59_999) == []
    assert [entry.id for entry in model.due.attempts_overdue(NOW + 60_000)] == ["t1"]
    assert model.due.attempts_overdue(NOW + 60_000) == []
    model.due.watch_again(model.entries["t1"], NOW + 62_000)
    assert [entry.id for entry in model.due.attempts_overdue(NOW + 62_000)] == ["t1"]
    assert [entry.id for entry in model.due.tasks_overdue(NOW + 91_000)] == ["t1"]


def test_an_extended_attempt_is_not_overdue_at_its_first_deadline() -> None:
    model, record = a_model(), a_record()
    fold(model, record, 1)
    lease = a_lease(record)
    fold_lease(model, lease, 1)
    fold_lease(model, outcomes.extend(lease, NOW + 120_000, NOW), 2)
    assert model.due.attempts_overdue(NOW + 60_000) == []
    assert len(model.due.attempts_overdue(NOW + 120_000)) == 1
    assert model.slots.total() == 1


@pytest.mark.parametrize("count", [1, 7])
def test_no_more_than_max_concurrent_is_ever_decided(count: int) -> None:
    model = a_model(("a",), limit=3)
    for n in range(count):
        fold(model, a_record(f"t{n}"), n + 1)
    decisions = [one for _ in range(count) if (one := decide(model)) is not None]
    assert len(decisions) == min(3, count)
    assert model.slots.active("a") == min(3, count)


@dataclass
class Truth:
    """One task as it is in the buckets: what was written, and how far the leader has read."""

    record: TaskRecord
    revision: int
    lease: Lease | None = None
    lease_revision: int = 0
    written: list[tuple[int, Lease]] = field(default_factory=list)


class ModelMachine(RuleBasedStateMachine):
    """Two streams written by the rules, folded at their own pace; own writes may be acknowledged before or after."""

    @initialize()
    def begin(self) -> None:
        self.model = a_model(limit=LIMIT)
        self.now = NOW
        self.truths: dict[str, Truth] = {}
        self.tasks: list[tuple[int, TaskRecord]] = []
        self.leases: list[tuple[int, str, Lease]] = []
        self.tasks_read = self.leases_read = 0
        self.task_seq = self.lease_seq = 0
        self.decisions: list[Decision] = []
        self.rng = Random(7)

    def put_task(self, record: TaskRecord) -> None:
        self.task_seq += 1
        self.tasks.append((self.task_seq, record))
        self.truths[record.id] = replace_truth(self.truths.get(record.id), record, self.task_seq)

    def put_lease(self, task_id: str, lease: Lease) -> int:
        self.lease_seq += 1
        self.leases.append((self.lease_seq, task_id, lease))
        truth = self.truths[task_id]
        truth.lease, truth.lease_revision = lease, self.lease_seq
        return self.lease_seq

    def live(self) -> list[Truth]:
        return [truth for truth in self.truths.values() if truth.record.status == "PENDING"]

    def running(self) -> list[Truth]:
        return [
            truth
            for truth in self.live()
            if truth.lease and truth.lease.current and truth.lease.generation == truth.record.generation
        ]

    @precondition(lambda self: len(self.truths) < 6)
    @rule(delay=st.sampled_from([0, 0, 2_000]), key=st.sampled_from([None, "x", "y"]), priority=st.integers(0, 2))
    def submit(self, delay: int, key: str | None, priority: int) -> None:
        record = a_record(f"t{len(self.truths)}", fairness_key=key, priority=priority,
                          run_at=self.now + delay if delay else None, max_attempts=3)  # fmt: skip
        self.put_task(record)

    @rule(count=st.integers(1, 3))
    def read_tasks(self, count: int) -> None:
        for revision, record in self.tasks[self.tasks_read : self.tasks_read + count]:
            if self.truths[record.id].revision == revision:
                fold(self.model, record, revision, self.now)
        self.tasks_read = min(len(self.tasks), self.tasks_read + count)

    @rule(count=st.integers(1, 3))
    def read_leases(self, count: int) -> None:
        for revision, task_id, lease in self.leases[self.leases_read : self.leases_read + count]:
            if self.truths[task_id].lease_revision == revision:
                fold_lease(self.model, lease, revision, self.now, task_id)
        self.leases_read = min(len(self.leases), self.leases_read + count)

    @rule()
    def decide(self) -> None:
        decision = self.model.next_decision(self.now, self.now / 1000, self.rng)
        if decision is not None:
            self.decisions.append(decision)

    @precondition(lambda self: self.decisions)
    @rule(skew=st.integers(-50, 50), is_seen_first=st.booleans())
    def write_a_decision(self, skew: int, is_seen_first: bool) -> None:
        """Compare-and-set on what the leader knew when it wrote; a conflict is healed by reading."""
        decision = self.decisions.pop(0)
        entry, truth = decision.entry, self.truths[decision.entry.id]
        if entry.lease_revision != truth.lease_revision:
            if self.model.entries.get(entry.id) is entry and truth.lease is not None:
                entry.lease_revision = min(entry.lease_revision, truth.lease_revision - 1)
                fold_lease(self.model, truth.lease, truth.lease_revision, self.now, entry.id)
            self.model.withdraw(decision, self.now)
            return
        lease = assign(entry.lease, entry.generation, server_id=decision.server_id, executor="x", epoch=1,
                       now=self.now + skew, deadline=self.now + 5_000)  # fmt: skip
        revision = self.put_lease(entry.id, lease)
        if is_seen_first:
            self.read_leases(len(self.leases))
        self.model.committed(decision, lease, revision, self.now)

    @precondition(lambda self: self.decisions)
    @rule()
    def fail_to_write(self) -> None:
        self.model.withdraw(self.decisions.pop(0), self.now)

    @precondition(lambda self: self.running())
    @rule(
        index=st.integers(0, 5), how=st.sampled_from(["succeed", "fail", "lose", "vanish"]), skew=st.integers(-50, 50)
    )
    def an_attempt_ends(self, index: int, how: str, skew: int) -> None:
        truth = self.running()[index % len(self.running())]
        outcome = {
            "succeed": Succeeded(),
            "fail": Failed(error="x", retry_after_ms=500),
            "lose": Lost(reason="x"),
            "vanish": Lost(reason="x", may_still_run=True),
        }[how]
        assert truth.lease is not None
        decided = outcomes.settle(truth.record, truth.lease, outcome, now=self.now + skew, rng=self.rng)
        if isinstance(decided, Lease):
            self.put_lease(truth.record.id, decided)
        else:
            self.put_task(decided)

    @precondition(lambda self: self.live())
    @rule(index=st.integers(0, 5))
    def cancel(self, index: int) -> None:
        truth = self.live()[index % len(self.live())]
        self.put_task(outcomes.cancel(truth.record, truth.lease, None, self.now))

    @precondition(lambda self: any(t.record.status in ("CANCELLED", "FAILED") for t in self.truths.values()))
    @rule()
    def retry_by_hand(self) -> None:
        for truth in list(self.truths.values()):
            if truth.record.status in ("CANCELLED", "FAILED"):
                self.put_task(outcomes.renew(truth.record, self.now, ""))
                return

    @rule(step=st.sampled_from([1, 600, 2_500]))
    def time_passes(self, step: int) -> None:
        self.now += step
        self.model.tick(self.now, self.now / 1000)

    @precondition(lambda self: self.leases and not self.decisions)
    @rule()
    def the_broker_loses_the_last_lease(self) -> None:
        """Its tail is gone, what it replaced is back, the leader reads all again and writes what is missing."""
        self.read_leases(len(self.leases))
        self.leases.pop()
        self.lease_seq = self.leases[-1][0] if self.leases else 0
        for truth in self.truths.values():
            truth.lease, truth.lease_revision = None, 0
        for revision, task_id, lease in self.leases:
            self.truths[task_id].lease, self.truths[task_id].lease_revision = lease, revision
        self.read_tasks(len(self.tasks))
        self.model.begin_replay()
        self.leases_read = 0
        self.read_leases(len(self.leases))
        for entry in self.model.unconfirmed():
            assert entry.lease is not None
            assert entry.lease_revision == self.truths[entry.id].lease_revision
            self.model.written_again(entry, self.put_lease(entry.id, entry.lease))

    @invariant()
    def slots_are_what_runs_is_reserved_or_lingers(self) -> None:
        if not hasattr(self, "model"):
            return
        lingering = {key for _, key, _ in self.model.slots.lingering()}
        held = {key for keys in self.model.slots._held.values() for key, lingers in keys.items() if lingers is None}
        running = {
            f"{e.id}/{e.generation}/{e.lease.current.number}"
            for e in self.model.running.values()
            if e.lease is not None and e.lease.current is not None
        }
        reserved = {decision.attempt for decision in self.decisions}
        assert running <= held
        assert held <= running | reserved
        assert not lingering & running
        assert sum(self.model.by_executor.values()) == len(self.model.running)

    @invariant()
    def no_server_ever_runs_more_than_it_takes(self) -> None:
        """Counted in the buckets, not in the model: what the leases say runs, and what was left behind running."""
        if not hasattr(self, "model"):
            return
        servers = [truth.lease.current.server_id for truth in self.running() if truth.lease and truth.lease.current]
        for truth in self.truths.values():
            lease = truth.lease if truth.lease and truth.lease.generation == truth.record.generation else Lease()
            left = lease.lingering if truth in self.live() else truth.record.lingering
            servers += [one.server_id for one in left if one.until > self.now]
        assert all(servers.count(server) <= LIMIT for server in servers)

    @invariant()
    def the_pending_count_is_exact(self) -> None:
        if hasattr(self, "model"):
            pending = [entry for entry in self.model.entries.values() if entry.state is State.PENDING]
            index = self.model.pending
            in_places = sum(one.count for one in (*index._lines.values(), *index.gates.lanes()))
            assert index.count == len(pending) == sum(index.by_pool().values()) == in_places

    @invariant()
    def running_entries_are_those_whose_lease_says_so(self) -> None:
        if hasattr(self, "model"):
            states = {id(e) for e in self.model.entries.values() if e.state is State.RUNNING}
            assert states == {id(e) for e in self.model.running.values()}

    def teardown(self) -> None:
        """When all has been read and every task has ended, nothing is left."""
        if not hasattr(self, "model"):
            return
        while self.decisions:
            self.fail_to_write()
        self.read_tasks(len(self.tasks))
        self.read_leases(len(self.leases))
        assert set(self.model.entries) == {truth.record.id for truth in self.live()}
        assert set(self.model.running) == {truth.record.id for truth in self.running()}
        for truth in self.running():
            assert self.model.entries[truth.record.id].lease == truth.lease
        self.now += 100_000
        self.model.tick(self.now, self.now / 1000)
        waiting = len(self.live()) - len(self.running())
        assert self.model.pending.count == self.model.backlog.count("default") == waiting, (
            "no phantoms, and nobody left out"
        )
        for truth in self.live():
            self.put_task(outcomes.expire(truth.record, truth.lease, self.now))
        self.read_tasks(len(self.tasks))
        self.model.tick(self.now + 100_000, (self.now + 100_000) / 1000)
        assert (self.model.entries, self.model.running, self.model.slots.by_server()) == ({}, {}, {})
        assert (self.model.pending.count, self.model._raw_bytes, self.model._behind) == (0, 0, set())
        assert self.model.backlog.pools() == set()


def replace_truth(truth: Truth | None, record: TaskRecord, revision: int) -> Truth:
    if truth is None:
        return Truth(record, revision)
    truth.record, truth.revision = record, revision
    return truth


TestModelInAnyInterleaving = ModelMachine.TestCase
TestModelInAnyInterleaving.settings = settings(
    max_examples=150, stateful_step_count=40, derandomize=True, suppress_health_check=list(HealthCheck)
)


def of_all_kinds(n: int) -> dict[str, Any]:
    """What callers may think up: pools, capabilities, keys and times of their own."""
    names = {"pool": f"p{n % 500}", "capabilities": (f"c{n}",), "concurrency_key": f"k{n}", "fairness_key": f"f{n}"}
    return names | {"timeout_ms": 1_000 + n, "deadline": NOW + 60_000 + n * 100}


def what_is_kept(model: Model) -> dict[str, int]:
    gates = model.pending.gates
    return {
        "entries": len(model.entries),
        "lines": len(model.pending._lines),
        "gates": len(gates._gates),
        "dirty": len(gates._dirty),
        "openings": len(gates._openings),
        "running": len(gates._running),
        "shares": len(model.pending.fairness._shares),
        "paces": len(model.pools._all),
        "seconds": len(model.due._attempts._slots) + len(model.due._deadlines._slots),
    }


@pytest.mark.parametrize("fate", ["runs elsewhere", "is cancelled"])
def test_a_standby_keeps_nothing_of_the_tasks_that_others_finished(fate: str) -> None:
    model, rng = a_model(limit=9_999), Random(7)
    model.pools.set_key("*", KeySettings(key="*", limit=Limit(max_concurrent=1)), 0.0)
    for n in range(3_000):
        now, record = NOW + n * 100, replace(a_record(f"t{n}", **of_all_kinds(n)), created_at=NOW + n * 100)
        fold(model, record, 2 * n + 1, now)
        ended: Any = outcomes.cancel(record, None, None, now)
        if fate == "runs elsewhere":
            lease = a_lease(record, now=now)
            fold_lease(model, lease, n + 1, now, record.id)
            ended = outcomes.settle(record, lease, Succeeded(), now=now, rng=rng)
        fold(model, ended, 2 * n + 2, now)
        model.tick(now, now / 1000)
    for second in range(400):
        model.tick(NOW + 300_000 + second * 1_000, NOW / 1000 + 300 + second)
    kept = what_is_kept(model)
    assert max(kept.values()) <= 2, kept


def test_shapes_are_as_many_as_callers_like_but_not_kept_for_ever() -> None:
    model = a_model()
    for n in range(25_000):
        model._shapes.of(a_head(a_record("t", timeout_ms=1_000 + n)))
    assert len(model._shapes._shapes) <= 10_000


def test_a_pool_that_was_forgotten_is_as_good_as_new() -> None:
    model = a_model(limit=9)
    for round_number in range(3):
        now = NOW + round_number * 1_000_000
        for n in range(4):
            fold(
                model,
                replace(a_record(f"t{round_number}{n}", fairness_key=f"f{n % 2}"), created_at=now + n),
                1,
                now + 9,
            )
        began = [decision.entry.fairness_key for _ in range(4) if (decision := decide(model, now + 9)) is not None]
        assert sorted(began[:2]) == sorted(began[2:]) == ["f0", "f1"]
        for n in range(4):
            record = replace(a_record(f"t{round_number}{n}"), created_at=now + n)
            fold(model, outcomes.cancel(record, None, None, now), 2, now)
        for second in range(300):
            model.tick(now + second * 1_000, now / 1000 + second)
        assert not model.pools._all


@pytest.mark.parametrize("fate", ["cancelled", "put off"])
def test_what_was_scheduled_far_off_is_forgotten_when_it_will_not_begin_then(fate: str) -> None:
    model, count = a_model(), 2_000
    for n in range(count):
        record = a_record(f"t{n}", run_at=NOW + 30 * 86_400_000 + n)
        fold(model, record, 2 * n + 1)
        if n % 100:
            if fate == "cancelled":
                fold(model, outcomes.cancel(record, None, None, NOW), 2 * n + 2)
            else:
                fold_lease(model, replace(a_lease(record), current=None, run_at=NOW + 5), n + 1, NOW, record.id)
                fold_lease(model, a_lease(record), count + n + 1, NOW, record.id)
    assert model.due._delayed.count == count // 100
    assert len(model.due._delayed.queued) <= 3 * count // 100 + 64
    assert model.next_due() == NOW + 30 * 86_400_000
    model.tick(NOW + 31 * 86_400_000, 0)
    assert model.pending.count == count // 100
