"""The only module that asks the time. Wall time in ms since the epoch, durations from the monotonic clock in s."""

import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    def now_ms(self) -> int: ...

    def monotonic_s(self) -> float: ...


class SystemClock:
    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000

    def monotonic_s(self) -> float:
        return time.monotonic()


def clock_time(ms: int) -> str:
    """For people: `14:30:28 UTC`."""
    return f"{datetime.fromtimestamp(ms / 1000, UTC):%H:%M:%S} UTC"
