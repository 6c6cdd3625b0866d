"""The states of the cockpit's link to the cluster, as a table, and what the operator is told of each.

| state        | rule                                   |
|--------------|----------------------------------------|
| connecting   | never connected yet                    |
| waiting      | connected, no frame yet                |
| live         | frame age < 1.5 s                      |
| slow         | 1.5-3 s                                |
| stale        | > 3 s, link up: nobody tells           |
| disconnected | socket closed                          |
| denied       | the bus refused who we are, or a subject |
| recovered    | frames again after an outage, for 5 s  |
| recorded     | a file tells: nothing ages, nothing breaks |
"""

from dataclasses import dataclass, replace
from enum import StrEnum

SLOW_S = 1.5
STALE_S = 3.0
RECOVERED_S = 5.0


class State(StrEnum):
    CONNECTING = "connecting"
    WAITING = "waiting"
    LIVE = "live"
    SLOW = "slow"
    STALE = "stale"
    DISCONNECTED = "disconnected"
    DENIED = "denied"
    RECOVERED = "recovered"
    RECORDED = "recorded"


class Sign(StrEnum):
    CONNECTED = "connected"
    OPENED = "opened"
    FRAME = "frame"
    AGED = "aged"
    SILENT = "silent"
    LOST = "lost"
    REFUSED = "refused"
    SETTLED = "settled"


S = State
TABLE: dict[tuple[State, Sign], State] = {
    **{(state, Sign.LOST): S.DISCONNECTED for state in State if state is not S.CONNECTING},
    **{(state, Sign.REFUSED): S.DENIED for state in State},
    (S.CONNECTING, Sign.CONNECTED): S.WAITING,
    (S.CONNECTING, Sign.OPENED): S.RECORDED,
    (S.DISCONNECTED, Sign.CONNECTED): S.STALE,
    (S.DENIED, Sign.CONNECTED): S.WAITING,
    (S.DENIED, Sign.LOST): S.DENIED,
    (S.CONNECTING, Sign.FRAME): S.LIVE,
    (S.WAITING, Sign.FRAME): S.LIVE,
    (S.DENIED, Sign.FRAME): S.LIVE,
    (S.LIVE, Sign.AGED): S.SLOW,
    (S.RECOVERED, Sign.AGED): S.SLOW,
    (S.SLOW, Sign.FRAME): S.LIVE,
    (S.WAITING, Sign.SILENT): S.STALE,
    (S.LIVE, Sign.SILENT): S.STALE,
    (S.SLOW, Sign.SILENT): S.STALE,
    (S.RECOVERED, Sign.SILENT): S.STALE,
    (S.STALE, Sign.FRAME): S.RECOVERED,
    (S.DISCONNECTED, Sign.FRAME): S.RECOVERED,
    (S.RECOVERED, Sign.SETTLED): S.LIVE,
}
"""What is not named leaves the state as it is."""

TRUSTED = frozenset({State.LIVE, State.SLOW, State.RECOVERED, State.RECORDED})
"""Numbers are of now; in the other states they are dimmed and nothing is done from here."""


@dataclass(frozen=True, slots=True)
class Link:
    """Times are of one monotonic clock, in s. `outage_s` is how long the last one took, `next_try_at` of the reconnect.

    `reason` is why there is no connection.
    """

    state: State = State.CONNECTING
    since: float = 0.0
    frame_at: float | None = None
    where: str = ""
    tries: int = 0
    next_try_at: float | None = None
    reason: str = ""
    refused: str = ""
    rtt_ms: float | None = None
    broken_at: float | None = None
    outage_s: float = 0.0

    def after(self, sign: Sign, now: float) -> "Link":
        state = TABLE.get((self.state, sign), self.state)
        link = replace(self, frame_at=now) if sign is Sign.FRAME else self
        if state is self.state:
            return link
        if state is State.RECOVERED and self.frame_at is None:
            state = State.LIVE
        if state is State.RECOVERED:
            link = replace(link, outage_s=0.0 if self.broken_at is None else now - self.broken_at)
        broken_at = None if state in TRUSTED else now if self.broken_at is None else self.broken_at
        return replace(link, state=state, since=now, broken_at=broken_at)

    def aged(self, now: float) -> "Link":
        """As of now, when nothing has come since. Silence after a refusal is its fault."""
        link = self
        age_s = now - (self.frame_at if self.frame_at is not None else self.since)
        if age_s >= STALE_S:
            link = link.after(Sign.REFUSED if self.refused else Sign.SILENT, now)
        elif age_s >= SLOW_S:
            link = link.after(Sign.AGED, now)
        if link.state is State.RECOVERED and now - link.since >= RECOVERED_S:
            link = link.after(Sign.SETTLED, now)
        return link

    def connected(self, where: str) -> "Link":
        return replace(self, where=where, tries=0, next_try_at=None, reason="", refused="")

    def trying(self, tries: int, next_try_at: float, reason: str) -> "Link":
        return replace(self, tries=tries, next_try_at=next_try_at, reason=reason, rtt_ms=None)

    def denied(self, refused: str) -> "Link":
        return replace(self, refused=refused)

    def timed(self, rtt_ms: float | None) -> "Link":
        return replace(self, rtt_ms=rtt_ms)

    def age_s(self, now: float) -> float | None:
        return None if self.frame_at is None else max(0.0, now - self.frame_at)

    @property
    def is_trusted(self) -> bool:
        return self.state in TRUSTED
