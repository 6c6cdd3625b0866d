"""The numbers of BALANCING.md §4 as tables: closeness to the oracle, faults, recovery, idle slots, cost, memory."""

import gc
import statistics
import sys
import time
import tracemalloc
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from random import Random
from typing import Any

import msgspec

from pointsman.contracts.balancer import Algorithm
from pointsman.contracts.base import encode
from pointsman.contracts.record import TaskHead, TaskRecord, TaskSpec
from pointsman.services.balancer.model import Model
from tests.simulation import oracle
from tests.simulation.simulator import DAY_MS, EPOCH_MS, TYPE, Run, fleet_model, percentile, simulate
from tests.simulation.workload import Machine, Trouble, workload

LOADS = (0.7, 0.8, 0.9)
SEEDS = (11, 12)
DURATION_MS = 24_000.0
RECOVERY_MS = 60_000.0
DEFAULT_LIMITS = {0.7: 1.25, 0.8: 1.20, 0.9: 1.10}
OTHERS_LIMIT = 1.45
UNBOUNDED = frozenset({Algorithm.CONSISTENT_HASH, Algorithm.FIRST})
DECISIONS = 200
_HEAD = msgspec.json.Decoder(TaskHead)


def ratio(algorithm: Algorithm, weighted: bool, load: float, seed: int, duration_ms: float) -> float:
    """p99 by the oracle's p99 on the same arrivals."""
    asked = workload(load, seed=seed, duration_ms=duration_ms)
    return simulate(asked, algorithm, weighted=weighted).p(0.99) / percentile(oracle.latencies(asked), 0.99)


def in_trouble(trouble: Trouble, seed: int, load: float = 0.75, duration_ms: float = DURATION_MS) -> Run:
    return simulate(workload(load, seed=seed, duration_ms=duration_ms, trouble=trouble), weighted=False)


def recovering(trouble: Trouble, load: float, fault_ms: float = 10_000.0) -> Run:
    """10 s of health, the fault, then 60 s to come back."""
    start, end = 10_000.0, 10_000.0 + fault_ms
    asked = workload(load, seed=31, duration_ms=end + RECOVERY_MS, trouble=trouble, fault_ms=(start, end))
    return simulate(asked, weighted=False)


def overloaded(duration_ms: float) -> Run:
    """More than there is capacity for; a tenth of the tasks can only run on the five fast servers."""
    return simulate(workload(1.1, seed=41, duration_ms=duration_ms, gpu_share=0.1), weighted=False)


def crowded(servers: int, waiting: int, algorithm: Algorithm = Algorithm.RESPONSE_TIME, *, keys: int = 0) -> Model:
    """A model in mid-flow: every server known by 20 answers, most with some slots in use, `waiting` tasks pending."""
    machines = tuple(Machine(f"server-{n:04}", (1, 2, 4)[n % 3]) for n in range(servers))
    model = fleet_model(machines, algorithm, weighted=True)
    rng = Random(1)
    for server in model.fleet:
        for _ in range(20):
            server.estimator.succeeded(TYPE, rng.lognormvariate(4, 1) / server.weight, 0.0)
        for n in range(rng.randrange(4)):
            model.slots.hold(server.id, f"other-{n}")
    for n in range(waiting):
        model.fold_task(waiting_head(n, keys), n + 1, b"", EPOCH_MS, 0.0)
    return model


def waiting_head(number: int, keys: int = 0) -> TaskHead:
    """A waiting task as the leader decodes it; of `keys` fairness keys, if any."""
    created = EPOCH_MS - 10_000_000 + number
    key = f"tenant-{number % keys}" if keys else None
    spec = TaskSpec(type=TYPE, deadline=created + DAY_MS, fairness_key=key)
    record = TaskRecord(id=f"task_{number:032x}", owner="someone", spec=spec, created_at=created, updated_at=created)
    return _HEAD.decode(encode(record))


def decision_us(model: Model) -> float:
    """Median time of a decision, in microseconds."""
    rng, taken = Random(2), []
    for _ in range(DECISIONS):
        start = time.perf_counter()
        decision = model.next_decision(EPOCH_MS, 1.0, rng)
        taken.append(time.perf_counter() - start)
        assert decision is not None
        model.withdraw(decision, EPOCH_MS)
    return statistics.median(taken) * 1e6


def pick_us(model: Model) -> float:
    """Median time of the policy alone, over all servers with a free slot, for a task with an affinity key."""
    entry = next(model.pending.heads())
    eligible = model.fleet.eligible(entry.shape.requirement, EPOCH_MS)
    policy, rng, taken = model.fleet.policy("default"), Random(2), []
    for _ in range(DECISIONS):
        start = time.perf_counter()
        policy.pick(eligible, _Wish(), 1.0, rng)
        taken.append(time.perf_counter() - start)
    return statistics.median(taken) * 1e6


class _Wish:
    type = TYPE
    affinity_key = "user-7"


def calls_of(work: Callable[[], object]) -> int:
    """How many function calls `work` makes, in Python or C: an amount of work that no other load disturbs."""
    count = 0

    def counted(frame: object, event: str, argument: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(counted)
    try:
        work()
    finally:
        sys.setprofile(None)
    return count


def bytes_per_waiting(count: int, keys: int = 0) -> float:
    """Python memory of the model per waiting task, without the bounded cache of raw records."""
    model = crowded(20, 10, keys=keys)
    gc.collect()
    tracemalloc.start()
    for number in range(10, 10 + count):
        model.fold_task(waiting_head(number, keys), number + 1, b"", EPOCH_MS, 0.0)
    gc.collect()
    held = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    return held / count


def tables(pool: ProcessPoolExecutor) -> Iterator[str]:
    """The report, line by line as it becomes known."""
    yield from _quality(pool)
    yield from _faults(pool)
    yield from _recovery(pool)
    seen = overloaded(DURATION_MS)
    yield "\nS7  load 1.1, a tenth needs a fast server: slot time free while a task waits that could run there (<= 1 %)"
    yield f"    {seen.idle_share:.3%}; attempts above a server's limit: {seen.above_limit}"
    yield from _costs()
    yield from _memory()


def _quality(pool: ProcessPoolExecutor) -> Iterator[str]:
    yield "Q1, Q3  p99 / oracle's p99, mean of two seeds; one fast server 10x slower in the middle third"
    yield f"    {'algorithm':<28}{'weights':<10}{'70 %':>8}{'80 %':>8}{'90 %':>8}"
    rows = [(Algorithm.RESPONSE_TIME, False), *((algorithm, True) for algorithm in Algorithm)]
    for algorithm, weighted in rows:
        cells = [(algorithm, weighted, load, seed, DURATION_MS) for load in LOADS for seed in SEEDS]
        found = list(pool.map(ratio, *zip(*cells, strict=True)))
        means = [statistics.mean(found[n : n + len(SEEDS)]) for n in range(0, len(found), len(SEEDS))]
        weights = "speed" if weighted else "1"
        yield f"    {algorithm.value:<28}{weights:<10}" + "".join(f"{mean:>8.2f}" for mean in means)
    yield f"    reach: response-time {tuple(DEFAULT_LIMITS.values())}, others {OTHERS_LIMIT} at 80 %"


def _faults(pool: ProcessPoolExecutor) -> Iterator[str]:
    yield "\nQ5  a fast server fails every attempt in 1 ms for 8 s, load 75 %, no health checks: first attempts lost (<= 0.5 %)"
    troubles = [trouble for trouble in Trouble if trouble is not Trouble.SLOW]
    cells = [(trouble, seed) for trouble in troubles for seed in (21, 22, 23)]
    for (trouble, _), seen in zip(cells, pool.map(in_trouble, *zip(*cells, strict=True)), strict=True):
        ends = ", ".join(f"{status.value} {count}" for status, count in seen.finished.items())
        yield f"    {trouble.name.lower():<14}{seen.first_lost_share():>8.3%}   {ends}   p99 {seen.p(0.99):.0f} ms"


def _recovery(pool: ProcessPoolExecutor) -> Iterator[str]:
    yield "\nQ6  recovered after 20 s of fault: share of an equally fast server's, by 10 s since (>= 0.8 within 60 s)"
    cells = [(trouble, load, 20_000.0) for trouble in Trouble for load in (0.3, 0.8)]
    for (trouble, load, _), seen in zip(cells, pool.map(recovering, *zip(*cells, strict=True)), strict=True):
        end = seen.workload.fault.end_ms
        shares = [seen.share_of_fair(end + n * 10_000, end + (n + 1) * 10_000) for n in range(6)]
        yield f"    {trouble.name.lower():<14}load {load:.0%}" + "".join(f"{share:>7.2f}" for share in shares)


def _costs() -> Iterator[str]:
    yield "\nQ10  cost of a decision in us (of it the pick alone), by servers that match; p50"
    sizes = (100, 500, 1000)
    yield f"    {'algorithm':<28}" + "".join(f"{size:>16}" for size in sizes)
    for algorithm in Algorithm:
        models = [crowded(size, 10, algorithm) for size in sizes]
        cells = [f"{decision_us(model):.0f} ({pick_us(model):.0f})" for model in models]
        yield f"    {algorithm.value:<28}" + "".join(f"{cell:>16}" for cell in cells)
    for waiting in (10, 1_000_000):
        model = crowded(20, waiting)
        work: Any = lambda model=model: model.next_decision(EPOCH_MS, 1.0, Random(2))  # noqa: E731
        yield f"    20 servers, {waiting:>9,} waiting: {decision_us(model):.0f} us, {calls_of(work)} calls"


def _memory() -> Iterator[str]:
    yield "\nMemory of the leader per waiting task (<= 512 B)"
    for count, keys in ((100_000, 0), (100_000, 1000), (1_000_000, 0)):
        yield f"    {count:>9,} waiting, {keys:>5} fairness keys: {bytes_per_waiting(count, keys):.0f} B"
