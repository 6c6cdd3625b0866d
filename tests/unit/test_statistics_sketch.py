"""Percentiles of sketches are within 1 % of those of the durations, however they are split and merged."""

from collections import Counter
from collections.abc import Sequence
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pointsman.services.statistics.sketch import SHARES, Sketch, Spread, key_of, value_of
from tests.support.recount import percentile

durations = st.lists(st.one_of(st.integers(0, 100), st.integers(0, 86_400_000)), min_size=1, max_size=200)


def sketch_of(*parts: Sequence[int]) -> Sketch:
    sketch = Sketch()
    for part in parts:
        counts = Counter(key_of(duration) for duration in part)
        sketch.add([*counts], [*counts.values()], sum(part))
    return sketch


@given(durations)
def test_percentiles_are_within_one_percent(found: list[int]) -> None:
    spread = sketch_of(found).spread()
    assert spread.mean == pytest.approx(sum(found) / len(found))
    for seen, share in zip((spread.p50, spread.p95, spread.p99), SHARES, strict=True):
        assert seen == pytest.approx(percentile(found, share), rel=0.01 + 1e-9)


@given(durations, durations)
def test_merged_sketches_are_the_sketch_of_all(some: list[int], others: list[int]) -> None:
    assert sketch_of(some, others).spread() == sketch_of(some + others).spread()


@given(durations, durations)
def test_what_is_taken_away_again_leaves_no_trace(some: list[int], others: list[int]) -> None:
    sketch, gone = sketch_of(some, others), Counter(key_of(duration) for duration in others)
    sketch.add([*gone], [-count for count in gone.values()], -sum(others))
    assert sketch.spread() == sketch_of(some).spread()


def test_nothing_has_no_percentiles() -> None:
    assert Sketch().spread() == Spread()


@given(st.integers(0, 49))
def test_a_short_duration_is_told_exactly(duration: int) -> None:
    assert value_of(key_of(duration)) == duration


def test_a_million_durations_fit_in_a_few_hundred_buckets() -> None:
    chance = Random(7)
    assert len({key_of(int(chance.lognormvariate(6, 1.5))) for _ in range(100_000)}) < 700
