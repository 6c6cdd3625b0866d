"""Heartbeats by phi accrual: how long a silence may be, told by the intervals seen so far. Pure.

phi = -log10(1 - F(t)), F the normal distribution of the last 100 intervals (Hayashibara 2004, in Akka's form). phi >= 5
is a silence of mean + 4.265 standard deviations, so the limit is computed once per beat and a look costs a comparison.
"""

from collections import deque
from math import sqrt
from statistics import NormalDist

PHI = 5.0
WINDOW = 100
SD_MIN_S = 0.2
INTERVAL_S = 2.0
DEVIATIONS = -NormalDist().inv_cdf(10.0**-PHI)
GAP_TIMES_MAX = 3.0


class Beats:
    """The heartbeats of one server; times in s, monotonic, at the prober. Starts as if beats came every 2 s."""

    __slots__ = ("_gaps", "_squares", "_sum", "last_s", "limit_s")

    def __init__(self, now_s: float) -> None:
        self._gaps: deque[float] = deque((INTERVAL_S,), maxlen=WINDOW)
        self._sum, self._squares = INTERVAL_S, INTERVAL_S**2
        self.last_s = now_s
        self.limit_s = INTERVAL_S + DEVIATIONS * 2 * SD_MIN_S

    def note(self, now_s: float) -> None:
        """A long silence counts as three intervals, so that an outage does not excuse the next one."""
        gap = min(now_s - self.last_s, GAP_TIMES_MAX * self._sum / len(self._gaps))
        self.last_s = now_s
        if len(self._gaps) == WINDOW:
            gone = self._gaps.popleft()
            self._sum -= gone
            self._squares -= gone**2
        self._gaps.append(gap)
        self._sum += gap
        self._squares += gap**2
        mean = self._sum / len(self._gaps)
        sd = sqrt(max(0.0, self._squares / len(self._gaps) - mean**2))
        self.limit_s = mean + DEVIATIONS * max(SD_MIN_S, sd)

    def is_late(self, now_s: float) -> bool:
        return now_s - self.last_s > self.limit_s
