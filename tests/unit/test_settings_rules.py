"""Live settings: what is refused, what an edit writes down, and that undo undoes."""

import itertools
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pointsman.contracts.balancer import ALGORITHM_NAMES, Algorithm
from pointsman.contracts.base import encode, is_null
from pointsman.contracts.errors import PointsmanError
from pointsman.contracts.limits import (
    CHANGES_KEPT_MAX,
    KeySettings,
    Kind,
    Limit,
    PoolSettings,
    Rate,
    TypeSettings,
    in_force,
)
from pointsman.contracts.steering import LimitRequest, PoolPatch, PoolRequest, TypeRequest
from pointsman.services.balancer import settings_rules as rules
from pointsman.services.balancer import settings_view as view

POOL, KEY = PoolSettings(), KeySettings(key="k")


def edit(stored: PoolSettings | None, wanted: PoolSettings | None, now: int = 1) -> PoolSettings | None:
    return rules.edited(stored, wanted, POOL, by="olga", now=now)


def refusal(work: Any, *arguments: Any, **named: Any) -> PointsmanError:
    with pytest.raises(PointsmanError) as refused:
        work(*arguments, **named)
    return refused.value


def request[T](shape: type[T], **fields: Any) -> T:
    return msgspec.json.decode(msgspec.json.encode(fields), type=shape)


def test_an_unknown_algorithm_or_kind_is_400_and_lists_what_exists() -> None:
    error = refusal(rules.pool_of, PoolRequest(algorithm="psychic"))
    assert (error.status, error.errors[0].field) == (400, "algorithm")
    assert all(name in error.detail for name in ALGORITHM_NAMES)
    assert refusal(rules.patched, None, PoolPatch(algorithm="psychic")).status == 400
    error = refusal(rules.kind_of, "server")
    assert (error.status, error.detail) == (400, "kind: unknown; one of pool, type, key")


@pytest.mark.parametrize(
    ("shape", "fields"),
    [
        (LimitRequest, {"maxConcurrent": -1}),
        (LimitRequest, {"maxConcurrent": 1_000_001}),
        (LimitRequest, {"maxConcurrent": "5"}),
        (LimitRequest, {"rate": {"perSecond": 0}}),
        (LimitRequest, {"rate": {"perSecond": 1e6 + 1}}),
        (LimitRequest, {"rate": {"perSecond": 1, "burst": 0}}),
        (LimitRequest, {"rate": {"burst": 3}}),
        (LimitRequest, {"limit": 3}),
        (PoolRequest, {"shares": {"a": 0}}),
        (PoolRequest, {"shares": {"a": 1001}}),
        (PoolRequest, {"shares": {"": 1}}),
        (PoolRequest, {"shares": {str(n): 1 for n in range(1001)}}),
        (PoolRequest, {"maxBacklog": 0}),
        (PoolRequest, {"maxBacklogPerOwner": 0}),
        (PoolRequest, {"retryPercent": 1001}),
        (PoolRequest, {"affinity": "maybe"}),
        (PoolPatch, {"colour": "red"}),
        (PoolPatch, {"retriesPerS": None}),
        (TypeRequest, {"timeoutMs": 0}),
        (TypeRequest, {"priority": 11}),
    ],
)
def test_what_is_out_of_bounds_is_refused_where_it_is_decoded(shape: type[msgspec.Struct], fields: Any) -> None:
    with pytest.raises(msgspec.ValidationError):
        request(shape, **fields)


def test_a_patch_changes_what_it_names_and_nothing_else() -> None:
    before = PoolSettings(algorithm=Algorithm.P2C, shares={"a": 2}, max_backlog=5, limit=Limit(max_concurrent=3))
    after = rules.patched(before, request(PoolPatch, maxBacklog=None, algorithm="fastest-free"))
    assert after == msgspec.structs.replace(before, max_backlog=None, algorithm=Algorithm.RESPONSE_TIME)
    assert rules.patched(before, PoolPatch()) == before
    assert rules.patched(None, PoolPatch(limit=LimitRequest(max_concurrent=0))).limit == Limit(max_concurrent=0)


def test_a_change_says_who_when_and_what_was_before() -> None:
    first = edit(None, PoolSettings(max_backlog=5), now=10)
    assert first is not None
    second = edit(first, PoolSettings(max_backlog=6), now=20)
    assert second is not None
    assert [(c.at, c.by) for c in second.changes] == [(10, "olga"), (20, "olga")]
    assert is_null(second.changes[0].before)
    assert msgspec.json.decode(second.changes[1].before) == {"maxBacklog": 5}


def test_a_change_that_changes_nothing_writes_nothing() -> None:
    stored = edit(None, PoolSettings(shares={"a": 1}))
    assert edit(stored, PoolSettings(shares={"a": 1}), now=99) is None
    assert edit(None, None) is None
    schema = rules.type_of("a", request(TypeRequest, schema={"type": "object"}))
    declared = rules.edited(None, schema, TypeSettings(type="a"), by="olga", now=1)
    again = msgspec.json.decode(encode(declared), type=TypeSettings) if declared else None
    assert rules.edited(again, schema, TypeSettings(type="a"), by="olga", now=2) is None


def test_nothing_can_be_undone_where_nothing_was_done() -> None:
    assert refusal(rules.undone, None, POOL, by="x", now=1).status == 409


limits = st.builds(
    Limit,
    max_concurrent=st.none() | st.integers(0, 1_000_000),
    rate=st.none() | st.builds(Rate, per_second=st.floats(0.001, 1e6), burst=st.integers(1, 1_000_000)),
)
pools = st.builds(
    PoolSettings,
    algorithm=st.sampled_from(Algorithm),
    limit=limits,
    shares=st.dictionaries(st.text(min_size=1, max_size=5), st.integers(1, 1000), max_size=3).map(
        lambda shares: dict(sorted(shares.items()))
    ),
    max_backlog=st.none() | st.integers(1, 100),
)


@given(st.lists(st.none() | pools, min_size=1, max_size=15))
def test_undo_goes_back_undo_of_undo_comes_again_and_history_stays_short(wanted: list[PoolSettings | None]) -> None:
    """Also over the wire: what is stored is what is read."""
    stored: PoolSettings | None = None
    before: PoolSettings | None = None
    clock = itertools.count(1)
    for one in wanted:
        record = edit(stored, one, now=next(clock))
        if record is not None:
            before = in_force(stored)
            stored = msgspec.json.decode(encode(record), type=PoolSettings)
    if stored is None:
        return
    assert len(stored.changes) <= CHANGES_KEPT_MAX
    last = in_force(stored)
    undone = rules.undone(stored, POOL, by="anna", now=next(clock))
    assert bare(in_force(undone)) == bare(before)
    assert (undone.changes[-1].by, undone.updated_at) == ("anna", undone.changes[-1].at)
    redone = rules.undone(undone, POOL, by="anna", now=next(clock))
    assert bare(in_force(redone)) == bare(last)
    assert len(redone.changes) <= CHANGES_KEPT_MAX


def bare(settings: PoolSettings | None) -> PoolSettings | None:
    return None if settings is None else rules.bare(settings)


def test_settings_that_are_too_large_to_keep_are_413() -> None:
    shares = {f"{n:03}" + "x" * 125: 1 for n in range(900)}
    assert refusal(edit, None, PoolSettings(shares=shares)).status == 413


def test_a_limit_is_set_where_it_lives_and_a_key_without_one_is_nothing() -> None:
    limit = Limit(max_concurrent=2)
    pool = rules.limited(Kind.POOL, "p", PoolSettings(max_backlog=7), limit)
    assert pool == PoolSettings(max_backlog=7, limit=limit)
    assert rules.unlimited(Kind.POOL, pool) == PoolSettings(max_backlog=7)
    assert rules.limited(Kind.TYPE, "t", None, limit) == TypeSettings(type="t", limit=limit)
    key = rules.limited(Kind.KEY, "a/b", None, limit)
    assert key == KeySettings(key="a/b", limit=limit)
    assert rules.unlimited(Kind.KEY, key) is None
    assert refusal(rules.check_name, Kind.TYPE, "No Type").errors[0].field == "name"


def test_the_revision_that_was_seen_must_be_the_one_that_is() -> None:
    rules.check_revision(None, 7, None)
    rules.check_revision(7, 7, None)
    assert refusal(rules.check_revision, 6, 7, None).status == 412
    changed = PoolSettings(updated_at=52_228_000, by="ana")
    assert "changed by ana at 14:30:28 UTC" in refusal(rules.check_revision, 6, 7, changed).detail


def test_what_does_not_exist_is_404_with_at_most_twenty_that_do() -> None:
    error = rules.absent(Kind.POOL, "x", [f"p{n:02}" for n in range(30)])
    assert error.status == 404
    assert "p19" in error.detail and "p20" not in error.detail and "10 more" in error.detail
    assert "there is none" in rules.absent(Kind.TYPE, "x", []).detail


def test_a_page_ends_at_its_limit_and_the_next_goes_on() -> None:
    views = [(f"p{n}", view.pool_view(f"p{n}", None, 0)) for n in range(5)]
    first, cursor = view.page(views, None, 2)
    second, cursor_2 = view.page(views, cursor, 2)
    third, end = view.page(views, cursor_2, 2)
    assert [one.pool for one in (*first, *second, *third)] == ["p0", "p1", "p2", "p3", "p4"]
    assert end is None
    assert view.page([], None, 2) == ([], None)


def test_a_page_ends_before_it_is_too_large_to_send() -> None:
    shares = {f"{n:04}" + "x" * 60: 1 for n in range(1000)}
    views = [(f"p{n:03}", view.pool_view(f"p{n:03}", PoolSettings(shares=shares), 1)) for n in range(100)]
    taken, cursor = view.page(views, None, 200)
    assert 10 < len(taken) < 40 and cursor == taken[-1].pool
