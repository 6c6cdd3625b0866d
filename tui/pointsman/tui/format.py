"""Numbers, durations and texts as the cockpit writes them: the unit always, "--" for what is not known, never 0 for it."""

from datetime import UTC, datetime, tzinfo

from pointsman.contracts.frames import Flow

UNKNOWN = "--"
STEADY = 0.02
_EIGHTHS = " ▏▎▍▌▋▊▉█"
_BLOCKS = "▁▂▃▄▅▆▇█"
_ASCII_BLOCKS = "_.:-=+*#"


def number(value: float | None) -> str:
    """1,224"""
    return UNKNOWN if value is None else f"{value:,.0f}"


def rate(value: float | None) -> str:
    """Per second: 1,958/s, 12.1/s, 0.0/s"""
    if value is None:
        return f"{UNKNOWN}/s"
    return f"{value:,.0f}/s" if value >= 100 else f"{value:.1f}/s"


def percent(part: float | None, digits: int = 2) -> str:
    """Of a part in 0-1: 0.61 %"""
    return UNKNOWN if part is None else f"{100 * part:.{digits}f} %"


def short(value: float | None) -> str:
    """For axes: 750, 1.5k, 7.5M"""
    if value is None:
        return UNKNOWN
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:.1f}{unit}" if abs(value) < 100 * size else f"{value / size:.0f}{unit}"
    return f"{value:.0f}" if value >= 10 or value == int(value) else f"{value:.1f}"


def duration(ms: float | None) -> str:
    """Two digits of meaning: 680 ms, 5.0 s, 41 s, 1m39s, 3m, 2h10m, 3d4h"""
    if ms is None:
        return UNKNOWN
    if ms < 999.5:
        return f"{max(0, ms):.0f} ms"
    if ms < 9_950:
        return f"{ms / 1000:.1f} s"
    seconds = round(ms / 1000)
    if seconds < 60:
        return f"{seconds} s"
    for size, unit, smaller, small_unit in ((86_400, "d", 3_600, "h"), (3_600, "h", 60, "m"), (60, "m", 1, "s")):
        if seconds >= size:
            whole, rest = divmod(seconds, size)
            parts = rest // smaller
            return f"{whole}{unit}{parts}{small_unit}" if parts and whole < 10 else f"{whole}{unit}"
    raise AssertionError(seconds)


def clock(ms: float | None, zone: tzinfo | None = UTC) -> str:
    """14:37:19; a zone of None is the local one."""
    return "--:--:--" if ms is None else datetime.fromtimestamp(ms / 1000, zone).strftime("%H:%M:%S")


def clip(text: str, width: int, *, ascii_only: bool = False) -> str:
    """At most `width` columns of it; what was cut shows as an ellipsis."""
    if len(text) <= width:
        return text
    dots = "..." if ascii_only else "…"
    return text[: max(0, width - len(dots))] + dots[: max(0, width)]


def bar(part: float | None, width: int, *, ascii_only: bool = False) -> str:
    """A part in 0-1 as a bar of at most `width` columns, with eighths of them."""
    if part is None or width <= 0:
        return ""
    part = min(1.0, max(0.0, part))
    if ascii_only:
        return "#" * round(part * width)
    whole, eighths = divmod(round(part * width * 8), 8)
    return "█" * whole + (_EIGHTHS[eighths] if eighths else "")


def block(part: float | None, *, ascii_only: bool = False) -> str:
    """A part in 0-1 as the height of one cell."""
    blocks = _ASCII_BLOCKS if ascii_only else _BLOCKS
    return blocks[0] if part is None else blocks[min(7, max(0, int(part * 8)))]


def trend(flow: Flow) -> str:
    """Where the queue goes: steady, grows +120/s, or empty in 38 s."""
    ends = (flow.completed, flow.failed, flow.timed_out, flow.cancelled)
    if flow.submitted is None or flow.pending is None or flow.completed is None:
        return UNKNOWN
    net = flow.submitted - sum(end or 0.0 for end in ends)
    if flow.pending == 0 or abs(net) <= STEADY * max(flow.submitted, 1.0):
        return "steady"
    return f"grows +{rate(net)}" if net > 0 else f"empty in {duration(1000 * flow.pending / -net)}"


def size(octets: int | None) -> str:
    """212 B, 1.2 kB, 3.4 MB"""
    if octets is None:
        return UNKNOWN
    if octets < 1_000:
        return f"{octets} B"
    return f"{octets / 1_000:.1f} kB" if octets < 1_000_000 else f"{octets / 1_000_000:.1f} MB"
