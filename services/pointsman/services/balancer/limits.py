"""The effective limit of one server: additive increase, multiplicative decrease on backpressure (BALANCING.md §2)."""

DECREASE = 0.9
WINDOW_S = 1.0
HOLD_DEFAULT_MS = 1_000
HOLD_MAX_MS = 300_000
FAULT_HOLD_FIRST_MS, FAULT_HOLD_MAX_MS = 250, 30_000


class EffectiveLimit:
    """At most `maximum`, at least 1; +1 per second in which at least half of it was in use."""

    def __init__(self, maximum: int) -> None:
        self.maximum = maximum
        self._value = float(maximum)
        self._window_s = 0.0
        self._faults = 0
        self.held_until = 0

    @property
    def value(self) -> int:
        return max(1, min(int(self._value), self.maximum))

    def resize(self, maximum: int) -> None:
        was_open = self._value >= self.maximum
        self.maximum = maximum
        self._value = float(maximum) if was_open else min(self._value, float(maximum))

    def refused(self, retry_after_ms: int | None, now: int) -> None:
        """The server said 429 or 503: less from now on, and nothing until its Retry-After."""
        self._value = max(1.0, self._value * DECREASE)
        hold = HOLD_DEFAULT_MS if retry_after_ms is None else min(retry_after_ms, HOLD_MAX_MS)
        self.held_until = max(self.held_until, now + hold)

    def faulted(self, now: int) -> None:
        """The server could not be spoken to: pause it, longer each time in a row."""
        hold = min(FAULT_HOLD_MAX_MS, FAULT_HOLD_FIRST_MS * 2 ** min(self._faults, 10))
        self._faults += 1
        self.held_until = max(self.held_until, now + hold)

    def answered(self) -> None:
        self._faults = 0

    def tick(self, active: int, now_s: float) -> None:
        """Called about once a second."""
        if now_s - self._window_s < WINDOW_S:
            return
        self._window_s = now_s
        if self._value < self.maximum and active >= self.value / 2:
            self._value = min(self._value + 1, float(self.maximum))
