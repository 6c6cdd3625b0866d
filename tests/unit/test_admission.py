"""Admission by backlog: who is refused, what is told, and what the leader counts for it."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pointsman.contracts.balancer import LoadFrame, PoolLoad
from pointsman.contracts.errors import PointsmanError
from pointsman.contracts.lifecycle import Status
from pointsman.contracts.limits import PoolSettings
from pointsman.contracts.record import TaskHead, TaskNeeds
from pointsman.services.balancer import rules
from pointsman.services.balancer.backlog import OWNERS_TOLD_MAX
from pointsman.services.balancer.model import Model
from pointsman.services.task.admission import Admission, retry_after_s


def frame(pending: int = 0, drain_per_s: float = 0.0, **pools: PoolLoad) -> LoadFrame:
    return LoadFrame(
        epoch=1, active={}, limits={}, cancel={}, pending=pending, as_of=0, drain_per_s=drain_per_s, pools=pools
    )


def accepted(admission: Admission, count: int, pool: str = "p", owner: str = "ann", now_s: float = 0.0) -> int:
    """How many of so many are accepted."""
    taken = 0
    for _ in range(count):
        try:
            with admission.admit(pool, owner, now_s):
                taken += 1
        except PointsmanError as refusal:
            assert (refusal.status, refusal.slug) == (429, "overloaded")
            assert 1 <= (refusal.retry_after_s or 0) <= 300
    return taken


def bounded(limit: int = 1_000_000, **settings: int) -> Admission:
    admission = Admission(limit)
    admission.set_pool("p", PoolSettings(**settings))  # type: ignore[arg-type]
    return admission


def test_a_burst_between_two_frames_ends_at_the_limit() -> None:
    admission = bounded(max_backlog=10)
    assert accepted(admission, 50) == 10
    assert accepted(admission, 50, pool="other") == 50
    admission.heard(frame(p=PoolLoad(waiting=7, drain_per_s=0.0)), 1.0)
    assert accepted(admission, 50, now_s=1.0) == 3


def test_what_probably_left_makes_room_before_the_next_frame() -> None:
    admission = bounded(max_backlog=10)
    admission.heard(frame(p=PoolLoad(waiting=10, drain_per_s=4.0)), 1.0)
    assert accepted(admission, 9, now_s=1.0) == 0
    assert accepted(admission, 9, now_s=1.5) == 2
    assert accepted(admission, 9, now_s=60.0) == 2, "without a leader nothing drains for long"


def test_what_could_not_be_written_takes_no_place() -> None:
    admission = bounded(max_backlog=1)
    with pytest.raises(OSError), admission.admit("p", "ann", 0.0):
        raise OSError
    assert accepted(admission, 3) == 1


def test_what_is_on_its_way_counts_over_a_frame() -> None:
    admission = bounded(max_backlog=2)
    with admission.admit("p", "ann", 0.0):
        admission.heard(frame(p=PoolLoad(waiting=1, drain_per_s=0.0)), 1.0)
        assert accepted(admission, 3, now_s=1.0) == 0
    assert accepted(admission, 3, now_s=1.0) == 0
    admission.heard(frame(p=PoolLoad(waiting=1, drain_per_s=0.0)), 2.0)
    assert accepted(admission, 3, now_s=2.0) == 1


def test_each_owner_has_a_bound_of_its_own() -> None:
    admission = bounded(max_backlog_per_owner=5)
    assert accepted(admission, 9, owner="ann") == 5
    assert accepted(admission, 9, owner="bob") == 5
    admission.heard(frame(p=PoolLoad(waiting=8, drain_per_s=0.0, owners={"ann": 5, "bob": 3})), 1.0)
    assert accepted(admission, 9, owner="ann", now_s=1.0) == 0
    assert accepted(admission, 9, owner="bob", now_s=1.0) == 2


def test_the_refusal_names_pool_count_limit_and_pace() -> None:
    admission = bounded(max_backlog=100)
    admission.heard(frame(p=PoolLoad(waiting=150, drain_per_s=4.0)), 1.0)
    with pytest.raises(PointsmanError) as refusal:
        admission.check("p", "ann", 1.0)
    assert refusal.value.retry_after_s == 13
    assert refusal.value.detail == "150 tasks wait in pool p, the limit is 100; 4.0 end per second"


def test_the_bound_of_everything_stays() -> None:
    admission = Admission(3)
    assert accepted(admission, 9) == 3
    admission.heard(frame(pending=3), 1.0)
    assert accepted(admission, 9, now_s=1.0) == 0


def test_settings_that_are_gone_do_not_bound() -> None:
    admission = bounded(max_backlog=1)
    admission.set_pool("p", PoolSettings(max_backlog=1, removed=True))
    assert accepted(admission, 9) == 9
    admission.set_pool("p", None)
    assert accepted(admission, 9) == 9


@given(st.integers(1, 10**9), st.floats(0, 1e6))
def test_retry_after_is_when_the_excess_has_ended_within_bounds(excess: int, drain_per_s: float) -> None:
    seconds = retry_after_s(excess, drain_per_s)
    assert 1 <= seconds <= 300
    assert seconds == (300 if drain_per_s else 30) or seconds * drain_per_s >= excess * 0.999


def test_a_pool_that_has_just_begun_sends_nobody_away_for_minutes() -> None:
    admission = bounded(max_backlog=10)
    for load, seconds in (
        (PoolLoad(waiting=10, drain_per_s=0.0), 30),
        (PoolLoad(waiting=10, drain_per_s=0.1, left=5), 1),
    ):
        admission.heard(frame(p=load), 1.0)
        with pytest.raises(PointsmanError) as refusal:
            admission.check("p", "ann", 1.0)
        assert refusal.value.retry_after_s == seconds


def test_the_leader_counts_what_waits_by_pool_and_owner_whatever_happens() -> None:
    """Against a count of the entries themselves, over random lives."""
    model, rng = Model(), Random(7)
    model.pools.set_pool("a", PoolSettings(max_backlog=9, max_backlog_per_owner=100), 0.0)
    live: dict[str, TaskHead] = {}
    for revision in range(1, 2_000):
        if live and rng.random() < 0.4:
            head = live.pop(rng.choice(list(live)))
            ended = TaskHead(id=head.id, owner=head.owner, spec=head.spec, created_at=0, status=Status.CANCELLED)
            model.fold_task(ended, revision, b"", 1, 0.0)
        else:
            spec = TaskNeeds(type="x", deadline=10**9, pool=rng.choice("ab"), run_at=rng.choice((None, 10**8)))
            head = TaskHead(id=f"task_{revision:032x}", owner=rng.choice("xyz"), spec=spec, created_at=0)
            live[head.id] = head
            model.fold_task(head, revision, b"", 1, 0.0)
    model.tick(1, 1.0)
    told = rules.load_frame(model, 1, [], 1)
    mine = [head for head in live.values() if head.spec.pool == "a"]
    assert set(told.pools) == {"a"}
    assert told.pools["a"].waiting == len(mine) == model.backlog.count("a")
    owners = {owner: sum(head.owner == owner for head in mine) for owner in "xyz"}
    assert told.pools["a"].owners == {owner: count for owner, count in owners.items() if count > 1}
    assert told.pools["a"].left > 0
    model.tick(1, 2.0)
    assert rules.load_frame(model, 1, [], 1).pools["a"].left == 0
    for head in live.values():
        ended = TaskHead(id=head.id, owner=head.owner, spec=head.spec, created_at=0, status=Status.CANCELLED)
        model.fold_task(ended, 5_000, b"", 1, 0.0)
    assert model.backlog.pools() == set()


def test_a_frame_names_a_bounded_number_of_owners_the_busiest() -> None:
    model = Model()
    model.pools.set_pool("default", PoolSettings(max_backlog_per_owner=1), 0.0)
    for number in range(300):
        for copy in range(1 + (number >= 250)):
            head = TaskHead(
                id=f"task_{number * 2 + copy:032x}",
                owner=f"owner-{number}",
                spec=TaskNeeds(type="x", deadline=10**9),
                created_at=0,
            )
            model.fold_task(head, number * 2 + copy + 1, b"", 1, 0.0)
    owners = rules.load_frame(model, 1, [], 1).pools["default"].owners
    assert len(owners) == OWNERS_TOLD_MAX
    assert {f"owner-{number}" for number in range(250, 300)} <= set(owners)
