"""The effective limit of one server: additive increase, multiplicative decrease on backpressure (BALANCING.md §2)."""

DECREASE = 0.9
WINDOW_S = 1.0
HOLD_DEFAULT_MS = 1_000
HOLD_MAX_MS = 300_000
FAULT_HOLD_FIRST_MS, FAULT_HOLD_MAX_MS = 250, 30_000


class EffectiveLimit:
    """At most `maximum`, at least 1; +1 per second in which at least half of it was in use.

    `held_until` (ms since the epoch): nothing new before; `held_after` says what.
    After a fault the server is on probation: one slot, doubled in each second that used them all, until it answers.
    """

    __slots__ = ("_allowed", "_faults", "_probation", "_window_s", "held_after", "held_until", "maximum", "value")

    def __init__(self, maximum: int) -> None:
        self.maximum = maximum
        self.held_until = 0
        self.held_after = ""
        self._allowed = float(maximum)
        self._probation: int | None = None
        self._window_s = 0.0
        self._faults = 0
        self._settle()

    def resize(self, maximum: int) -> None:
        was_open = self._allowed >= self.maximum
        self.maximum = maximum
        self._allowed = float(maximum) if was_open else min(self._allowed, float(maximum))
        self._settle()

    def refused(self, status: int, retry_after_ms: int | None, now: int) -> None:
        """The server said 429 or 503: less from now on, and nothing until its Retry-After."""
        self._allowed = max(1.0, self._allowed * DECREASE)
        hold = HOLD_DEFAULT_MS if retry_after_ms is None else min(retry_after_ms, HOLD_MAX_MS)
        self._hold(now + hold, str(status))
        self._settle()

    def faulted(self, now: int) -> None:
        """The server could not be spoken to: pause it, longer each time in a row.

        What fails while it is held began before: one restart breaks many calls at once and counts once.
        """
        if now < self.held_until:
            return
        self._hold(now + min(FAULT_HOLD_MAX_MS, FAULT_HOLD_FIRST_MS * 2 ** min(self._faults, 10)), "a fault")
        self._faults += 1
        self._probation = 1
        self._settle()

    def answered(self) -> None:
        if self._faults:
            self._faults = 0
            self._probation = None
            self._settle()

    def tick(self, peak: int, now_s: float) -> bool:
        """Called about once a second with the most that was in use since; whether the value has changed."""
        if now_s - self._window_s < WINDOW_S:
            return False
        self._window_s, before = now_s, self.value
        if self._probation is not None and peak >= self._probation:
            self._probation *= 2
            self._settle()
        if self._allowed < self.maximum and peak >= self.value / 2:
            self._allowed = min(self._allowed + 1, float(self.maximum))
            self._settle()
        return self.value != before

    def _hold(self, until: int, after: str) -> None:
        if until > self.held_until:
            self.held_until, self.held_after = until, after

    def _settle(self) -> None:
        allowed = self.maximum if self._probation is None else min(self._probation, self.maximum)
        self.value = max(1, min(int(self._allowed), allowed))
