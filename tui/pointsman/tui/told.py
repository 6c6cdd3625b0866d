"""What a feed tells, in the past tense."""

from dataclasses import dataclass

from pointsman.contracts.frames import Frame


@dataclass(frozen=True, slots=True)
class Connected:
    """To the bus at `where`."""

    where: str


@dataclass(frozen=True, slots=True)
class Opened:
    """A recording: there is no bus and will be none."""


@dataclass(frozen=True, slots=True)
class Lost:
    """The connection, or one more try to make it: the next is `next_s` from now."""

    reason: str
    tries: int = 0
    next_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Refused:
    """The bus does not let us in, or not at a subject."""

    what: str


@dataclass(frozen=True, slots=True)
class FrameCame:
    frame: Frame
    size: int


@dataclass(frozen=True, slots=True)
class RoundTrip:
    """The bus answered in `ms` while frames do not come."""

    ms: float | None


Told = Connected | Opened | Lost | Refused | FrameCame | RoundTrip
