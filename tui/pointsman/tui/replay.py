"""Where in the last hour the cockpit looks, and how that moves. Pure; times in ms since the epoch."""

import re
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta, tzinfo

from pointsman.tui.format import clock, duration
from pointsman.tui.looks import Role
from pointsman.tui.widgets.lines import Span, line

HOUR_MS = 3_600_000
SPEEDS = (1, 4, 16)
MARK = "◆"
_AGO = re.compile(r"-?(\d+)\s*([smh])")
_UNITS = {"s": 1_000, "m": 60_000, "h": 3_600_000}


@dataclass(frozen=True, slots=True)
class Replay:
    """`speed` is how many seconds pass in one; negative goes back, 0 stands still."""

    at: int
    speed: int = 0

    def moved(self, by_ms: int, now: int) -> "Replay":
        return self.put(self.at + by_ms, now)

    def put(self, at: int, now: int) -> "Replay":
        """Within the last hour."""
        return replace(self, at=min(now, max(now - HOUR_MS, at)))

    def played(self, elapsed_ms: float, now: int) -> "Replay":
        """Stops at either end."""
        if self.speed == 0:
            return self
        there = self.moved(round(elapsed_ms * self.speed), now)
        at_end = there.at >= now if self.speed > 0 else there.at <= now - HOUR_MS
        return replace(there, speed=0) if at_end else there

    def sped(self, direction: int) -> "Replay":
        """Faster that way; the other way first stops."""
        if self.speed * direction < 0:
            return replace(self, speed=0)
        faster = next((speed for speed in SPEEDS if speed > abs(self.speed)), SPEEDS[-1])
        return replace(self, speed=direction * faster)


def moment_of(text: str, now: int, zone: tzinfo | None) -> int | None:
    """`14:31`, `14:31:40`, `5m` (ago), or a date and time as in ISO 8601; None when it is none of these.

    A time of day is the last one that has been.
    """
    text = text.strip()
    if ago := _AGO.fullmatch(text):
        return now - int(ago[1]) * _UNITS[ago[2]]
    for form in ("%H:%M:%S", "%H:%M"):
        try:
            given = datetime.strptime(text, form)
        except ValueError:
            continue
        here = (
            datetime.fromtimestamp(now / 1000, zone or UTC) if zone else datetime.fromtimestamp(now / 1000).astimezone()
        )
        then = here.replace(hour=given.hour, minute=given.minute, second=given.second, microsecond=0)
        return round(1000 * (then if then <= here else then - timedelta(days=1)).timestamp())
    try:
        then = datetime.fromisoformat(text)
    except ValueError:
        return None
    if then.tzinfo is None:
        then = then.replace(tzinfo=zone) if zone else then.astimezone()
    return round(1000 * then.timestamp())


def bar_line(
    replay: Replay, now: int, incidents: list[int], width: int, zone: tzinfo | None, note: str = ""
) -> list[Span]:
    """The hour as a bar with marks where something happened, and the keys."""
    speed = "" if replay.speed == 0 else f" {'>>' if replay.speed > 0 else '<<'}{abs(replay.speed)}x"
    left = f" REPLAY {clock(replay.at, zone)} ({duration(now - replay.at)} ago){speed}{note}  "
    right = "  [ ] 1 s  { } 1 min  , . play  n N incident  t now " if width >= 110 else "  [] {} ,. nN  t now "
    room = max(0, width - len(left) - len(right))
    done = round(room * (1 - (now - replay.at) / HOUR_MS))
    marked = {int(room * (1 - (now - at) / HOUR_MS)) for at in incidents if 0 <= now - at < HOUR_MS}
    drawn = "".join(MARK if place in marked else "━" if place < done else "─" for place in range(room))
    return line((left, Role.STRONG), (drawn, Role.ACCENT), right)
