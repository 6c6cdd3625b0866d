"""Runs the leader's own model, fleet, policies and task transitions in virtual time against simulated servers.

Nothing here chooses: decisions come from `Model.next_decision`, leases from `assign`, retries from `settle`.
"""

import heapq
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from random import Random

from pointsman.contracts.balancer import Algorithm
from pointsman.contracts.lifecycle import Status
from pointsman.contracts.limits import PoolSettings
from pointsman.contracts.record import TaskHead, TaskRecord, TaskSpec
from pointsman.contracts.server import HealthState, ServerConfig, ServerHealth
from pointsman.services.balancer.attempts import Decision
from pointsman.services.balancer.model import Model
from pointsman.services.runtime.outcomes import Ended, Failed, Lost, Succeeded, assign, settle
from tests.simulation.workload import POISON, Arrival, Machine, Trouble, Workload

EPOCH_MS = 1_800_000_000_000
DAY_MS = 86_400_000
FAULT_MS = 1.0


@dataclass(slots=True)
class Run:
    """What was seen. Starts are (ms, server) of every attempt; a first attempt is lost when it did not succeed.

    Latencies are those of tasks that are no poison; `held_back_ms` is server time on probation with those that are.
    """

    workload: Workload
    latencies_ms: list[float] = field(default_factory=list)
    starts: list[tuple[float, str]] = field(default_factory=list)
    first_lost_at: list[float] = field(default_factory=list)
    finished: Counter[Status] = field(default_factory=Counter)
    above_limit: int = 0
    held_back_ms: float = 0.0
    idle_slot_ms: float = 0.0
    backlog_slot_ms: float = 0.0

    def p(self, share: float) -> float:
        return percentile(self.latencies_ms, share)

    @property
    def idle_share(self) -> float:
        """Slots free although a task waits that they could run, of all slot time in which some task waits."""
        return self.idle_slot_ms / self.backlog_slot_ms if self.backlog_slot_ms else 0.0

    @property
    def held_back_share(self) -> float:
        """Of all server time while the fault lasted."""
        fault = self.workload.fault
        return self.held_back_ms / (fault.end_ms - fault.start_ms) / len(self.workload.machines)

    def first_lost_share(self) -> float:
        """Of the tasks that arrived while the fault lasted."""
        fault = self.workload.fault
        struck = sum(fault.start_ms <= one.at_ms < fault.end_ms for one in self.workload.arrivals)
        return len(self.first_lost_at) / struck

    def share_of_fair(self, start_ms: float, end_ms: float) -> float:
        """Attempts the faulty server got, by what an equally fast healthy one got."""
        got = Counter(server for at, server in self.starts if start_ms <= at < end_ms)
        equals = self.workload.equals_of_the_faulty()
        return got[self.workload.fault.machine] * len(equals) / sum(got[name] for name in equals)


def percentile(values: list[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def fleet_model(machines: tuple[Machine, ...], algorithm: Algorithm, *, weighted: bool) -> Model:
    """A leader's model that knows these servers as healthy; their weights are their speeds, or all 1."""
    model = Model()
    model.fleet.set_pool("default", PoolSettings(algorithm=algorithm))
    for machine in machines:
        weight = machine.speed if weighted else 1
        model.fleet.configure(server_config(machine, weight))
        model.fleet.set_health(machine.id, ServerHealth(state=HealthState.HEALTHY))
    return model


def server_config(machine: Machine, weight: int) -> ServerConfig:
    return ServerConfig(
        id=machine.id,
        name=machine.id,
        predict="http://simulated/predict",
        health="http://simulated/health",
        registered_at=0,
        max_concurrent=machine.slots,
        weight=weight,
        capabilities=tuple(machine.capabilities),
    )


def head_of(record: TaskRecord) -> TaskHead:
    return TaskHead(
        id=record.id,
        owner=record.owner,
        spec=record.spec,
        created_at=record.created_at,
        status=record.status,
        generation=record.generation,
        attempts=record.attempts,
        attempt=record.attempt,
        lingering=record.lingering,
    )


class Simulator:
    """`switches` changes the algorithm at the given ms. Times inside are ms since the start of the run."""

    def __init__(
        self,
        workload: Workload,
        algorithm: Algorithm,
        *,
        weighted: bool = True,
        seed: int = 7,
        switches: Mapping[float, Algorithm] | None = None,
    ) -> None:
        self.workload = workload
        self.model = fleet_model(workload.machines, algorithm, weighted=weighted)
        self.run_seen = Run(workload)
        self._rng = Random(seed)
        self._machines = {machine.id: machine for machine in workload.machines}
        self._tasks: dict[str, tuple[TaskRecord, Arrival]] = {}
        self._ends: list[tuple[float, int, str, Ended]] = []
        self._wakes: list[float] = [float(ms) for ms in range(0, int(workload.duration_ms), 1000)]
        self._switches = sorted((switches or {}).items())
        self._wakes = sorted([*self._wakes, *(at for at, _ in self._switches)])
        self._running: Counter[str] = Counter()
        self._waiting: defaultdict[frozenset[str], int] = defaultdict(int)
        self._total_slots = sum(machine.slots for machine in workload.machines)
        self._revision = 0
        self._at_ms = 0.0

    def run(self) -> Run:
        arrivals = iter(self.workload.arrivals)
        arrival = next(arrivals, None)
        while arrival is not None or self._ends or self._tasks:
            times = (self._ends[0][0] if self._ends else None, self._wakes[0] if self._wakes else None)
            at = min((time for time in (*times, arrival.at_ms if arrival else None) if time is not None), default=None)
            if at is None:
                break
            self._advance(at)
            if arrival is not None and arrival.at_ms == at:
                self._arrive(arrival)
                arrival = next(arrivals, None)
            while self._ends and self._ends[0][0] <= at:
                self._end(*heapq.heappop(self._ends)[2:])
            while self._wakes and self._wakes[0] <= at:
                heapq.heappop(self._wakes)
            self._pump()
        return self.run_seen

    def _advance(self, at_ms: float) -> None:
        """Account for the time that passes: which slots stand idle while a task waits that never ran and could run there."""
        passed = at_ms - self._at_ms
        if self.workload.fault.trouble is Trouble.POISON:
            self.run_seen.held_back_ms += passed * len(self.model.fleet.on_probation("default", POISON, self._now()))
        self._at_ms = at_ms
        wanting = [needs for needs, count in self._waiting.items() if count]
        if not wanting:
            return
        self.run_seen.backlog_slot_ms += passed * self._total_slots
        for machine in self._machines.values():
            if any(needs <= machine.capabilities for needs in wanting):
                self.run_seen.idle_slot_ms += passed * (machine.slots - self._running[machine.id])

    def _arrive(self, arrival: Arrival) -> None:
        now = self._now()
        task_id = f"task_{len(self._tasks) + self.run_seen.finished.total():032x}"
        spec = TaskSpec(type=arrival.type, deadline=now + DAY_MS, capabilities=tuple(arrival.capabilities))
        record = TaskRecord(id=task_id, owner="someone", spec=spec, created_at=now, updated_at=now)
        self._tasks[task_id] = record, arrival
        self._waiting[arrival.capabilities] += 1
        self.model.fold_task(head_of(record), self._next_revision(), b"", now, self._now_s())

    def _pump(self) -> None:
        now, now_s = self._now(), self._now_s()
        while self._switches and self._switches[0][0] <= self._at_ms:
            self.model.fleet.set_pool("default", PoolSettings(algorithm=self._switches.pop(0)[1]))
        self.model.tick(now, now_s)
        while self.model.pending.count:
            decision = self.model.next_decision(now, now_s, self._rng)
            if decision is None:
                self._wake_when_time_opens_something(now)
                return
            self._start(decision)

    def _wake_when_time_opens_something(self, now: int) -> None:
        times = (self.model.fleet.earliest_hold(now), self.model.next_due())
        at = min((float(time - EPOCH_MS) for time in times if time is not None and time > now), default=None)
        if at is not None and (not self._wakes or self._wakes[0] > at):
            heapq.heappush(self._wakes, at)

    def _start(self, decision: Decision) -> None:
        """The lease is written and the server starts at once."""
        now, entry, server_id = self._now(), decision.entry, decision.server_id
        lease = assign(
            entry.lease,
            entry.generation,
            server_id=server_id,
            executor="simulated",
            epoch=1,
            now=now,
            deadline=now + entry.shape.timeout_ms,
        )
        assert self.model.committed(decision, lease, self._next_revision(), now)
        arrival = self._tasks[entry.id][1]
        self._waiting[arrival.capabilities] -= lease.attempt == 1
        self._running[server_id] += 1
        self.run_seen.above_limit += self._running[server_id] > self._machines[server_id].slots
        self.run_seen.starts.append((self._at_ms, server_id))
        outcome, takes_ms = self._serve(server_id, arrival)
        heapq.heappush(self._ends, (self._at_ms + takes_ms, self._revision, entry.id, outcome))

    def _serve(self, server_id: str, arrival: Arrival) -> tuple[Ended, float]:
        """What the server makes of an attempt that starts now, and how long it takes."""
        machine, fault = self._machines[server_id], self.workload.fault
        if not fault.strikes(server_id, self._at_ms, arrival.type):
            return Succeeded(http_status=200), arrival.work_ms / self.workload.speed(machine, self._at_ms)
        match fault.trouble:
            case Trouble.NONE | Trouble.SLOW:
                return Succeeded(http_status=200), arrival.work_ms / self.workload.speed(machine, self._at_ms)
            case Trouble.REFUSES:
                return Lost(reason="connection refused", server_fault=True), FAULT_MS
            case Trouble.BREAKS:
                return Failed(error="the connection broke", server_fault=True), FAULT_MS
            case Trouble.ANSWERS_500 | Trouble.POISON:
                return Failed(error="HTTP 500", http_status=500), FAULT_MS

    def _end(self, task_id: str, outcome: Ended) -> None:
        now, now_s = self._now(), self._now_s()
        record, arrival = self._tasks[task_id]
        lease = self.model.entries[task_id].lease
        assert lease is not None and lease.current is not None
        self._running[lease.current.server_id] -= 1
        if lease.current.number == 1 and not isinstance(outcome, Succeeded):
            self.run_seen.first_lost_at.append(self._at_ms)
        decided = settle(record, lease, outcome, now=now, rng=self._rng)
        if isinstance(decided, TaskRecord):
            self.model.fold_task(head_of(decided), self._next_revision(), b"", now, now_s)
            self._finished(decided, arrival)
            return
        self.model.fold_lease(task_id, decided, self._next_revision(), now, now_s)
        heapq.heappush(self._wakes, float((decided.run_at or now) - EPOCH_MS))

    def _finished(self, record: TaskRecord, arrival: Arrival) -> None:
        del self._tasks[record.id]
        self.run_seen.finished[record.status] += 1
        if arrival.type != POISON:
            self.run_seen.latencies_ms.append(self._at_ms - arrival.at_ms)

    def _now(self) -> int:
        return EPOCH_MS + int(self._at_ms)

    def _now_s(self) -> float:
        return self._at_ms / 1000

    def _next_revision(self) -> int:
        self._revision += 1
        return self._revision


def simulate(
    workload: Workload,
    algorithm: Algorithm = Algorithm.RESPONSE_TIME,
    *,
    weighted: bool = True,
    switches: Mapping[float, Algorithm] | None = None,
) -> Run:
    return Simulator(workload, algorithm, weighted=weighted, switches=switches).run()
