"""A range and the rollups that make it up cover the same milliseconds, each once."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from pointsman.contracts.task import DAY_MS
from pointsman.services.statistics.spans import (
    DAY,
    HOUR,
    HOUR_MS,
    MINUTE,
    MINUTE_MS,
    Piece,
    Range,
    day_before,
    pieces_of,
)

DAY_START = 1_795_046_400_000
WIDTHS = st.sampled_from([(DAY, HOUR), (HOUR,), (DAY, HOUR, MINUTE), (HOUR, MINUTE)])
MOMENTS = st.one_of(
    st.integers(0, 5 * DAY_MS),
    st.integers(0, 5 * 24 * 60).map(lambda minute: minute * MINUTE_MS),
    st.integers(0, 5 * 24).map(lambda hour: hour * HOUR_MS),
)


@given(MOMENTS, MOMENTS, WIDTHS)
def test_pieces_and_edges_cover_a_range_without_gap_or_overlap(one: int, other: int, widths: tuple[int, ...]) -> None:
    span = Range(start=DAY_START + min(one, other), end=DAY_START + max(one, other) + 1)
    pieces = pieces_of(span, *widths)
    covered = [Range(start=piece.at, end=piece.at + piece.width * MINUTE_MS) for piece in pieces.rollups]
    parts = sorted((*covered, *pieces.edges), key=lambda part: part.start)
    assert parts[0].start == span.start
    assert parts[-1].end == span.end
    assert all(before.end == after.start for before, after in pairwise(parts))
    assert all(piece.at % (piece.width * MINUTE_MS) == 0 for piece in pieces.rollups)
    assert all(edge.end - edge.start < 2 * widths[-1] * MINUTE_MS for edge in pieces.edges)
    assert sum(part.end - part.start for part in covered) == pieces.inner.end - pieces.inner.start


def test_a_day_is_one_piece_and_ninety_days_are_ninety() -> None:
    assert pieces_of(Range(start=DAY_START, end=DAY_START + DAY_MS), DAY, HOUR).rollups == (Piece(DAY, DAY_START),)
    quarter = pieces_of(Range(start=DAY_START + HOUR_MS, end=DAY_START + 90 * DAY_MS + HOUR_MS), DAY, HOUR)
    assert (len(quarter.rollups), quarter.edges) == (89 + 24, ())


@given(st.integers(0, DAY_MS - 1))
def test_a_running_day_is_compared_with_as_much_of_the_day_before(passed: int) -> None:
    now = DAY_START + passed
    before = day_before(Range(start=DAY_START, end=DAY_START + DAY_MS), now)
    assert before.start == DAY_START - DAY_MS
    assert 0 < before.end + DAY_MS - now <= MINUTE_MS
    past = Range(start=DAY_START - 3 * DAY_MS, end=DAY_START - DAY_MS)
    assert day_before(past, now) == Range(start=past.start - DAY_MS, end=past.end - DAY_MS)
