"""Durations as counts per bucket of a logarithmic mapping: sketches are merged by adding, percentiles read at 1 %."""

from bisect import bisect_right
from collections import Counter
from collections.abc import Sequence
from itertools import accumulate

import msgspec
from ddsketch import LogarithmicMapping

ACCURACY = 0.01
ZERO = -1
"""The bucket of 0 ms, which has no logarithm."""
WHOLE_MS_MAX = 50.0
"""Below it no bucket holds two whole numbers, so rounding gives the duration itself."""
SHARES = (0.5, 0.95, 0.99)

type Buckets = tuple[Sequence[int], Sequence[int]]
"""Buckets, and how many durations each holds."""

_MAPPING = LogarithmicMapping(ACCURACY)


class Spread(msgspec.Struct, frozen=True, kw_only=True):
    """Mean and percentiles of durations in ms; all None when there are none."""

    mean: float | None = None
    p50: float | None = None
    p95: float | None = None
    p99: float | None = None


class Sketch:
    """The mean is exact, percentiles are within 1 % of those of `percentile_cont`."""

    def __init__(self) -> None:
        self._parts: list[Buckets] = []
        self._sum_ms = 0

    def add(self, buckets: Sequence[int], counts: Sequence[int], sum_ms: int) -> None:
        """Counts may be negative, for what was counted and is no longer so."""
        if buckets:
            self._parts.append((buckets, counts))
        self._sum_ms += sum_ms

    def spread(self) -> Spread:
        buckets, counts = merged(self._parts)
        if not buckets:
            return Spread()
        upto = list(accumulate(counts))
        p50, p95, p99 = (percentile(buckets, upto, share) for share in SHARES)
        return Spread(mean=self._sum_ms / upto[-1], p50=p50, p95=p95, p99=p99)


def merged(parts: Sequence[Buckets]) -> Buckets:
    """One sketch of all, its buckets in order and each with a count."""
    if len(parts) == 1 and min(parts[0][1]) > 0 and list(parts[0][0]) == sorted(parts[0][0]):
        return parts[0]
    sums: Counter[int] = Counter()
    for buckets, counts in parts:
        for bucket, count in zip(buckets, counts, strict=True):
            sums[bucket] += count
    found = sorted((bucket, count) for bucket, count in sums.items() if count > 0)
    return [bucket for bucket, _ in found], [count for _, count in found]


def key_of(duration_ms: int) -> int:
    """The bucket of a duration."""
    return _MAPPING.key(duration_ms) if duration_ms >= 1 else ZERO


def value_of(bucket: int) -> float:
    """A duration within 1 % of all that are in the bucket."""
    value = _MAPPING.value(bucket) if bucket != ZERO else 0.0
    return round(value) if value < WHOLE_MS_MAX else value


def percentile(buckets: Sequence[int], upto: Sequence[int], share: float) -> float:
    """Interpolated between the closest ranks. `upto` counts all up to and with each bucket."""
    place = share * (upto[-1] - 1)
    low = int(place)
    lower = value_of(buckets[bisect_right(upto, low)])
    upper = value_of(buckets[bisect_right(upto, min(low + 1, upto[-1] - 1))])
    return lower + (upper - lower) * (place - low)
