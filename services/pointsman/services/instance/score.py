"""The health score, 0-100, for people: 50 success share + 25 latency + 25 probe record, capped by the state.

* success share: of the results of the last minutes, weighted by age (half-life 60 s); 1 while there are none.
* latency: 1 while tasks take as long as they used to, less by a third for each doubling, 0 at eight times; each task
  type against its own baseline on this server, weighted by results. 1 for a server without successes.
* probe record: the good share of recent probes, the last one counting a fifth.
* caps: SUSPECT 50, RECOVERING 60, UNHEALTHY 0.
"""

from collections import OrderedDict
from math import exp, log

from pointsman.contracts.execution import Results
from pointsman.contracts.server import HealthState

SUCCESS, LATENCY, PROBES = 50, 25, 25
CAPS = {HealthState.SUSPECT: 50, HealthState.RECOVERING: 60, HealthState.UNHEALTHY: 0}
HALF_LIFE_S = 60.0
PROBE_WEIGHT = 0.2
TYPES_MAX = 32
FAST, SLOW = 0.1, 0.001
BASELINE_FROZEN_ABOVE = log(2)
ZERO_AT = log(8)


class _Latency:
    """`g` follows ln(ms) quickly, `base` slowly and not at all while `g` is twice as high."""

    __slots__ = ("base", "count", "g", "weight")

    def __init__(self) -> None:
        self.g = self.base = self.weight = 0.0
        self.count = 0

    def note(self, mean_ms: float, results: int) -> None:
        x = log(max(1.0, mean_ms))
        self.count += results
        fast = 1 - (1 - FAST) ** results if self.count > 10 else results / self.count
        slow = 1 - (1 - SLOW) ** results if self.count > 100 else results / self.count
        self.g += fast * (x - self.g)
        if self.g <= self.base + BASELINE_FROZEN_ABOVE or self.count <= 10:
            self.base += slow * (x - self.base)
        self.weight = 0.9 * self.weight + results

    @property
    def share(self) -> float:
        return min(1.0, max(0.0, 1 - (self.g - self.base) / ZERO_AT))


class Score:
    """The record of one server."""

    __slots__ = ("_at_s", "_good", "_latencies", "_probes", "_results")

    def __init__(self) -> None:
        self._good = self._results = self._at_s = 0.0
        self._probes = 1.0
        self._latencies: OrderedDict[str, _Latency] = OrderedDict()

    def probed(self, *, good: bool) -> None:
        self._probes += PROBE_WEIGHT * (good - self._probes)

    def heard(self, results: Results, now_s: float) -> None:
        self._age(now_s)
        self._good += results.succeeded + results.accepted
        self._results += results.answered + results.faults
        if results.succeeded:
            self._latency(results.type).note(results.elapsed / results.succeeded, results.succeeded)

    def value(self, state: HealthState, now_s: float) -> int:
        self._age(now_s)
        success = (self._good + 1) / (self._results + 1)
        points = SUCCESS * success + LATENCY * self._latency_share() + PROBES * self._probes
        return min(round(points), CAPS.get(state, 100))

    def _age(self, now_s: float) -> None:
        kept = exp(-(now_s - self._at_s) * log(2) / HALF_LIFE_S) if now_s > self._at_s else 1.0
        self._good *= kept
        self._results *= kept
        self._at_s = max(self._at_s, now_s)

    def _latency(self, task_type: str) -> _Latency:
        latency = self._latencies.get(task_type)
        if latency is None:
            latency = self._latencies[task_type] = _Latency()
            if len(self._latencies) > TYPES_MAX:
                self._latencies.popitem(last=False)
        self._latencies.move_to_end(task_type)
        return latency

    def _latency_share(self) -> float:
        weights = sum(one.weight for one in self._latencies.values())
        return sum(one.share * one.weight for one in self._latencies.values()) / weights if weights else 1.0
