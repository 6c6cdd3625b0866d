"""One server as the aggregator knows it: records, checks, beats and what the leader counts there. Pure."""

import msgspec

from pointsman.contracts.flow import ServerFlow, quantile
from pointsman.contracts.frames import ServerPulse, ServerRow
from pointsman.contracts.server import HealthState, ServerAdmin, ServerConfig, ServerHealth
from pointsman.services.statistics.flow_windows import (
    KNOWN_MS,
    LONG_S,
    LONG_STEP_S,
    SHORT_S,
    long_slot,
    short_slot,
    shown_rate,
)
from pointsman.services.statistics.windows import Spread, Sums

FAILURES_MAX = {HealthState.NEW: 5, HealthState.SUSPECT: 3}
"""What takes a server out: as in the health machine, for the states in which failures in a row are counted."""
SLOW_START = frozenset({HealthState.WARMING, HealthState.RECOVERING})
SHARE_DIGITS = 4


class Rates(msgspec.Struct, frozen=True, array_like=True):
    """What is computed anew about once a second."""

    done_per_s: float | None = None
    run_p95: int | None = None
    error_rate: float | None = None
    share: float | None = None
    fair: float | None = None
    estimate: int | None = None


type Pulse = tuple[int | None, int | None, int | None, Rates]
"""What a pulse says beside its ages: running, times of the last beat and check, rates."""


class Member:
    __slots__ = (
        "active",
        "admin",
        "admin_revision",
        "beat_at",
        "config",
        "done",
        "estimate",
        "health",
        "limit",
        "long",
        "ordinal",
        "rates",
        "revision",
        "runs",
        "serves",
        "told",
    )

    def __init__(self, config: ServerConfig, ordinal: int) -> None:
        self.config = config
        self.ordinal = ordinal
        self.admin = ServerAdmin()
        self.revision = self.admin_revision = 0
        self.health: ServerHealth | None = None
        self.told: ServerHealth | None = None
        self.beat_at: int | None = None
        self.active: int | None = None
        self.limit = config.max_concurrent
        self.serves = False
        self.estimate: int | None = None
        self.done, self.runs = Sums(SHORT_S, 1), Spread(SHORT_S)
        self.long = Sums(LONG_S // LONG_STEP_S, 4)
        self.rates = Rates()

    @property
    def seen(self) -> ServerHealth:
        """The last check if it is newer than the stored state, both only of this registration."""
        at = self.config.registered_at
        known = [one for one in (self.health, self.told) if one is not None and one.registered_at == at]
        if not known:
            return ServerHealth(registered_at=at, since=at)
        return max(known, key=lambda one: (one.since, one.last_check or 0))

    def flowed(self, told: ServerFlow, now_s: float, *, whole: bool) -> None:
        """`whole` comes once a second, so its limits sum up to the slots that the server could have given."""
        self.active, self.limit, self.serves = told.active, told.limit, told.serves
        self.estimate = told.estimate
        self.done.add(short_slot(now_s), (told.done,))
        self.runs.add(short_slot(now_s), told.runs)
        fair = told.limit if whole and told.serves else 0
        self.long.add(long_slot(now_s), (told.done, told.failed, told.started, fair))

    def ended(self, now_s: float) -> tuple[int, int]:
        """Attempts done and failed over the long window."""
        self.long.forget(long_slot(now_s))
        return self.long.total[0], self.long.total[1]

    def refresh(self, now_s: float, span_ms: int, started: int, fair: int) -> None:
        """`started` and `fair` are the sums of the pool."""
        self.done.forget(short_slot(now_s))
        self.runs.forget(short_slot(now_s))
        self.long.forget(long_slot(now_s))
        done, failed, mine, slots = self.long.total
        p95 = quantile(self.runs.total, 0.95)
        self.rates = Rates(
            done_per_s=shown_rate(self.done.total[0] * 1000 / span_ms) if span_ms >= KNOWN_MS else None,
            run_p95=None if p95 is None else round(p95),
            error_rate=round(failed / (done + failed), SHARE_DIGITS) if done + failed else None,
            share=round(mine / started, SHARE_DIGITS) if started else None,
            fair=round(slots / fair, SHARE_DIGITS) if fair else None,
            estimate=self.estimate,
        )

    def pulse(self) -> Pulse:
        return self.active, self.beat_at, self.seen.last_check, self.rates

    def row(self) -> ServerRow:
        config, admin, health = self.config, self.admin, self.seen
        return ServerRow(
            id=config.id,
            pool=config.pool,
            wanted=admin.wanted,
            state=health.state,
            since=max(health.since, admin.since, config.registered_at),
            limit=self.limit,
            max_concurrent=config.max_concurrent,
            weight=config.weight,
            score=health.score,
            failures=health.consecutive_failures,
            failures_max=FAILURES_MAX.get(health.state),
            error=health.error,
            reason=admin.reason,
            until=admin.until,
            version=config.version,
            groups=config.groups,
            warmth=self._warmth(health.state),
            declared=admin.declared,
            by=admin.by,
            revision=max(self.revision, self.admin_revision),
        )

    def _warmth(self, state: HealthState) -> float | None:
        most = self.config.max_concurrent
        return round(self.limit / most, 2) if state in SLOW_START and self.limit < most else None


def shown_pulse(server_id: str, pulse: Pulse, at: int) -> ServerPulse:
    running, beat_at, check_at, rates = pulse
    return ServerPulse(
        id=server_id,
        running=running,
        beat_ms=max(0, at - beat_at) if beat_at is not None else None,
        check_ms=max(0, at - check_at) if check_at is not None else None,
        done_per_s=rates.done_per_s,
        run_p95=rates.run_p95,
        error_rate=rates.error_rate,
        share=rates.share,
        fair=rates.fair,
        estimate=rates.estimate,
    )
