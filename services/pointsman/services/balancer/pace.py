"""How fast a pool goes: starts per second, averaged over about ten seconds."""

import math

WINDOW_S = 10.0
STEP_S_MIN = 0.5
PACE_FORGOTTEN = 1e-4
"""Events per second that are as good as none."""


class Pace:
    """An exponentially weighted rate of `count`, in events per second."""

    __slots__ = ("_at_s", "_counted", "per_second")

    def __init__(self) -> None:
        self.per_second = 0.0
        self._counted = 0
        self._at_s: float | None = None

    def count(self) -> None:
        self._counted += 1

    def tick(self, now_s: float) -> None:
        """Called about once a second."""
        passed_s = now_s - self._at_s if self._at_s is not None else 0.0
        if self._at_s is None:
            self._at_s = now_s
        elif passed_s >= STEP_S_MIN:
            share = 1 - math.exp(-passed_s / WINDOW_S)
            self.per_second += share * (self._counted / passed_s - self.per_second)
            self._counted, self._at_s = 0, now_s
