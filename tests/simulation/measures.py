"""The measurements behind the numbers of BALANCING.md §4, each on the production classes and with a fixed seed."""

from collections import Counter
from collections.abc import Sequence
from random import Random

from pointsman.contracts.balancer import Algorithm
from pointsman.contracts.lifecycle import Status
from pointsman.services.balancer.attempts import Wish
from tests.simulation import oracle
from tests.simulation.simulator import EPOCH_MS, Run, fleet_model, percentile, simulate
from tests.simulation.workload import TYPE, Machine, Trouble, workload

RECOVERY_MS = 60_000.0
ANY = "default", frozenset[str]()


def ratio(algorithm: Algorithm, weighted: bool, load: float, seed: int, duration_ms: float) -> float:
    """p99 by the oracle's p99 on the same arrivals; one fast server runs ten times slower in the middle third."""
    asked = workload(load, seed=seed, duration_ms=duration_ms)
    return simulate(asked, algorithm, weighted=weighted).p(0.99) / percentile(oracle.latencies(asked), 0.99)


def in_trouble(trouble: Trouble, seed: int, duration_ms: float, load: float = 0.75) -> Run:
    """A fast server fails every attempt in 1 ms in the middle third; no health checks."""
    return simulate(workload(load, seed=seed, duration_ms=duration_ms, trouble=trouble), weighted=False)


def recovering(trouble: Trouble, load: float, fault_ms: float) -> Run:
    """10 s of health, the fault, then 60 s to come back."""
    start, end = 10_000.0, 10_000.0 + fault_ms
    asked = workload(load, seed=31, duration_ms=end + RECOVERY_MS, trouble=trouble, fault_ms=(start, end))
    return simulate(asked, weighted=False)


def recovered_share(trouble: Trouble, load: float, fault_ms: float) -> float:
    """By what an equally fast server gets, in the last 30 s of the minute after the fault."""
    seen = recovering(trouble, load, fault_ms)
    end = seen.workload.fault.end_ms + RECOVERY_MS
    return seen.share_of_fair(end - 30_000, end)


def overloaded(duration_ms: float) -> Run:
    """More than there is capacity for; a tenth of the tasks can only run on the five fast servers."""
    return simulate(workload(1.1, seed=41, duration_ms=duration_ms, gpu_share=0.1), weighted=False)


def poisoned(duration_ms: float) -> tuple[float, Run]:
    """A tenth of the tasks is of a type that in the middle third fails everywhere: p99 of the others by that without."""
    asked = workload(0.75, seed=51, duration_ms=duration_ms, trouble=Trouble.POISON, poison_share=0.1)
    seen = simulate(asked, weighted=False)
    calm = simulate(
        workload(0.75, seed=51, duration_ms=duration_ms, trouble=Trouble.NONE, poison_share=0.1), weighted=False
    )
    return seen.p(0.99) / calm.p(0.99), seen


def switched(duration_ms: float) -> tuple[int, int]:
    """All algorithms in turn under load, while a server refuses: tasks lost, attempts repeated."""
    asked = workload(0.8, seed=13, duration_ms=duration_ms, trouble=Trouble.REFUSES)
    each = duration_ms / (len(Algorithm) + 1)
    seen = simulate(asked, switches={each * n: algorithm for n, algorithm in enumerate(Algorithm, 1)})
    lost = len(asked.arrivals) - seen.finished[Status.COMPLETED]
    return lost, len(seen.starts) - len(asked.arrivals) - len(seen.first_lost_at)


def uneven_windows(weights: Sequence[int]) -> int:
    """Of all windows of sum(weights) picks how many do not give every server its weight."""
    machines = tuple(Machine(f"server-{n:02}", weight) for n, weight in enumerate(weights))
    fleet, total, rng = (
        fleet_model(machines, Algorithm.WEIGHTED_ROUND_ROBIN, weighted=True).fleet,
        sum(weights),
        Random(7),
    )
    picks = [server.id for _ in range(4 * total) if (server := fleet.pick(ANY, Wish(TYPE, None), EPOCH_MS, 0.0, rng))]
    wanted = {machine.id: machine.speed for machine in machines}
    return sum(Counter(picks[start : start + total]) != wanted for start in range(3 * total))
