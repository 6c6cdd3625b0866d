"""What is known at one moment beside the servers: how the leader, the archive and the broker's store do."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from pointsman.contracts.balancer import Alert
from pointsman.contracts.flow import FlowFrame
from pointsman.services.statistics.member import Member


@dataclass(frozen=True, slots=True)
class Archive:
    """How far the archive is; `answers`: whether the history service said so. None where nobody says."""

    as_of: int
    answers: bool = True
    is_away: bool = False
    backlog: int | None = None
    lag_ms: int | None = None

    @property
    def until(self) -> int | None:
        """All that ended before is archived."""
        return self.as_of - self.lag_ms if self.lag_ms is not None else None


@dataclass(frozen=True, slots=True)
class Storage:
    """`refusal`: what the broker said when it did not keep something; `used_share` 0-1 where it has a limit."""

    refusal: str = ""
    used_share: float | None = None


@dataclass(frozen=True, slots=True)
class Facts:
    """`silent_ms`: since the leader was heard, or could have been. None where nobody has said yet."""

    now: int
    now_s: float
    members: Collection[Member]
    silent_ms: int
    flow: FlowFrame | None = None
    types: Mapping[str, tuple[int, int]] | None = None
    balancer: tuple[Alert, ...] = ()
    alarms: tuple[Alert, ...] = ()
    archive: Archive | None = None
    storage: Storage | None = None
