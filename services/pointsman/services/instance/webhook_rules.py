"""When a completion is told again, and how many of one host at a time. Pure."""

from collections import deque
from dataclasses import dataclass, field
from random import Random

from pointsman.services.instance.answer import BACKPRESSURE

GONE = 410
BACKOFF_MS_MIN, BACKOFF_MS_MAX = 1_000, 3_600_000
AGE_MS_MAX = 24 * 3_600_000
DEFER_MS_MIN, DEFER_MS_MAX = 2_000, 60_000
WIDTH, LENGTH = 8, 24


@dataclass(frozen=True, slots=True)
class Delivered:
    pass


@dataclass(frozen=True, slots=True)
class GivenUp:
    why: str


@dataclass(frozen=True, slots=True)
class Again:
    delay_ms: int


Verdict = Delivered | GivenUp | Again


def after(status: int | None, *, age_ms: int, retry_after_ms: int | None, rng: Random) -> Verdict:
    """What follows from one try; `status` is None when there was no answer, `age_ms` since the task was announced."""
    if status is not None and 200 <= status < 300:
        return Delivered()
    if status == GONE:
        return GivenUp("HTTP 410: the receiver wants no more")
    delay_ms = backoff_ms(age_ms, rng)
    if status in BACKPRESSURE and retry_after_ms is not None:
        delay_ms = max(delay_ms, retry_after_ms)
    if age_ms + delay_ms > AGE_MS_MAX:
        return GivenUp("not taken within 24 h")
    return Again(delay_ms)


def backoff_ms(age_ms: int, rng: Random) -> int:
    """As long as it has been tried already, so that the time doubles; equal jitter, 1 s to 1 h.

    Told by the age alone, so that it needs no count of tries that a restart could lose.
    """
    full = min(BACKOFF_MS_MAX, max(BACKOFF_MS_MIN, age_ms))
    return round(full / 2 + rng.random() * full / 2)


def deferral_ms(age_ms: int, rng: Random) -> int:
    """How long what finds its host busy stays in the stream."""
    full = min(DEFER_MS_MAX, max(DEFER_MS_MIN, age_ms))
    return round(full / 2 + rng.random() * full / 2)


@dataclass(slots=True)
class Lane[T]:
    """What is under way to one host: 8 calls and 24 behind them, which end within the consumer's patience.

    A host that fails gets one call at a time and nothing waits for it, so that it takes no room from others.
    """

    running: int = 0
    waiting: deque[T] = field(default_factory=deque)
    is_failing: bool = False

    @property
    def is_idle(self) -> bool:
        return self.running == 0 and not self.waiting

    def starts(self) -> bool:
        """Take a place for a call, if there is one."""
        if self.running >= (1 if self.is_failing else WIDTH):
            return False
        self.running += 1
        return True

    def keeps(self, item: T) -> bool:
        """Let it wait here, if it may."""
        if self.is_failing or len(self.waiting) >= LENGTH:
            return False
        self.waiting.append(item)
        return True

    def ended(self, *, is_failing: bool) -> list[T]:
        """A call ended; returns what must not wait here any more."""
        self.running -= 1
        self.is_failing = is_failing
        dropped = list(self.waiting) if is_failing else []
        if is_failing:
            self.waiting.clear()
        return dropped

    def next(self) -> T | None:
        """What starts now in a free place."""
        return self.waiting.popleft() if self.waiting and self.starts() else None
