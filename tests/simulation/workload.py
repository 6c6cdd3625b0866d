"""What the simulated fleet is asked to do: 20 mixed servers, tasks of very different sizes, one server that goes wrong."""

import math
from dataclasses import dataclass
from enum import Enum
from random import Random

SLOTS = 4
SPEEDS = (1,) * 8 + (2,) * 7 + (4,) * 5
WORK_MS = 100.0
SIGMA = 1.0
SLOWED = 10.0
TYPE, POISON = "work", "poison"


class Trouble(Enum):
    """What the faulty server does to attempts that start while its fault lasts; POISON: all do it, to one type."""

    NONE = "does nothing"
    SLOW = "runs ten times slower"
    REFUSES = "refuses every call"
    BREAKS = "breaks every call"
    ANSWERS_500 = "answers 500"
    POISON = "answers 500 to one type"

    @property
    def told(self) -> str:
        return str(self.value)


@dataclass(frozen=True, slots=True)
class Machine:
    """A server that does `speed` ms of work per ms in each of its `slots`."""

    id: str
    speed: int
    slots: int = SLOTS
    capabilities: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Fault:
    machine: str
    trouble: Trouble
    start_ms: float
    end_ms: float

    def strikes(self, machine: str, at_ms: float, type: str = TYPE) -> bool:
        is_hit = type == POISON if self.trouble is Trouble.POISON else machine == self.machine
        return is_hit and self.start_ms <= at_ms < self.end_ms


@dataclass(frozen=True, slots=True)
class Arrival:
    """A task of `work_ms` at speed 1 that wants a server with `capabilities`."""

    at_ms: float
    work_ms: float
    capabilities: frozenset[str] = frozenset()
    type: str = TYPE


@dataclass(frozen=True, slots=True)
class Workload:
    machines: tuple[Machine, ...]
    arrivals: tuple[Arrival, ...]
    fault: Fault
    duration_ms: float

    def speed(self, machine: Machine, at_ms: float) -> float:
        slow = self.fault.trouble is Trouble.SLOW and self.fault.strikes(machine.id, at_ms)
        return machine.speed / SLOWED if slow else float(machine.speed)

    def equals_of_the_faulty(self) -> list[str]:
        """The healthy servers as fast as the faulty one."""
        speeds = {machine.id: machine.speed for machine in self.machines}
        faulty = self.fault.machine
        return [name for name, speed in speeds.items() if speed == speeds[faulty] and name != faulty]


def mixed_fleet() -> tuple[Machine, ...]:
    """Fast and slow in no order, so that no ordinal tells the speed; the five fast ones have a GPU."""
    speeds = list(SPEEDS)
    Random(20).shuffle(speeds)
    gpu = frozenset({"gpu"})
    return tuple(
        Machine(f"server-{n:02}", speed, capabilities=gpu if speed == max(SPEEDS) else frozenset())
        for n, speed in enumerate(speeds)
    )


def capacity_per_ms(machines: tuple[Machine, ...]) -> float:
    """Tasks of mean size that all slots finish in a millisecond."""
    return sum(machine.speed * machine.slots for machine in machines) / WORK_MS


def workload(
    load: float,
    *,
    seed: int,
    duration_ms: float,
    trouble: Trouble = Trouble.SLOW,
    fault_ms: tuple[float, float] | None = None,
    gpu_share: float = 0.0,
    poison_share: float = 0.0,
) -> Workload:
    """Poisson arrivals at `load` of the healthy capacity; a fast server is in trouble in the middle third."""
    machines = mixed_fleet()
    start, end = fault_ms or (duration_ms / 3, duration_ms * 2 / 3)
    faulty = next(machine.id for machine in machines if machine.speed == max(SPEEDS))
    arrivals = _arrivals(load * capacity_per_ms(machines), Random(seed), duration_ms, gpu_share, poison_share)
    return Workload(machines, arrivals, Fault(faulty, trouble, start, end), duration_ms)


def _arrivals(
    per_ms: float, rng: Random, duration_ms: float, gpu_share: float, poison_share: float
) -> tuple[Arrival, ...]:
    location = math.log(WORK_MS) - SIGMA**2 / 2
    arrivals = []
    at = rng.expovariate(per_ms)
    while at < duration_ms:
        needs = frozenset({"gpu"}) if rng.random() < gpu_share else frozenset()
        type_ = POISON if poison_share and rng.random() < poison_share else TYPE
        arrivals.append(Arrival(at, rng.lognormvariate(location, SIGMA), needs, type_))
        at += rng.expovariate(per_ms)
    return tuple(arrivals)
