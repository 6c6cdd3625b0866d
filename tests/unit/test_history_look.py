"""Which days a search looks at: all of them once, the newest first, and no more than it needs."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pointsman.contracts.task import DAY_MS
from pointsman.services.history.finder import LOOK_FIRST_MS, Look, Place
from pointsman.services.history.query import Span

SPAN = Span(1_000 * DAY_MS, 1_090 * DAY_MS)


def looked(look: Look, per_day: int) -> list[Span]:
    windows = []
    while (window := look.window()) is not None:
        windows.append(window)
        look.note((window.end - window.start) * per_day // DAY_MS)
    return windows


@given(
    per_day=st.integers(0, 100),
    wanted=st.integers(1, 2_000),
    after=st.none() | st.integers(SPAN.start, SPAN.end),
    known=st.integers(0, 500),
)
def test_windows_follow_one_another_until_enough_is_found_or_all_looked_at(
    per_day: int, wanted: int, after: int | None, known: int
) -> None:
    place = None if after is None else Place(after, "task")
    windows = looked(Look(SPAN, place, wanted, known), per_day)
    ends = [min(SPAN.end, after + 1) if after is not None else SPAN.end, *(window.start for window in windows)]
    assert [window.end for window in windows] == ends[:-1]
    found = known + sum((window.end - window.start) * per_day // DAY_MS for window in windows)
    assert found >= wanted or ends[-1] == SPAN.start


def test_what_is_frequent_needs_two_days_and_what_is_nowhere_two_looks() -> None:
    assert looked(Look(SPAN, None, 51), 1_000) == [Span(SPAN.end - LOOK_FIRST_MS, SPAN.end)]
    assert len(looked(Look(SPAN, None, 51), 0)) == 2


def test_days_around_the_epoch_are_looked_at_like_any_other() -> None:
    span = Span(-90 * DAY_MS, 0)
    assert looked(Look(span, None, 51), 0) == [Span(-LOOK_FIRST_MS, 0), Span(span.start, -LOOK_FIRST_MS)]


def test_how_far_back_is_looked_goes_by_what_was_found() -> None:
    first, second = looked(Look(SPAN, None, 1_000), 100)
    assert second.start == first.start - 8 * DAY_MS
    place = Place(SPAN.end - DAY_MS, "task")
    assert looked(Look(SPAN, place, 1_000, 100), 100)[0].start == pytest.approx(SPAN.end - 10 * DAY_MS, abs=1_000)


def test_a_later_page_goes_by_what_it_finds_itself() -> None:
    place = Place(SPAN.end - 30 * DAY_MS, "task")
    first, second = looked(Look(SPAN, place, 1_000), 100)
    assert second.start == first.start - 8 * DAY_MS
