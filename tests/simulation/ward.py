"""A fleet in virtual time under the production health machine: servers that fail, beats that get lost, tasks, one prober."""

import heapq
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import Enum, auto
from random import Random

from pointsman.contracts.server import HealthState, ServerHealth
from pointsman.services.instance.evidence import Tally
from pointsman.services.instance.health import HealthMachine
from pointsman.services.instance.health_table import ELIGIBLE
from pointsman.services.instance.watch import Look, Moment
from pointsman.services.runtime.outcomes import Failed, Lost, Outcome, Succeeded, TimedOut

POOL, SLOTS = "default", 10
TICK_S, TELL_S, BEAT_S = 0.25, 1.0, 2.0
TASK_TIMEOUT_S = 5.0
EPOCH_MS = 1_700_000_000_000


class Trouble(Enum):
    """CRASH: nothing listens, no beats. HANG: nothing is answered, beats go on. LIES: healthy, but work fails with 502."""

    CRASH = auto()
    HANG = auto()
    LIES = auto()


@dataclass(frozen=True, slots=True)
class Fault:
    server: str
    trouble: Trouble
    start_s: float
    end_s: float


@dataclass(frozen=True, slots=True)
class Weather:
    """What a healthy fleet is like. `lost_beats` and `poison` are shares in 0-1; pauses stop all of a server.

    `poison`: tasks of a type that fails everywhere with 500, `half` of its tasks. `slow`: from, to, factor.
    """

    beats: bool = True
    tasks_per_s: float = 0.0
    lost_beats: float = 0.0
    beat_sd_s: float = 0.02
    pauses_per_h: float = 0.0
    pause_s_max: float = 2.0
    slow_probes: float = 0.001
    probe_ms: float = 5.0
    task_ms: float = 100.0
    poison: float = 0.0
    poison_share: float = 1.0
    slow: tuple[float, float, float] = (0.0, 0.0, 1.0)
    blind: tuple[float, float] = (0.0, 0.0)


@dataclass(slots=True)
class Report:
    """`changes`: (s, server, before, after). `detected` s from a fault's start to UNHEALTHY, `stopped` to no more tasks."""

    probes: int = 0
    changes: list[tuple[float, str, HealthState, HealthState]] = field(default_factory=list)
    detected: list[float] = field(default_factory=list)
    stopped: list[float] = field(default_factory=list)
    missed: int = 0
    false_unhealthy: int = 0
    tasks: Counter[str] = field(default_factory=Counter)
    out_at_once: int = 0
    alarms: Counter[str] = field(default_factory=Counter)

    def entered(self, state: HealthState) -> int:
        return sum(after is state for _, _, _, after in self.changes)


class Ward:
    def __init__(self, servers: int, weather: Weather, faults: tuple[Fault, ...] = (), *, seed: int = 1) -> None:
        self.report = Report()
        self.machine = HealthMachine(Random(seed))
        self._weather = weather
        self._rng = Random(seed + 1)
        self._tally = Tally("e1")
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._number = 0
        self.now_s = 0.0
        self.servers = [f"s{n:04}" for n in range(servers)]
        self._faults: dict[str, list[Fault]] = {name: [] for name in self.servers}
        self._states: dict[str, HealthState] = {}
        self._paused_until: dict[str, float] = dict.fromkeys(self.servers, 0.0)
        for fault in faults:
            self._faults[fault.server].append(fault)
            self._at(fault.start_s, lambda fault=fault: self._begins(fault))  # type: ignore[misc]
        self._begun: dict[str, tuple[Fault, bool]] = {}
        self._begin()

    def run(self, until_s: float) -> Report:
        tick_s = 0.0
        while self.now_s < until_s:
            event_s = self._events[0][0] if self._events else until_s
            due_s = self.machine.next_due_s()
            self.now_s = max(self.now_s, min(event_s, tick_s, due_s if due_s is not None else until_s, until_s))
            if tick_s <= self.now_s:
                self.machine.tick(self._now())
                self.report.alarms.update({alert.kind for alert in self.machine.alarms()})
                tick_s += TICK_S
            while self._events and self._events[0][0] <= self.now_s:
                heapq.heappop(self._events)[2]()
            self._probe_due()
            self._follow()
        return self.report

    def state(self, server: str) -> HealthState:
        watch = self.machine.get(server)
        assert watch is not None
        return watch.state

    def out(self) -> list[str]:
        return [server for server in self.servers if self.state(server) not in ELIGIBLE]

    def _now(self) -> Moment:
        return Moment(self.now_s, EPOCH_MS + round(self.now_s * 1000))

    def _at(self, at_s: float, event: Callable[[], None]) -> None:
        self._number += 1
        heapq.heappush(self._events, (at_s, self._number, event))

    def _begin(self) -> None:
        now, weather = self._now(), self._weather
        for server in self.servers:
            self._states[server] = HealthState.NEW
            self.machine.watch(server, POOL, SLOTS, ServerHealth(), now, first_in_s=self._rng.uniform(0, 0.1))
            if weather.beats:
                self._at(self._rng.uniform(0, BEAT_S), lambda server=server: self._beat(server))  # type: ignore[misc]
            if weather.tasks_per_s:
                self._next_task(server)
            if weather.pauses_per_h:
                self._next_pause(server)
        if weather.tasks_per_s:
            self._at(TELL_S, self._tell_every_second)

    def _trouble(self, server: str) -> Trouble | None:
        return next((f.trouble for f in self._faults[server] if f.start_s <= self.now_s < f.end_s), None)

    def _is_blind(self) -> bool:
        return self._weather.blind[0] <= self.now_s < self._weather.blind[1]

    def _slowness(self) -> float:
        start_s, end_s, factor = self._weather.slow
        return factor if start_s <= self.now_s < end_s else 1.0

    def _beat(self, server: str) -> None:
        """The next one is sent a beat after this one, or when the pause is over."""
        if self._trouble(server) is not Trouble.CRASH and not self._is_blind():
            wait_s = max(0.0, self._paused_until[server] - self.now_s)
            if wait_s:
                self._at(self.now_s + wait_s, lambda: self._beat(server))
                return
            if self._rng.random() >= self._weather.lost_beats:
                delay_s = abs(self._rng.gauss(0.0, self._weather.beat_sd_s))
                self._at(self.now_s + delay_s, lambda: self.machine.beaten(server, 0, self._now()))
        self._at(self.now_s + BEAT_S, lambda: self._beat(server))

    def _next_pause(self, server: str) -> None:
        def pause() -> None:
            self._paused_until[server] = self.now_s + self._rng.uniform(0, self._weather.pause_s_max)
            self._next_pause(server)

        self._at(self.now_s + self._rng.expovariate(self._weather.pauses_per_h / 3600), pause)

    def _probe_due(self) -> None:
        while (server := self.machine.next_due(self._now())) is not None:
            self.report.probes += 1
            took_s, look = self._seen(server)
            self._at(self.now_s + took_s, lambda server=server, look=look: self._probed(server, look))  # type: ignore[misc]

    def _probed(self, server: str, look: Look) -> None:
        self.machine.probed(server, look, self._now())

    def _seen(self, server: str) -> tuple[float, Look]:
        """How long the probe takes, and what it says. A lost packet is sent again after a second."""
        timeout_s = self.machine.timeout_s(self.now_s)
        trouble = self._trouble(server)
        if trouble is Trouble.CRASH and not self._is_blind():
            return 0.001, Look("refused", refused=True)
        if trouble in (Trouble.HANG, Trouble.CRASH) or self._is_blind():
            return timeout_s, Look("no answer")
        took_s = self._rng.lognormvariate(0, 0.7) * self._weather.probe_ms / 1000 * self._slowness()
        took_s += max(0.0, self._paused_until[server] - self.now_s)
        took_s += 1.0 if self._rng.random() < self._weather.slow_probes else 0.0
        return (timeout_s, Look("no answer")) if took_s > timeout_s else (took_s, Look())

    def _next_task(self, server: str) -> None:
        gap_s = self._rng.expovariate(self._weather.tasks_per_s)
        self._at(self.now_s + gap_s, lambda: self._task(server))

    def _task(self, server: str) -> None:
        self._next_task(server)
        if self.state(server) not in ELIGIBLE:
            return
        is_poison = self._rng.random() < self._weather.poison
        took_s, outcome = self._outcome(server, is_poison)
        task_type = "poison" if is_poison else "t"
        self._at(self.now_s + took_s, lambda: self._ended(server, task_type, outcome, took_s))

    def _outcome(self, server: str, is_poison: bool) -> tuple[float, Outcome]:
        trouble = self._trouble(server)
        if trouble is Trouble.CRASH:
            return 0.001, Lost(reason="refused", server_fault=True)
        if trouble is Trouble.HANG:
            return TASK_TIMEOUT_S, TimedOut()
        if trouble is Trouble.LIES:
            return 0.01, Failed(error="HTTP 502", server_fault=True)
        took_s = self._rng.lognormvariate(0, 0.7) * self._weather.task_ms / 1000 * self._slowness()
        if took_s > TASK_TIMEOUT_S:
            return TASK_TIMEOUT_S, TimedOut()
        if is_poison and self._rng.random() < self._weather.poison_share:
            return took_s, Failed(error="HTTP 500")
        return took_s, Succeeded()

    def _ended(self, server: str, task_type: str, outcome: Outcome, took_s: float) -> None:
        self.report.tasks[type(outcome).__name__] += 1
        elapsed_ms = round(took_s * 1000)
        if self._tally.note(server, task_type, outcome, elapsed_ms=elapsed_ms, now=self._now().ms):
            self._tell()

    def _tell_every_second(self) -> None:
        self._tell()
        self._at(self.now_s + TELL_S, self._tell_every_second)

    def _tell(self) -> None:
        evidence = self._tally.take(self._now().ms)
        if evidence is not None:
            self.machine.heard(evidence, self._now())

    def _begins(self, fault: Fault) -> None:
        if self.state(fault.server) in (HealthState.HEALTHY, HealthState.WARMING):
            self._begun[fault.server] = (fault, False)

    def _follow(self) -> None:
        """Note what changed, and hold it against the truth."""
        changed, self.machine.changed = self.machine.changed, set()
        for server in changed:
            before, after = self._states[server], self.state(server)
            self._states[server] = after
            self.report.changes.append((self.now_s, server, before, after))
            self._judge(server, after)
        if changed:
            out = sum(self.state(server) is HealthState.UNHEALTHY for server in self.servers)
            self.report.out_at_once = max(self.report.out_at_once, out)

    def _judge(self, server: str, after: HealthState) -> None:
        fault, is_stopped = self._begun.get(server, (None, False))
        if fault is None:
            self.report.false_unhealthy += after is HealthState.UNHEALTHY and self._trouble(server) is None
            return
        if after in (HealthState.SUSPECT, HealthState.UNHEALTHY) and not is_stopped:
            self.report.stopped.append(self.now_s - fault.start_s)
            self._begun[server] = (fault, True)
        if after is HealthState.UNHEALTHY:
            self.report.detected.append(self.now_s - fault.start_s)
            del self._begun[server]


def failures(servers: int, hours: float, *, mtbf_s: float, mttr_s: float, seed: int) -> tuple[Fault, ...]:
    """Crashes of each server, exponentially far apart, each mended after 0.5 to 1.5 times `mttr_s`."""
    return tuple(_failures(servers, hours, mtbf_s, mttr_s, Random(seed)))


def _failures(servers: int, hours: float, mtbf_s: float, mttr_s: float, rng: Random) -> Iterator[Fault]:
    for n in range(servers):
        at_s = rng.expovariate(1 / mtbf_s) + 120.0
        while at_s < hours * 3600:
            end_s = at_s + mttr_s * rng.uniform(0.5, 1.5)
            yield Fault(f"s{n:04}", Trouble.CRASH, at_s, end_s)
            at_s = end_s + 120.0 + rng.expovariate(1 / mtbf_s)
