"""Service time per (server, task type): EWMA of ln x that drifts back to its base when idle (BALANCING.md §1)."""

import math
from collections import OrderedDict

ALPHA = 0.1
BASE_ALPHA = 0.001
WARM_SAMPLES = 10
FORGET_S = 10.0
TYPES_MAX = 256
FAILURE_MS_MIN = 5_000.0
RETRY_AFTER_MS_MAX = 300_000.0
UNKNOWN_MS = 0.0


class Estimate:
    """`x` is dispatch to answer in ms; samples enter as ln x."""

    __slots__ = ("base", "mean", "samples", "seen_s")

    def __init__(self) -> None:
        self.mean = self.base = 0.0
        self.samples = 0
        self.seen_s = 0.0

    def add(self, x_ms: float, now_s: float) -> None:
        sample = math.log(max(x_ms, 0.1))
        self.samples += 1
        self.seen_s = now_s
        if self.samples == 1:
            self.mean = self.base = sample
            return
        self.mean += max(ALPHA, 1 / self.samples if self.samples <= WARM_SAMPLES else 0) * (sample - self.mean)
        if self.mean <= self.base + math.log(2):
            weight = 1 / self.samples if self.samples <= WARM_SAMPLES else BASE_ALPHA
            self.base += weight * (sample - self.base)

    def read_ms(self, now_s: float) -> float:
        idle = max(0.0, now_s - self.seen_s)
        return math.exp(self.base + (self.mean - self.base) * math.exp(-idle / FORGET_S))


class Estimator:
    """The estimates of one server; an unseen type falls back to the server's own."""

    def __init__(self) -> None:
        self._all = Estimate()
        self._types: OrderedDict[str, Estimate] = OrderedDict()

    def succeeded(self, task_type: str, elapsed_ms: float, now_s: float) -> None:
        self._add(task_type, elapsed_ms, now_s)

    def failed(self, task_type: str, elapsed_ms: float, retry_after_ms: float, now_s: float) -> None:
        """A failure must never look fast."""
        self._add(task_type, max(elapsed_ms, FAILURE_MS_MIN, min(retry_after_ms, RETRY_AFTER_MS_MAX)), now_s)

    def read_ms(self, task_type: str, now_s: float) -> float:
        """The expected service time in ms; 0 for a server never tried, so that it is tried."""
        estimate = self._types.get(task_type, self._all)
        return estimate.read_ms(now_s) if estimate.samples else UNKNOWN_MS

    def _add(self, task_type: str, x_ms: float, now_s: float) -> None:
        self._all.add(x_ms, now_s)
        estimate = self._types.get(task_type)
        if estimate is None:
            estimate = self._types[task_type] = Estimate()
            if len(self._types) > TYPES_MAX:
                self._types.popitem(last=False)
        self._types.move_to_end(task_type)
        estimate.add(x_ms, now_s)
