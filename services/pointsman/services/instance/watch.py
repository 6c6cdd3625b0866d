"""One server under watch: what was seen of it since its state began, and the sign that this amounts to. No clock, no I/O."""

from collections import deque
from dataclasses import dataclass, field
from math import inf
from random import Random
from typing import NamedTuple

from msgspec.structs import replace

from pointsman.contracts.execution import Results
from pointsman.contracts.server import Cause, HealthState, ServerHealth
from pointsman.services.instance.ejection import ejection_s, forgiven
from pointsman.services.instance.health_table import TABLE, Sign, after
from pointsman.services.instance.outliers import Rate
from pointsman.services.instance.phi import Beats
from pointsman.services.instance.score import Score

S = HealthState

NEW_BAD, SUSPECT_GOOD, SUSPECT_BAD, UNHEALTHY_GOOD = 5, 2, 3, 2
RECOVERING_SUCCESSES, RECOVERING_IDLE_S, RECOVERING_GOOD = 3, 30.0, 3
WARM_S = 30.0
CALM_S = 30.0
FAULTS_IN_A_ROW = 5
INTERVAL_FIRST_S, INTERVAL_GROWTH, INTERVAL_GROWS_EVERY = 5.0, 1.5, 3
INTERVAL_MAX_S, INTERVAL_MAX_SILENT_S = 30.0, 15.0
SUCCESS_PROVES_S = 2.0
STALLED_S_MIN, STALLED_TIMES = 30.0, 3.0
SLOWEST_KEPT = 100
TYPES_MAX = 256


class Moment(NamedTuple):
    """`s` monotonic for durations, `ms` since the epoch for what is stored and shown."""

    s: float
    ms: int


class Look(NamedTuple):
    """What a probe saw: `error` None is a good one; `refused`: nobody listens there."""

    error: str | None = None
    refused: bool = False
    active_tasks: int | None = None


class Finding(NamedTuple):
    sign: Sign
    cause: Cause | None = None
    detail: str | None = None


PROVEN = Finding(Sign.PROVEN)


@dataclass(slots=True)
class Watch:
    """Counters begin anew with each state. Times `_s` are monotonic."""

    server_id: str
    pool: str
    capacity: int
    health: ServerHealth
    entered_s: float
    due_s: float = 0.0
    out_until_s: float = 0.0
    interval_s: float = INTERVAL_FIRST_S
    goods: int = 0
    bads: int = 0
    misses: int = 0
    successes: int = 0
    run: int = 0
    is_beat_counted: bool = False
    is_credited: bool = False
    is_callback_server: bool = False
    fault_s: float = -inf
    success_s: float = -inf
    well_s: float = -inf
    checked_s: float = -inf
    progress_s: float = 0.0
    busy_by_beat: bool = False
    active: int = 0
    beats: Beats | None = None
    score: Score = field(default_factory=Score)
    rates: dict[str, Rate] = field(default_factory=dict)
    slowest: deque[int] = field(default_factory=lambda: deque(maxlen=SLOWEST_KEPT))

    @property
    def state(self) -> HealthState:
        return self.health.state

    def is_late(self, now_s: float) -> bool:
        return self.beats is not None and self.beats.is_late(now_s)

    def probed(self, look: Look, now: Moment) -> Finding | None:
        self.checked_s = now.s
        self.score.probed(good=look.error is None)
        self.health = _counted(self.health, look.error, now.ms)
        return self._good(now) if look.error is None else self._bad(look, now.s)

    def _good(self, now: Moment) -> Finding | None:
        self.goods += 1
        self.misses = 0
        self.well_s = now.s
        match self.state:
            case S.NEW:
                return PROVEN
            case S.SUSPECT:
                return PROVEN if self.goods >= SUSPECT_GOOD else None
            case S.UNHEALTHY:
                return PROVEN if self.goods >= UNHEALTHY_GOOD and now.s >= self.out_until_s else None
            case S.RECOVERING:
                is_idle = self.successes == 0 and now.s - self.entered_s >= RECOVERING_IDLE_S
                return PROVEN if is_idle and self.goods >= RECOVERING_GOOD else None
            case S.HEALTHY:
                self._lengthen(now.s)
                return None
            case S.WARMING:
                return None

    def _bad(self, look: Look, now_s: float) -> Finding | None:
        self.goods = 0
        self.bads += 1
        self.misses += 1
        is_gone = look.refused and self.is_late(now_s)
        dead, doubted = (Finding(sign, Cause.PROBES, look.error) for sign in (Sign.DEAD, Sign.DOUBTED))
        match self.state:
            case S.NEW:
                return dead if self.health.consecutive_failures >= NEW_BAD else None
            case S.SUSPECT:
                return dead if self.bads >= SUSPECT_BAD or is_gone else None
            case S.HEALTHY | S.WARMING | S.RECOVERING:
                return dead if is_gone else doubted
            case S.UNHEALTHY:
                return None

    def _lengthen(self, now_s: float) -> None:
        if self.goods % INTERVAL_GROWS_EVERY == 0:
            self.interval_s *= INTERVAL_GROWTH
        beats = self.beats is not None and not self.beats.is_late(now_s)
        self.interval_s = min(self.interval_s, INTERVAL_MAX_S if beats else INTERVAL_MAX_SILENT_S)

    def credit(self, now_s: float) -> bool:
        """Whether a recent success stands for the probe that is due: at most every second time."""
        credited = not self.is_credited and self.state is S.HEALTHY and now_s - self.success_s < self.interval_s
        self.is_credited = credited
        if credited:
            self.goods += 1
            self._lengthen(now_s)
        return credited

    def beaten(self, active_tasks: int | None, now: Moment, *, is_well: bool) -> Finding | None:
        """One of the good signs that a suspect needs may be a beat."""
        if self.beats is None:
            self.beats = Beats(now.s)
        else:
            self.beats.note(now.s)
        was_busy, self.busy_by_beat = self.busy_by_beat, bool(active_tasks)
        if self.busy_by_beat and not was_busy:
            self.progress_s = now.s
        if not is_well:
            return None
        self.well_s = now.s
        if self.state is S.SUSPECT and self.health.cause is Cause.HEARTBEATS and not self.is_beat_counted:
            self.is_beat_counted = True
            self.goods += 1
            return PROVEN if self.goods >= SUSPECT_GOOD else None
        return None

    def heard(self, rows: list[Results], now: Moment) -> Finding | None:
        """Results of this server, all of one message."""
        answered, faults = sum(row.answered for row in rows), sum(row.faults for row in rows)
        run = sum(row.run for row in rows)
        self.run = run if answered else self.run + run
        for row in rows:
            self._note(row, now.s)
        if answered:
            self.well_s = self.progress_s = now.s
        if faults:
            self.fault_s = now.s
        return self._after_results(rows, faults)

    def _after_results(self, rows: list[Results], faults: int) -> Finding | None:
        succeeded = sum(row.succeeded + row.accepted for row in rows)
        detail = next((row.detail for row in rows if row.detail), "")
        if self.state is S.RECOVERING:
            self.successes += succeeded
            if faults:
                return Finding(Sign.DOUBTED, Cause.FAULTS, f"failed again: {detail}")
            return PROVEN if self.successes >= RECOVERING_SUCCESSES else None
        if self.run >= FAULTS_IN_A_ROW:
            return Finding(Sign.EJECTED, Cause.FAULTS, f"{self.run} faults in a row: {detail}")
        return None

    def _note(self, row: Results, now_s: float) -> None:
        self.score.heard(row, now_s)
        if row.succeeded:
            self.success_s = now_s
            self.slowest.append(row.slowest)
        if row.accepted:
            self.is_callback_server = True
        rate = self.rates.get(row.type, Rate(0, 0))
        if row.type in self.rates or len(self.rates) < TYPES_MAX:
            good = rate.succeeded + row.succeeded + row.accepted
            self.rates[row.type] = Rate(good, rate.results + row.answered + row.faults)

    def passed(self, now: Moment) -> Finding | None:
        """What the passing of time alone tells."""
        state = self.state
        if state in (S.WARMING, S.HEALTHY, S.RECOVERING) and self.is_silent(now.s):
            return Finding(Sign.DOUBTED, Cause.HEARTBEATS, "no heartbeat for longer than its heartbeats explain")
        if state is S.WARMING and now.s - max(self.entered_s, self.fault_s) >= WARM_S:
            return PROVEN
        return None

    def is_silent(self, now_s: float) -> bool:
        """Heartbeats are late, and no task says otherwise."""
        return self.is_late(now_s) and now_s - self.success_s > SUCCESS_PROVES_S

    def is_stalled(self, slowest_ms: int, now_s: float) -> bool:
        """Work runs, by the server's word and ours, and none has ended for three times as long as the slowest takes.

        What calls back ends elsewhere, so nothing can be said of servers that do. `slowest_ms` 0: not known.
        """
        if not (slowest_ms and self.busy_by_beat and self.active) or self.is_callback_server or self.is_late(now_s):
            return False
        return now_s - max(self.progress_s, self.entered_s) > max(STALLED_S_MIN, STALLED_TIMES * slowest_ms / 1000)

    def hasten(self, now_s: float) -> bool:
        """After a fault: look at once, unless the last look was within a second."""
        is_open = self.state in (S.HEALTHY, S.WARMING)
        return is_open and now_s - self.checked_s >= 1.0 and self.due_s > now_s

    def enter(self, finding: Finding, now: Moment, rng: Random) -> None:
        """The state that the sign leads to."""
        before, state = self.state, after(self.state, finding.sign)
        was_only_silent = before is S.SUSPECT and self.health.cause is Cause.HEARTBEATS and self.bads == 0
        ejections, out_s = forgiven(self.health, now.ms), 0.0
        if state is S.UNHEALTHY and before is not S.NEW:
            ejections += 1
            out_s = ejection_s(ejections, rng)
        self.out_until_s = now.s + out_s
        self.health = replace(
            self.health,
            state=state,
            since=now.ms,
            error=_error(self.health, finding, state),
            cause=_cause(self.health, finding, state),
            consecutive_successes=0,
            ejections=ejections,
            ejected_until=now.ms + round(out_s * 1000) if out_s else None,
            readmitted=finding.sign is Sign.READMITTED,
        )
        self.entered_s = now.s
        self.goods = self.misses = self.successes = self.run = 0
        self.bads = 1 if state is S.SUSPECT and finding.cause is Cause.PROBES else 0
        self.is_beat_counted = self.is_credited = False
        if state is not S.SUSPECT and not (was_only_silent and state is S.HEALTHY):
            self.interval_s = INTERVAL_FIRST_S

    def wait_s(self, now_s: float, rng: Random) -> float:
        """Until the next probe."""
        row = TABLE[self.state]
        wait_s = row.waits_s[min(max(0, self.misses - 1), len(row.waits_s) - 1)]
        if self.state is S.HEALTHY:
            wait_s = self.interval_s
        if self.state is S.UNHEALTHY and self.goods >= UNHEALTHY_GOOD:
            wait_s = max(wait_s, self.out_until_s - now_s)
        return wait_s * rng.uniform(1 - row.jitter, 1 + row.jitter)


def _counted(health: ServerHealth, error: str | None, now: int) -> ServerHealth:
    return replace(
        health,
        last_check=now,
        error=error,
        consecutive_failures=0 if error is None else health.consecutive_failures + 1,
        consecutive_successes=health.consecutive_successes + 1 if error is None else 0,
    )


def _error(health: ServerHealth, finding: Finding, state: HealthState) -> str | None:
    return finding.detail or (health.error if state in (S.SUSPECT, S.UNHEALTHY) else None)


def _cause(health: ServerHealth, finding: Finding, state: HealthState) -> Cause | None:
    """Kept while it recovers, so that it still counts as taken out."""
    match state:
        case S.SUSPECT | S.UNHEALTHY:
            return finding.cause
        case S.RECOVERING:
            return health.cause
        case _:
            return None
