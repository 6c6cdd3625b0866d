"""The health machine of a fleet: evidence in, states and due probes out. No clock, no I/O: the prober is its shell.

Signs of single servers come from `watch.py`; what only the fleet can tell, or must keep within bounds, is decided here.
"""

import heapq
from collections import defaultdict
from collections.abc import Iterable, Mapping
from random import Random

import structlog
from msgspec.structs import replace

from pointsman.contracts.balancer import Alert
from pointsman.contracts.execution import Evidence, Results
from pointsman.contracts.server import Cause, HealthState, ServerHealth
from pointsman.services.instance.ejection import Member, Share, is_ejected, share_of
from pointsman.services.instance.health_table import BY_TASKS, TABLE, Sign, after
from pointsman.services.instance.outliers import INTERVAL_S, Rate, outliers
from pointsman.services.instance.self_doubt import SEEN_WELL_S, SelfDoubt
from pointsman.services.instance.watch import CALM_S, Finding, Look, Moment, Watch

log = structlog.get_logger()

S = HealthState
TIMEOUT_S = 2.0
SERVING = frozenset({S.WARMING, S.HEALTHY, S.RECOVERING, S.SUSPECT})


class HealthMachine:
    """`changed` holds the servers whose state must be stored, `stirred` those whose numbers are news to watchers."""

    def __init__(self, rng: Random) -> None:
        self.changed: set[str] = set()
        self.stirred: set[str] = set()
        self._rng = rng
        self._watches: dict[str, Watch] = {}
        self._queue: list[tuple[float, str]] = []
        self._shares: dict[str, Share] = {}
        self._panics: set[str] = set()
        self._doubt = SelfDoubt()
        self._judged_s: float | None = None

    def __len__(self) -> int:
        return len(self._watches)

    def get(self, server_id: str) -> Watch | None:
        return self._watches.get(server_id)

    def watch(
        self, server_id: str, pool: str, capacity: int, health: ServerHealth, now: Moment, *, first_in_s: float = 0.0
    ) -> None:
        """Begin anew with what is stored of a server; its first probe is due in `first_in_s`."""
        watch = Watch(server_id, pool, capacity, health, entered_s=now.s, progress_s=now.s)
        if health.ejected_until is not None:
            watch.out_until_s = now.s + max(0, health.ejected_until - now.ms) / 1000
        if health.state is S.WARMING:
            watch.entered_s -= max(0, now.ms - health.since) / 1000
        self._forget_share(pool)
        self._watches[server_id] = watch
        self.schedule(watch, now.s + first_in_s)

    def resize(self, server_id: str, pool: str, capacity: int) -> None:
        watch = self._watches[server_id]
        self._forget_share(watch.pool)
        watch.pool, watch.capacity = pool, capacity
        self._forget_share(pool)

    def forget(self, server_id: str) -> None:
        watch = self._watches.pop(server_id, None)
        if watch is not None:
            self._forget_share(watch.pool)
            self.changed.discard(server_id)
            self.stirred.discard(server_id)

    def schedule(self, watch: Watch, due_s: float) -> None:
        watch.due_s = due_s
        heapq.heappush(self._queue, (due_s, watch.server_id))

    def next_due(self, now: Moment) -> str | None:
        """A server to probe now; it is due again only when `probed` has been told."""
        while self._queue and self._queue[0][0] <= now.s:
            due_s, server_id = heapq.heappop(self._queue)
            watch = self._watches.get(server_id)
            if watch is None or watch.due_s != due_s:
                continue
            if watch.credit(now.s):
                self._wait(watch, now)
                continue
            return server_id
        return None

    def next_due_s(self) -> float | None:
        return self._queue[0][0] if self._queue else None

    def timeout_s(self, now_s: float) -> float:
        """How long a probe may take."""
        return TIMEOUT_S * self._doubt.stretch(now_s)

    def probed(self, server_id: str, look: Look, now: Moment) -> None:
        if (watch := self._watches.get(server_id)) is None:
            return
        self._apply(watch, watch.probed(look, now), now)
        self._wait(watch, now)

    def beaten(self, server_id: str, active_tasks: int | None, now: Moment, *, is_well: bool = True) -> None:
        if (watch := self._watches.get(server_id)) is not None:
            self._apply(watch, watch.beaten(active_tasks, now, is_well=is_well), now)
            if not is_well:
                self._hasten(watch, now.s)

    def heard(self, evidence: Evidence, now: Moment) -> None:
        """What an executor saw."""
        by_server: defaultdict[str, list[Results]] = defaultdict(list)
        for row in evidence.results:
            by_server[row.server_id].append(row)
        for server_id, rows in by_server.items():
            if (watch := self._watches.get(server_id)) is None:
                continue
            self.stirred.add(server_id)
            self._apply(watch, watch.heard(rows, now), now)
            if any(row.faults for row in rows):
                self._hasten(watch, now.s)

    def loaded(self, active: Mapping[str, int], now_s: float) -> None:
        """How many attempts run at each server, by the balancer's count."""
        for server_id, watch in self._watches.items():
            running = active.get(server_id, 0)
            if running and not watch.active:
                watch.progress_s = now_s
            watch.active = running

    def tick(self, now: Moment) -> None:
        """Several times a second: silence, warmth, what the fleet tells, panic and doubt."""
        for watch in self._watches.values():
            if (finding := watch.passed(now)) is not None:
                self._apply(watch, finding, now)
            if watch.health.readmitted and now.s - max(watch.fault_s, watch.entered_s) >= CALM_S:
                self._rewrite(watch, replace(watch.health, readmitted=False))
        self._judge(now)
        self._panic(now)
        self._end_doubt(now)

    def alarms(self) -> tuple[Alert, ...]:
        """What an operator should look at now."""
        panics = tuple(_panic_alert(pool, self._share(pool)) for pool in sorted(self._panics))
        if not self._doubt.is_doubting:
            return panics
        detail = "half of all servers turned suspect within 5 s: the prober doubts itself and takes nobody out"
        return (Alert(kind="prober-doubt", pool="", detail=detail), *panics)

    def shown(self, server_id: str, now_s: float) -> ServerHealth | None:
        """The health with its score and times, as watchers are told it."""
        watch = self._watches.get(server_id)
        if watch is None:
            return None
        score = watch.score.value(watch.state, now_s)
        return replace(watch.health, score=score)

    def _apply(self, watch: Watch, finding: Finding | None, now: Moment) -> None:
        if finding is None or after(watch.state, finding.sign) is watch.state:
            return
        if not self._is_allowed(watch, finding):
            return
        before = watch.state
        watch.enter(finding, now, self._rng)
        self._note_change(watch, now)
        log.info(
            "health changed",
            server=watch.server_id,
            before=before,
            after=watch.state,
            cause=finding.cause,
            reason=finding.detail,
        )
        if watch.state is S.SUSPECT:
            self._suspect(watch, finding, now)

    def _is_allowed(self, watch: Watch, finding: Finding) -> bool:
        """Whether the bounds let this server be taken out now; anything else they do not concern."""
        if after(watch.state, finding.sign) is not S.UNHEALTHY or watch.state is S.NEW:
            return True
        if self._doubt.is_doubting:
            return False
        if finding.cause not in BY_TASKS:
            return True
        share = self._share(watch.pool)
        if is_ejected(watch.health):
            return watch.pool not in self._panics
        return watch.pool not in self._panics and share.may_eject(watch.capacity)

    def _suspect(self, watch: Watch, finding: Finding, now: Moment) -> None:
        """Silence is looked into at once; a failed probe has just been one."""
        if finding.cause is Cause.HEARTBEATS:
            self.schedule(watch, now.s)
        serving = len(self._serving())
        if self._doubt.suspected(watch.server_id, serving, now.s):
            log.error("the prober doubts itself", servers=serving)

    def _note_change(self, watch: Watch, now: Moment) -> None:
        self.changed.add(watch.server_id)
        self.stirred.add(watch.server_id)
        self._forget_share(watch.pool)
        self._wait(watch, now)

    def _rewrite(self, watch: Watch, health: ServerHealth) -> None:
        watch.health = health
        self.changed.add(watch.server_id)
        self._forget_share(watch.pool)

    def _wait(self, watch: Watch, now: Moment) -> None:
        wait_s = watch.wait_s(now.s, self._rng)
        watch.health = replace(watch.health, next_check=now.ms + round(wait_s * 1000))
        self.stirred.add(watch.server_id)
        self.schedule(watch, now.s + wait_s)

    def _hasten(self, watch: Watch, now_s: float) -> None:
        if watch.hasten(now_s):
            self.schedule(watch, now_s)

    def _judge(self, now: Moment) -> None:
        """Outliers and stalled work, every 10 s."""
        if self._judged_s is not None and now.s - self._judged_s < INTERVAL_S:
            return
        self._judged_s = now.s
        pools: defaultdict[str, list[Watch]] = defaultdict(list)
        for watch in self._watches.values():
            pools[watch.pool].append(watch)
        for watches in pools.values():
            self._judge_rates(watches, now)
            slowest = max((ms for watch in watches for ms in watch.slowest), default=0)
            for watch in watches:
                if watch.is_stalled(slowest, now.s):
                    detail = f"work runs and none has ended for {now.s - watch.progress_s:.0f} s"
                    self._apply(watch, Finding(Sign.EJECTED, Cause.STALLED, detail), now)

    def _judge_rates(self, watches: Iterable[Watch], now: Moment) -> None:
        by_type: defaultdict[str, dict[str, Rate]] = defaultdict(dict)
        for watch in watches:
            for task_type, rate in watch.rates.items():
                by_type[task_type][watch.server_id] = rate
            watch.rates = {}
        for task_type, rates in by_type.items():
            for server_id in outliers(rates):
                detail = f"only {rates[server_id].share:.0%} of its tasks of type {task_type} succeed, unlike elsewhere"
                self._apply(self._watches[server_id], Finding(Sign.EJECTED, Cause.OUTLIER, detail), now)

    def _panic(self, now: Moment) -> None:
        """Begin and end it; while it lasts, whoever was taken out for what tasks told comes back."""
        for pool in {watch.pool for watch in self._watches.values()} | self._panics:
            share = self._share(pool)
            if share.is_panic and pool not in self._panics:
                self._panics.add(pool)
                log.error("pool panics", pool=pool, eligible=share.eligible, capacity=share.total)
            elif not share.is_panic and pool in self._panics:
                self._panics.discard(pool)
                log.warning("panic is over", pool=pool, eligible=share.eligible, capacity=share.total)
        if self._panics:
            self._readmit(now)

    def _readmit(self, now: Moment) -> None:
        for watch in self._watches.values():
            if watch.pool in self._panics and is_ejected(watch.health) and not watch.health.consecutive_failures:
                self._apply(watch, Finding(Sign.READMITTED, None, watch.health.error), now)

    def _end_doubt(self, now: Moment) -> None:
        """Those that are still suspect must fail anew, by timeouts as short as before."""
        if not self._doubt.is_doubting:
            return
        serving = self._serving()
        well = sum(now.s - watch.well_s <= SEEN_WELL_S for watch in serving)
        if self._doubt.is_over(well, len(serving), now.s):
            log.warning("the prober trusts itself again", seen_well=well, servers=len(serving))
            for watch in serving:
                watch.bads = 0

    def _serving(self) -> list[Watch]:
        return [watch for watch in self._watches.values() if watch.state in SERVING]

    def _share(self, pool: str) -> Share:
        share = self._shares.get(pool)
        if share is None:
            members = (Member(one.capacity, one.health) for one in self._watches.values() if one.pool == pool)
            share = self._shares[pool] = share_of(members)
        return share

    def _forget_share(self, pool: str) -> None:
        self._shares.pop(pool, None)


def fresh(health: ServerHealth | None, registered_at: int, now: int) -> ServerHealth:
    """The stored health where it is of this registration, else NEW."""
    if health is not None and health.registered_at == registered_at and health.state in TABLE:
        return health
    return ServerHealth(state=S.NEW, since=now, registered_at=registered_at)


def _panic_alert(pool: str, share: Share) -> Alert:
    detail = (
        f"{share.eligible} of {share.total} slots can take tasks, less than half: "
        "servers taken out for failing tasks are used again"
    )
    return Alert(kind="panic", pool=pool, detail=detail)
