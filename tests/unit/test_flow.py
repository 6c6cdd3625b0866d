"""What flows through the leader, counted: against a plain ledger, whatever happens to tasks and however it is replayed."""

from collections import Counter
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from pointsman.contracts.flow import FlowFrame, add, bucket_of, decode_flow, encode_flow, ms_of, quantile, subtract
from pointsman.contracts.frames import SAMPLE_MAX
from pointsman.contracts.lifecycle import Status
from pointsman.contracts.limits import Limit, TypeSettings
from pointsman.contracts.record import Lease, RetryPolicy, TaskHead, TaskNeeds, TaskRecord
from pointsman.services.balancer.entry import Entry, Shapes
from pointsman.services.balancer.flow import Counts, Flow
from pointsman.services.balancer.flow_frame import Term, Told, flow_frame
from pointsman.services.balancer.model import Model
from pointsman.services.balancer.settings_book import SettingsBook
from pointsman.services.runtime import outcomes
from pointsman.services.runtime.outcomes import Failed, Lost, Succeeded
from tests.unit.test_model import NOW, a_lease, a_model, a_record, fold, fold_lease

DURATIONS = st.integers(0, 40 * 86_400_000)
OUTCOMES: tuple[outcomes.Ended, ...] = (Succeeded(), Failed(error="boom", http_status=500), Lost(reason="no answer"))


class Ledger:
    """Lives tasks through a model and counts by hand what happens."""

    def __init__(self, model: Model, rng: Random) -> None:
        self.model, self.rng, self.sequence = model, rng, 0
        self.seen: Counter[str] = Counter()
        self.waits: list[int] = []
        self.runs: list[int] = []
        self.leases: list[tuple[str, Lease, int]] = []

    def next(self) -> int:
        self.sequence += 1
        return self.sequence

    def live(self, number: int) -> None:
        """One task from its submission to its end, some records of it coming twice."""
        record, lease, now = a_record(f"t{number}", max_attempts=3, retry=RetryPolicy(base_ms=1)), None, NOW
        fold(self.model, record, self.next(), now)
        self.seen["submitted"] += 1
        while True:
            now += self.rng.randrange(2_000)
            if self.rng.random() < 0.1:
                self.end(outcomes.cancel(record, lease, "enough", now), now)
                return
            lease = self.begin(record, lease, now)
            ran = self.rng.randrange(5_000)
            now += ran
            if self.rng.random() < 0.1:
                self.end(outcomes.cancel(record, lease, "enough", now), now)
                return
            outcome = self.rng.choice(OUTCOMES)
            self.note(outcome, ran)
            after = outcomes.settle(record, lease, outcome, now=now, rng=self.rng)
            if isinstance(after, TaskRecord):
                self.end(after, now)
                return
            self.seen["retried"] += 1
            lease = self.told(record.id, after, now)

    def begin(self, record: TaskRecord, before: Lease | None, now: int) -> Lease:
        lease = a_lease(record, before, server=self.rng.choice("ab"), now=now)
        self.seen["started"] += 1
        if lease.attempt == 1:
            self.waits.append(now - NOW)
        lease = self.told(record.id, lease, now)
        assert lease.current is not None
        return self.told(record.id, replace(lease, current=replace(lease.current, progress=50.0)), now)

    def told(self, task_id: str, lease: Lease, now: int) -> Lease:
        sequence = self.next()
        for _ in range(self.rng.choice((1, 1, 2))):
            fold_lease(self.model, lease, sequence, now, task_id)
        return lease

    def note(self, outcome: outcomes.Ended, ran: int) -> None:
        match outcome:
            case Succeeded():
                self.seen["done"] += 1
            case Failed():
                self.seen["failed attempts"] += 1
            case _:
                self.seen["lost"] += 1
                return
        self.runs.append(ran)

    def end(self, record: TaskRecord, now: int) -> None:
        self.seen[record.status] += 1
        for sequence in (self.next(), self.next()):
            fold(self.model, record, sequence, now)


def counted(counts: Counts) -> Counter[str]:
    tallies = counts.servers.values()
    return Counter(
        {
            "submitted": counts.submitted,
            "started": sum(one.started for one in tallies),
            "done": sum(one.done for one in tallies),
            "failed attempts": sum(one.failed for one in tallies),
            "lost": sum(one.lost for one in tallies),
            "retried": counts.retried,
            **counts.ended,
        }
    )


@pytest.mark.parametrize("seed", range(20))
def test_the_counts_are_those_of_a_ledger(seed: int) -> None:
    model = a_model()
    ledger = Ledger(model, Random(seed))
    for number in range(60):
        ledger.live(number)
    counts = model.flow.take()
    assert +counted(counts) == +ledger.seen
    assert counts.types == {"resize": [ledger.seen["done"], ledger.seen["failed attempts"]]}
    assert counts.waits == Counter(map(bucket_of, ledger.waits))
    assert counts.runs == Counter(map(bucket_of, ledger.runs))
    ends = sum(ledger.seen[status] for status in Status)
    assert counts.happened == ledger.seen["submitted"] + ledger.seen["started"] + ledger.seen["retried"] + ends


def test_a_replay_of_the_leases_counts_nothing_twice() -> None:
    model, record = a_model(), a_record()
    fold(model, record, 1)
    lease = a_lease(record)
    fold_lease(model, lease, 1)
    waiting = outcomes.settle(record, lease, Failed(error="boom", http_status=500), now=NOW + 5, rng=Random(7))
    assert isinstance(waiting, Lease)
    fold_lease(model, waiting, 2)
    model.flow.take()
    model.begin_replay()
    fold_lease(model, waiting, 2)
    assert +counted(model.flow.take()) == Counter()


def test_a_task_that_was_never_seen_live_counts_as_come_and_gone() -> None:
    model, record = a_model(), a_record()
    fold(model, outcomes.cancel(record, None, "enough", NOW), 5)
    assert +counted(model.flow.take()) == Counter({"submitted": 1, Status.CANCELLED: 1})


def test_a_task_retried_by_hand_has_waited_since_then() -> None:
    model, record = a_model(), a_record()
    failed = outcomes.cancel(record, None, "enough", NOW)
    fold(model, record, 1)
    fold(model, failed, 2)
    again = outcomes.renew(failed, NOW + 86_400_000, "")
    fold(model, again, 3, NOW + 86_400_000)
    fold_lease(model, a_lease(again, now=NOW + 86_400_300), 1, NOW + 86_400_300)
    counts = model.flow.take()
    assert (counts.submitted, counts.waits) == (2, {bucket_of(300): 1})


@given(DURATIONS)
def test_what_is_read_back_is_wrong_by_two_percent_at_most(ms: int) -> None:
    assert ms_of(bucket_of(ms)) == pytest.approx(ms, rel=0.02)


@given(st.lists(DURATIONS, min_size=1, max_size=200), st.lists(DURATIONS, max_size=200), st.floats(0, 1))
def test_histograms_are_merged_and_taken_apart(one: list[int], other: list[int], share: float) -> None:
    left, right = Counter(map(bucket_of, one)), Counter(map(bucket_of, other))
    both = dict(left)
    add(both, right)
    assert both == Counter(map(bucket_of, one + other))
    true = sorted(one + other)[int(share * (len(one + other) - 1))]
    assert quantile(both, share) == pytest.approx(true, rel=0.02)
    subtract(both, right)
    assert both == left
    assert quantile({}, share) is None


def test_every_event_is_as_likely_to_be_in_the_sample() -> None:
    rng, events, rounds = Random(7), 200, 1_500
    heads = [
        TaskHead(id=f"t{number}", owner="ann", spec=TaskNeeds(type="a", deadline=NOW), created_at=NOW)
        for number in range(events)
    ]
    entries = [Entry(head, Shapes().of(head), 1) for head in heads]
    flow, kept = Flow(rng.random), Counter[str]()
    for _ in range(rounds):
        for entry in entries:
            flow.submitted(entry, NOW)
        counts = flow.take()
        assert (counts.happened, len(counts.sample)) == (events, SAMPLE_MAX)
        kept.update(sample.task_id for sample in counts.sample)
    expected = rounds * SAMPLE_MAX / events
    assert all(abs(kept[head.id] - expected) < 5 * expected**0.5 for head in heads)


def framed(model: Model, told: Told, *, whole: bool, now: int = NOW) -> FlowFrame:
    frame = flow_frame(
        model,
        SettingsBook(),
        told,
        model.flow.take(),
        Term("host-1", 4),
        whole=whole,
        executors=1,
        span_ms=200,
        now=now,
        now_s=now / 1000,
    )
    assert decode_flow(encode_flow(frame)) == frame
    return frame


def test_between_whole_frames_only_servers_that_changed_are_told() -> None:
    model, told = a_model(), Told()
    assert {one.id for one in framed(model, told, whole=True).servers} == {"a", "b"}
    assert framed(model, told, whole=False).servers == ()
    record = a_record()
    fold(model, record, 1)
    fold_lease(model, a_lease(record, server="b"), 1)
    (server,) = framed(model, told, whole=False).servers
    assert (server.id, server.active, server.started) == ("b", 1, 1)


def test_gauges_tell_who_waits_and_since_when() -> None:
    model, told = a_model(servers=("a",), limit=1), Told()
    for number in range(3):
        fold(model, replace(a_record(f"t{number}"), created_at=NOW + number), number + 1, NOW + 10)
    fold(model, a_record("later", run_at=NOW + 60_000), 9, NOW + 10)
    frame = framed(model, told, whole=True, now=NOW + 500)
    assert (frame.pending, frame.delayed, frame.running, frame.slots, frame.oldest_due) == (3, 1, 0, 1, NOW)
    assert frame.pools[0].oldest_due == NOW


def test_what_waits_at_a_limit_is_old_but_not_its_pools_fault() -> None:
    model, told = a_model(), Told()
    model.pools.set_type("resize", TypeSettings(type="resize", limit=Limit(max_concurrent=0)), 0.0)
    fold(model, a_record(), 1)
    frame = framed(model, told, whole=True, now=NOW + 500)
    assert (frame.pending, frame.oldest_due, frame.pools[0].oldest_due) == (1, NOW, None)
