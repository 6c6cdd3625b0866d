"""Something a screen asks the cluster for: the last answer, how old it is, and what went wrong since when. Pure."""

from dataclasses import dataclass, field

from pointsman.tui.format import clock, duration
from pointsman.tui.looks import Role

Piece = tuple[str, Role]
PATIENCE_S = 0.3


@dataclass(slots=True)
class Asked[T]:
    """`what` it is, for people. Times are of one monotonic clock in s, `wrong_at` in ms since the epoch."""

    what: str
    answer: T | None = None
    answered_at: float | None = None
    asked_at: float | None = None
    wrong: str = ""
    wrong_since: float | None = None
    wrong_at: float | None = None
    asks: int = field(default=0)

    @property
    def is_busy(self) -> bool:
        return self.asked_at is not None

    def began(self, now: float) -> None:
        self.asked_at = now
        self.asks += 1

    def came(self, answer: T, now: float) -> None:
        self.answer, self.answered_at, self.asked_at = answer, now, None
        self.wrong, self.wrong_since, self.wrong_at = "", None, None

    def failed(self, why: str, now: float, wall_ms: float) -> None:
        """The answer before stays."""
        self.asked_at = None
        if self.wrong_since is None:
            self.wrong_since, self.wrong_at = now, wall_ms
        self.wrong = why

    def forget(self) -> None:
        self.answer, self.answered_at, self.asked_at = None, None, None
        self.wrong, self.wrong_since, self.wrong_at = "", None, None

    def said(self, now: float) -> Piece | None:
        """What is to be said of it besides the answer; None when all is well."""
        if self.wrong:
            since = "" if self.wrong_since is None else f", {duration(1000 * (now - self.wrong_since))}"
            return f"{self.what}: {self.wrong} (since {clock(self.wrong_at)}{since})", Role.WARN
        if self.asked_at is not None and now - self.asked_at >= PATIENCE_S:
            return f"{self.what}: asking for {duration(1000 * (now - self.asked_at))}", Role.DIM
        return None
