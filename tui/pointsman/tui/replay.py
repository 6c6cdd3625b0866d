"""Where in the last hour, or in a recording, the cockpit looks, and how that moves. Pure; times in ms since the epoch."""

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta, tzinfo

from pointsman.contracts.filter_values import milliseconds
from pointsman.tui.format import clip, clock, duration
from pointsman.tui.looks import Role
from pointsman.tui.widgets.lines import Span, line

HOUR_MS = 3_600_000
SPEEDS = (1, 4, 16)
MARK = "◆"


@dataclass(frozen=True, slots=True)
class Period:
    """What can be looked at."""

    first: int
    last: int

    def __contains__(self, at: int) -> bool:
        return self.first <= at <= self.last

    def nearest(self, at: int) -> int:
        return min(self.last, max(self.first, at))

    def part(self, at: int) -> float:
        """Where in it that is, in 0-1."""
        return (at - self.first) / max(1, self.last - self.first)

    def text(self, zone: tzinfo | None) -> str:
        return f"{clock(self.first, zone)}-{clock(self.last, zone)}"


def hour_before(now: int) -> Period:
    return Period(now - HOUR_MS, now)


@dataclass(frozen=True, slots=True)
class Replay:
    """`speed` is how many seconds pass in one; negative goes back, 0 stands still."""

    at: int
    speed: int = 0

    def moved(self, by_ms: int, period: Period) -> "Replay":
        return self.put(self.at + by_ms, period)

    def put(self, at: int, period: Period) -> "Replay":
        """Within the period."""
        return replace(self, at=period.nearest(at))

    def played(self, elapsed_ms: float, period: Period) -> "Replay":
        """Stops at either end."""
        if self.speed == 0:
            return self
        there = self.moved(round(elapsed_ms * self.speed), period)
        at_end = there.at >= period.last if self.speed > 0 else there.at <= period.first
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
    if (ago := milliseconds(text.removeprefix("-"))) is not None:
        return now - ago
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
    replay: Replay,
    period: Period,
    incidents: list[int],
    width: int,
    zone: tzinfo | None,
    note: str = "",
    file: str = "",
) -> list[Span]:
    """The period as a bar with marks where something happened, and the keys; `file` is the recording it is of, if any."""
    speed = "" if replay.speed == 0 else f" {'>>' if replay.speed > 0 else '<<'}{abs(replay.speed)}x"
    where = f"({duration(period.last - replay.at)} ago)" if not file else f"of {_day(period, width)}{period.text(zone)}"
    named = f"  {clip(file, width // 5)}" if file else ""
    left = f" REPLAY {clock(replay.at, zone)} {where}{named}{speed}{note}  "
    keys = "  [ ] 1 s  { } 1 min  , . play  n N incident  t now "
    right = keys if width >= 110 and not file else "  [] {} ,. nN  t end " if file else "  [] {} ,. nN  t now "
    room = max(0, width - len(left) - len(right))
    done = round(room * period.part(replay.at))
    marked = {int(room * period.part(at)) for at in incidents if at in period}
    drawn = "".join(MARK if place in marked else "━" if place < done else "─" for place in range(room))
    return line((left, Role.STRONG), (drawn, Role.ACCENT), right)


def _day(period: Period, width: int) -> str:
    """A recording may be of another day."""
    return f"{datetime.fromtimestamp(period.first / 1000, UTC):%Y-%m-%d} " if width >= 110 else ""
