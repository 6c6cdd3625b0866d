"""When to draw: at once when the last drawing is long enough ago, else once at the end of that time."""


class Pace:
    """Times are of one monotonic clock, in s."""

    def __init__(self, hz: float) -> None:
        self.period_s = 1 / hz
        self._drawn_at = float("-inf")
        self._is_due = False

    def wait_s(self, now: float) -> float | None:
        """How long to wait before drawing what has just come; None when a drawing is already on its way."""
        if self._is_due:
            return None
        self._is_due = True
        return max(0.0, self._drawn_at + self.period_s - now)

    def drawn(self, now: float) -> None:
        self._is_due = False
        self._drawn_at = now
