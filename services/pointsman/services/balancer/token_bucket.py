"""A token bucket on the monotonic clock: at most `burst` at once, `per_second` in the long run."""

import math

from pointsman.contracts.limits import Rate

ROUNDING = 1e-9


class TokenBucket:
    __slots__ = ("_at_s", "_tokens", "rate")

    def __init__(self, rate: Rate, now_s: float, *, full: bool = True) -> None:
        self.rate = rate
        self._tokens = float(rate.burst) if full else 0.0
        self._at_s = now_s

    def tokens(self, now_s: float) -> float:
        earned = max(0.0, now_s - self._at_s) * self.rate.per_second
        return min(float(self.rate.burst), self._tokens + earned)

    def whole(self, now_s: float) -> int:
        return math.floor(self.tokens(now_s) + ROUNDING)

    def is_full(self, now_s: float) -> bool:
        return self.tokens(now_s) >= self.rate.burst

    def spend(self, count: float, now_s: float) -> None:
        """Below zero when more was spent than there was; negative counts give back."""
        self._tokens, self._at_s = self.tokens(now_s) - count, max(now_s, self._at_s)

    def change(self, rate: Rate, now_s: float) -> None:
        """What was saved stays, up to the new burst."""
        self._tokens, self._at_s, self.rate = min(self.tokens(now_s), float(rate.burst)), max(now_s, self._at_s), rate

    def wait_s(self, now_s: float) -> float:
        """Until a whole token is there."""
        return max(0.0, 1.0 - ROUNDING - self.tokens(now_s)) / self.rate.per_second
