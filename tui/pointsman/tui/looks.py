"""How states look: a glyph, a word and a role for the colour, to be trusted in this order."""

from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from pointsman.contracts.events import Kind
from pointsman.contracts.frames import ServerPulse, ServerRow, Severity
from pointsman.contracts.lifecycle import Status
from pointsman.contracts.server import HealthState, Wanted
from pointsman.tui.format import number


class Role(StrEnum):
    """What a colour means; `themes.py` says which it is."""

    UP = "up"
    WARN = "warn"
    DOWN = "down"
    DRAIN = "drain"
    MAINT = "maint"
    BUSY = "busy"
    DIM = "dim"
    STRONG = "strong"
    BAR = "bar"
    ACCENT = "accent"
    PLAIN = "plain"


@dataclass(frozen=True, slots=True)
class Look:
    glyph: str
    word: str
    role: Role

    def __str__(self) -> str:
        return f"{self.glyph} {self.word}"


class HeatCell(NamedTuple):
    """One server among all: `key` is its id."""

    key: str
    glyph: str
    role: Role


_ASCII = {
    "●": "*",
    "◐": "d",
    "◌": "m",
    "▲": "!",
    "✖": "X",
    "○": "o",
    "◔": "~",
    "✓": "+",
    "✗": "x",
    "▶": ">",
    "↻": "r",
} | {
    "…": "~",
    "─▶": "->",
    "━": "=",
    "─": "-",
    "│": "|",
    "⏎": "enter",
    "·": "-",
    "░": ".",
    "┄": "-",
    "█": "#",
    "↑": "^",
    "↓": "v",
    "→": "->",
    "▸": ">",
}
_ASCII_TABLE = str.maketrans({glyph: plain for glyph, plain in _ASCII.items() if len(glyph) == 1})


def plain(text: str) -> str:
    """The text in ASCII."""
    return text.replace("─▶", "->").translate(_ASCII_TABLE).encode("ascii", "replace").decode()


class Concern(StrEnum):
    """What a server is, for counts and for the order of attention."""

    DOWN = "down"
    SUSPECT = "suspect"
    RECOVERING = "recovering"
    DRAINING = "draining"
    DRAINED = "drained"
    MAINTENANCE = "maint"
    NEW = "new"
    UP = "up"


ATTENTION = {concern: place for place, concern in enumerate(Concern)}
_HEALTH: dict[str, Concern] = {
    HealthState.UNHEALTHY: Concern.DOWN,
    HealthState.SUSPECT: Concern.SUSPECT,
    HealthState.RECOVERING: Concern.RECOVERING,
    HealthState.NEW: Concern.NEW,
    HealthState.WARMING: Concern.UP,
    HealthState.HEALTHY: Concern.UP,
}
_WANTED_WORDS: dict[str, str] = {Wanted.DRAINING: " drain", Wanted.MAINTENANCE: " maint", Wanted.REMOVED: " removed"}


def concern_of(row: ServerRow, pulse: ServerPulse) -> Concern:
    """Down wins over what is wanted, and what is wanted over the rest of what is seen."""
    seen = _HEALTH.get(row.state, Concern.NEW)
    if seen is Concern.DOWN:
        return seen
    if row.wanted in (Wanted.DRAINING, Wanted.REMOVED):
        return Concern.DRAINED if pulse.running == 0 else Concern.DRAINING
    return Concern.MAINTENANCE if row.wanted == Wanted.MAINTENANCE else seen


def server_look(row: ServerRow, pulse: ServerPulse) -> Look:
    match concern_of(row, pulse):
        case Concern.DOWN:
            return Look("✖", f"DOWN{_WANTED_WORDS.get(row.wanted, '')}", Role.DOWN)
        case Concern.SUSPECT:
            count = f" {row.failures}/{row.failures_max}" if row.failures_max else ""
            return Look("▲", f"SUSPECT{count}", Role.WARN)
        case Concern.RECOVERING:
            return Look("◔", "RECOVERING", Role.WARN)
        case Concern.DRAINING:
            return Look("◐", f"DRAIN {number(pulse.running)} left", Role.DRAIN)
        case Concern.DRAINED:
            return Look("◐", "DRAINED", Role.DRAIN)
        case Concern.MAINTENANCE:
            return Look("◌", "MAINT", Role.MAINT)
        case Concern.NEW:
            return Look("○", row.state, Role.DIM)
        case Concern.UP:
            warmth = "" if row.warmth is None else f" {100 * row.warmth:.0f} %"
            return Look("●", f"UP{warmth}", Role.UP)


STATUS_LOOKS = {
    Status.PENDING: Look("○", "QUEUED", Role.DIM),
    Status.PROCESSING: Look("▶", "RUNNING", Role.BUSY),
    Status.COMPLETED: Look("✓", "DONE", Role.UP),
    Status.FAILED: Look("✗", "FAILED", Role.DOWN),
    Status.TIMEOUT: Look("✗", "TIMEOUT", Role.DOWN),
    Status.CANCELLED: Look("◌", "CANCELLED", Role.MAINT),
}
KIND_LOOKS: dict[str, Look] = {
    Kind.SUBMITTED: Look("○", "QUEUED", Role.DIM),
    Kind.ASSIGNED: Look("▶", "RUNNING", Role.BUSY),
    Kind.ACCEPTED: Look("▶", "ACCEPTED", Role.BUSY),
    Kind.PROGRESSED: Look("▶", "PROGRESS", Role.BUSY),
    Kind.ATTEMPT_ENDED: Look("↻", "RETRY", Role.WARN),
    Kind.REFUSED: Look("▲", "TOO LATE", Role.WARN),
    Kind.COMPLETED: STATUS_LOOKS[Status.COMPLETED],
    Kind.FAILED: STATUS_LOOKS[Status.FAILED],
    Kind.TIMEOUT: STATUS_LOOKS[Status.TIMEOUT],
    Kind.CANCELLED: STATUS_LOOKS[Status.CANCELLED],
}
SEVERITY_LOOKS: dict[str, Look] = {
    Severity.CRITICAL: Look("✖", "CRIT", Role.DOWN),
    Severity.WARNING: Look("▲", "WARN", Role.WARN),
}


def kind_look(kind: str) -> Look:
    """Newer senders may tell of kinds that are not known here."""
    return KIND_LOOKS.get(kind) or Look("?", kind.upper()[:9], Role.PLAIN)


def severity_look(severity: str) -> Look:
    return SEVERITY_LOOKS.get(severity) or Look("?", severity[:4].upper(), Role.WARN)
