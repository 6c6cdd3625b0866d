"""What the screen Tasks holds and shows: sightings, the filter language, tabs, the pause."""

from collections.abc import Sequence
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from pointsman.client.bus import Message
from pointsman.contracts.base import encode
from pointsman.contracts.events import Kind
from pointsman.contracts.filters import parse
from pointsman.contracts.frames import Flow, Sample
from pointsman.contracts.ids import uuid7_hex
from pointsman.contracts.lifecycle import Status
from pointsman.contracts.record import Attempt, CurrentAttempt, Lease, TaskRecord, TaskSpec
from pointsman.contracts.subjects import view_lease, view_task
from pointsman.tui.matching import matches
from pointsman.tui.ring import Ring, Tab, count_of, is_on
from pointsman.tui.sighting import SeenRecord, Sighting, merged, of_lease, of_record, of_sample
from pointsman.tui.tail import Tail

NOW = 1_700_000_000_000


def an_id(number: int = 0, at: int = NOW) -> str:
    return "task_" + uuid7_hex(at, number)


def seen(number: int = 0, **fields: Any) -> Sighting:
    known = {"id": an_id(number), "at": NOW, "status": Status.PENDING}
    return Sighting(**(known | fields))


RICH = seen(
    3,
    status=Status.FAILED,
    type="resize-image",
    pool="default",
    owner="ann",
    priority=5,
    attempt=2,
    server_id="srv-0017",
    waited_ms=6_000,
    ran_ms=140,
    error="Connection refused",
    error_code="E42",
    labels={"env": "prod"},
    payload=msgspec.Raw(b'{"user": 42, "tags": ["a", "b"], "deep": {"x": true}}'),
)


@pytest.mark.parametrize(
    "text",
    [
        "type:resize-*",
        "type:other,resize-image",
        "state:failed",
        "-state:done",
        "server:srv-0017",
        "-server:srv-0018",
        "owner:ann pool:default",
        "try>1",
        "try<=2",
        "priority:5",
        "wait>5s",
        "ran<1s",
        f"id:{an_id(3)[5:20]}",
        f"id:{an_id(3)}",
        'error:"connection ref"',
        "error:E42",
        'error:""',
        "refused",
        "srv-0017",
        "label:env=prod",
        "labels.env:prod,test",
        "payload.user:42",
        "payload.tags:b",
        "payload.deep.x:true",
        "since:1h",
        f"from:{NOW} to:{NOW + 1}",
        "",
    ],
)
def test_a_filter_finds_what_it_describes(text: str) -> None:
    assert matches(RICH, parse(text), NOW + 1_000)


@pytest.mark.parametrize(
    "text",
    [
        "type:resize",
        "state:done",
        "-type:resize-*",
        "server:srv-0018",
        "try>2",
        "wait<5s",
        "id:ffff",
        "error:timeout",
        "label:env=test",
        "payload.user:4",
        "payload.tags:c",
        f"from:{NOW + 1}",
        f"to:{NOW}",
        "type:resize-* owner:bob",
    ],
)
def test_a_filter_leaves_out_the_rest(text: str) -> None:
    assert not matches(RICH, parse(text), NOW + 1_000)


def test_what_is_not_known_does_not_match() -> None:
    bare = seen()
    for text in ("type:x", "server:*", "try>0", "wait>1ms", "error:x", "label:a=b", "payload.a:1", "owner:*"):
        assert not matches(bare, parse(text), NOW)
    assert matches(bare, parse("-type:x"), NOW)


def test_a_newer_sighting_adds_to_what_is_known() -> None:
    record = of_record(_record())
    lease = of_lease(an_id(), Lease(attempt=1, current=_current(), updated_at=NOW + 500))
    both = merged(record, lease)
    assert (both.status, both.type, both.server_id, both.waited_ms) == (Status.PROCESSING, "resize", "a", 400)
    assert merged(lease, record) == both


def test_an_end_told_in_the_same_ms_as_the_last_word_of_its_attempt_wins() -> None:
    running = seen(status=Status.PROCESSING, at=NOW + 9)
    done = seen(status=Status.COMPLETED, at=NOW + 9, ran_ms=4)
    assert merged(running, done).status is merged(done, running).status is Status.COMPLETED


def test_a_task_that_waits_for_its_next_try_shows_the_error_of_the_last() -> None:
    attempt = Attempt(number=1, server_id="a", started_at=NOW, finished_at=NOW + 5, outcome="failed", error="boom")
    waits = of_lease(an_id(), Lease(attempt=1, attempts=(attempt,), run_at=NOW + 1_000, updated_at=NOW + 5))
    assert (waits.status, waits.error, waits.is_delayed) == (Status.PENDING, "boom", True)
    runs = of_lease(an_id(), Lease(attempt=2, attempts=(attempt,), current=_current(), updated_at=NOW + 1_100))
    assert not merged(waits, runs).is_delayed


def test_a_sample_of_a_kind_not_known_here_is_left_out() -> None:
    assert of_sample(Sample(at=NOW, task_id=an_id(), kind="teleported")) is None
    assert of_sample(Sample(at=NOW, task_id=an_id(), kind=Kind.REFUSED)) is None


def test_the_newest_come_first_and_the_oldest_leave() -> None:
    ring = Ring(held_max=3)
    for number in range(5):
        ring.take(seen(number), NOW)
    assert ring.ids() == [an_id(4), an_id(3), an_id(2)]
    ring.take(seen(2, at=NOW + 1, status=Status.PROCESSING), NOW)
    assert ring.ids()[0] == an_id(2)
    assert len(ring) == 3


def test_a_tab_shows_its_state_only_and_follows_it() -> None:
    ring = Ring()
    ring.take(seen(1, status=Status.PROCESSING), NOW)
    ring.take(seen(2), NOW)
    ring.look_for(Tab.RUNNING, (), NOW)
    assert ring.ids() == [an_id(1)]
    ring.take(seen(1, status=Status.COMPLETED, at=NOW + 1), NOW)
    assert ring.ids() == []
    assert ring.get(an_id(1)) is None


def test_a_paused_list_stays_as_it_is_and_says_what_came() -> None:
    ring = Ring()
    ring.take(seen(1), NOW)
    ring.pause()
    ring.take(seen(2), NOW)
    ring.take(seen(1, status=Status.COMPLETED, at=NOW + 1), NOW)
    assert ring.ids() == [an_id(1)]
    assert ring.get(an_id(1)).status is Status.PENDING  # type: ignore[union-attr]
    assert ring.missed == 2
    ring.resume()
    assert ring.ids() == [an_id(1), an_id(2)]


def test_a_page_of_history_goes_behind_what_is_held() -> None:
    ring = Ring(held_max=4)
    ring.take(seen(5), NOW)
    ring.take_older([seen(5, type="x"), seen(4), seen(3), seen(2), seen(1)], NOW)
    assert ring.ids() == [an_id(5), an_id(4), an_id(3), an_id(2)]
    assert ring.get(an_id(5)).type == "x"  # type: ignore[union-attr]


def test_counts_are_those_of_the_cluster() -> None:
    flow = Flow(pending=3, running=None, delayed=0)
    assert [count_of(tab, flow) for tab in (Tab.QUEUED, Tab.RUNNING, Tab.DELAYED, Tab.DONE)] == [3, None, 0, None]


def _record(**fields: Any) -> SeenRecord:
    task = TaskRecord(
        id=an_id(),
        owner="ann",
        spec=TaskSpec(type="resize", deadline=NOW + 60_000, payload=msgspec.Raw(b'{"a": 1}')),
        created_at=NOW,
        updated_at=NOW,
        **fields,
    )
    return msgspec.json.decode(encode(task), type=SeenRecord)


def _current() -> CurrentAttempt:
    return CurrentAttempt(
        number=1, server_id="a", executor="x", started_at=NOW + 400, start_by=NOW, deadline=NOW, epoch=1
    )


async def test_a_tail_reads_records_and_leases_and_counts_what_is_too_much() -> None:
    told: list[Sighting] = []
    tail = Tail(told.append, lambda one: one.type != "other", clock=lambda: 1.0)
    lease = encode(Lease(attempt=1, current=_current(), updated_at=NOW))
    for _ in range(300):
        await tail._on_lease(Message(view_lease(an_id()), lease, {}))
    assert (len(told), tail.dropped) == (200, 100)
    for _ in range(2_000):
        await tail._on_task(Message(view_task(an_id()), encode(_record(result=None)), {}))
    assert len(told) == 200
    assert tail.dropped == 2_100


sightings = st.builds(
    lambda number, at, status, run_at: seen(number, at=NOW + at, status=status, run_at=run_at and NOW + run_at),
    st.integers(0, 12),
    st.integers(0, 100),
    st.sampled_from(Status),
    st.none() | st.integers(1, 200),
)


class RingLikeAList(RuleBasedStateMachine):
    """Against a plain list that is sifted from the start each time."""

    def __init__(self) -> None:
        super().__init__()
        self.ring = Ring(held_max=6)
        self.held: list[Sighting] = []
        self.frozen: list[Sighting] | None = None

    def _shown(self) -> list[Sighting]:
        found = [one for one in self.held if is_on(self.ring.tab, one) and matches(one, self.ring.terms, NOW)]
        return list(reversed(found))

    @rule(one=sightings)
    def take(self, one: Sighting) -> None:
        self.ring.take(one, NOW)
        known = next((held for held in self.held if held.id == one.id), None)
        self.held = [held for held in self.held if held.id != one.id]
        self.held.append(merged(known, one) if known else one)
        self.held = self.held[-6:]

    @rule(tab=st.sampled_from(Tab), text=st.sampled_from(["", "state:done", "-state:queued", "id:018bcfe56800700080"]))
    def look_for(self, tab: Tab, text: str) -> None:
        self.ring.look_for(tab, parse(text), NOW)
        self.frozen = None

    @rule()
    def pause(self) -> None:
        if self.frozen is None:
            self.frozen = self._shown()
        self.ring.pause()

    @rule()
    def resume(self) -> None:
        self.frozen = None
        self.ring.resume()

    @invariant()
    def shows_the_same(self) -> None:
        wanted = self._shown() if self.frozen is None else self.frozen
        assert [self.ring.get(key) for key in self.ring.ids()] == wanted
        assert len(self.ring) == len(self.held)


RingLikeAList.TestCase.settings = settings(max_examples=60, stateful_step_count=30)
TestRingLikeAList = RingLikeAList.TestCase


@given(st.lists(sightings, min_size=2, max_size=2))
def test_merging_does_not_depend_on_who_came_first_unless_both_are_of_one_moment(two: Sequence[Sighting]) -> None:
    one, other = (msgspec.structs.replace(seen, id=an_id()) for seen in two)
    if one.at != other.at:
        assert merged(one, other) == merged(other, one)
