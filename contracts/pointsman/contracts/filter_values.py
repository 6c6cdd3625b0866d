"""Durations and moments as people write them in filters."""

import re
from datetime import UTC, datetime

from pointsman.contracts.task import DAY_MS, EPOCH_MS_MAX

DURATION = "250ms, 5s, 15m, 2h or 7d"
DURATION_MS_MAX = 36_500 * DAY_MS
UNITS_MS = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": DAY_MS}
_DURATION = re.compile(r"(\d{1,12})(?:\.(\d{1,3}))?(ms|s|m|h|d)", re.ASCII)
_EPOCH = re.compile(r"\d{1,15}", re.ASCII)


def milliseconds(text: str) -> int | None:
    """`1.5h` in ms; None when it is no duration, or one of more than a century."""
    found = _DURATION.fullmatch(text)
    if found is None:
        return None
    whole, fraction, unit = found.groups()
    ms = int(whole) * UNITS_MS[unit] + round(int(fraction or 0) * UNITS_MS[unit] / 10 ** len(fraction or ""))
    return ms if ms <= DURATION_MS_MAX else None


def moment(text: str) -> int | None:
    """Ms since the epoch, of a number of them or an ISO 8601 date or time; UTC unless it says otherwise."""
    if _EPOCH.fullmatch(text):
        return int(text) if int(text) <= EPOCH_MS_MAX else None
    try:
        at = datetime.fromisoformat(text)
        ms = round((at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp() * 1000)
    except (ValueError, OverflowError):
        return None
    return ms if 0 <= ms <= EPOCH_MS_MAX else None
