"""Service time per (server, task type): EWMA of ln x that drifts back to its base when idle (BALANCING.md §1)."""

import math
from collections import OrderedDict

ALPHA = 0.1
BASE_ALPHA = 0.001
WARM_SAMPLES = 10
BASE_SAMPLES = 50
SLOW = math.log(2)
OPTIMISM = 2.0
X_MS_MIN = 0.5
FORGET_S = 10.0
TYPES_MAX = 256
FAILURE_MS_MIN = 5_000.0
RETRY_AFTER_MS_MAX = 300_000.0
UNKNOWN = float("-inf")


class Estimate:
    """`x` is dispatch to answer in ms; samples enter as ln x.

    Idle, it drifts back to its base: the mean of the successes, taken as luckier than it was while they are few, so that
    a server judged by one long task or only by failures is tried again.
    """

    __slots__ = ("base", "mean", "rest", "samples", "seen_s", "successes")

    def __init__(self) -> None:
        self.mean = self.base = self.rest = 0.0
        self.samples = self.successes = 0
        self.seen_s = 0.0

    def succeeded(self, x_ms: float, now_s: float) -> None:
        sample = self._follow(x_ms, now_s)
        self.successes += 1
        if self.successes <= BASE_SAMPLES or self.mean <= self.base + SLOW:
            self.base += max(BASE_ALPHA, 1 / self.successes) * (sample - self.base)
            self.rest = self.base - OPTIMISM / math.sqrt(self.successes)

    def failed(self, x_ms: float, now_s: float) -> None:
        """The base knows nothing of failures."""
        self._follow(x_ms, now_s)

    def read(self, now_s: float) -> float:
        """ln of the expected service time in ms."""
        if now_s <= self.seen_s:
            return self.mean
        return self.rest + (self.mean - self.rest) * math.exp((self.seen_s - now_s) / FORGET_S)

    def _follow(self, x_ms: float, now_s: float) -> float:
        """From what was last seen, or from what has been assumed since, whichever the sample is closer to."""
        sample = math.log(max(x_ms, X_MS_MIN))
        assumed = self.read(now_s)
        if abs(sample - assumed) < abs(sample - self.mean):
            self.mean = assumed
        self.samples += 1
        self.seen_s = now_s
        self.mean += (1 / self.samples if self.samples <= WARM_SAMPLES else ALPHA) * (sample - self.mean)
        return sample


class Estimator:
    """The estimates of one server; an unseen type falls back to the server's own."""

    def __init__(self) -> None:
        self._all = Estimate()
        self._types: OrderedDict[str, Estimate] = OrderedDict()

    def succeeded(self, task_type: str, elapsed_ms: float, now_s: float) -> None:
        self._all.succeeded(elapsed_ms, now_s)
        self._of(task_type).succeeded(elapsed_ms, now_s)

    def failed(self, task_type: str, elapsed_ms: float, retry_after_ms: float, now_s: float) -> None:
        """A failure must never look fast."""
        x_ms = max(elapsed_ms, FAILURE_MS_MIN, min(retry_after_ms, RETRY_AFTER_MS_MAX))
        self._all.failed(x_ms, now_s)
        self._of(task_type).failed(x_ms, now_s)

    def read(self, task_type: str, now_s: float) -> float:
        """ln of the expected service time in ms; minus infinity for a server never tried, so that it is tried."""
        estimate = self._types.get(task_type, self._all)
        return estimate.read(now_s) if estimate.samples else UNKNOWN

    def read_ms(self, task_type: str, now_s: float) -> float:
        return math.exp(self.read(task_type, now_s))

    def _of(self, task_type: str) -> Estimate:
        estimate = self._types.get(task_type)
        if estimate is None:
            estimate = self._types[task_type] = Estimate()
            if len(self._types) > TYPES_MAX:
                self._types.popitem(last=False)
        self._types.move_to_end(task_type)
        return estimate
