"""What a decision costs, and a waiting task: time, calls, memory."""

import gc
import statistics
import sys
import time
import tracemalloc
from collections.abc import Callable
from random import Random

import msgspec

from pointsman.contracts.balancer import Algorithm
from pointsman.contracts.base import encode
from pointsman.contracts.record import TaskHead, TaskRecord, TaskSpec
from pointsman.services.balancer.attempts import Wish
from pointsman.services.balancer.model import Model
from tests.simulation.measures import ANY
from tests.simulation.simulator import DAY_MS, EPOCH_MS, fleet_model
from tests.simulation.workload import TYPE, Machine

ROUNDS, DECISIONS = 5, 100
SLOTS = 4
_HEAD = msgspec.json.Decoder(TaskHead)


def crowded(servers: int, waiting: int, algorithm: Algorithm = Algorithm.RESPONSE_TIME, *, keys: int = 0) -> Model:
    """A model in mid-flow: every server known by 20 answers, most with some slots in use, `waiting` tasks pending."""
    machines = tuple(Machine(f"server-{n:04}", (1, 2, 4)[n % 3], SLOTS) for n in range(servers))
    model = fleet_model(machines, algorithm, weighted=True)
    rng = Random(1)
    for server in model.fleet:
        for _ in range(20):
            server.estimator.succeeded(TYPE, rng.lognormvariate(4, 1) / server.weight, 0.0)
        for n in range(rng.randrange(SLOTS)):
            model.slots.hold(server.id, f"other-{n}")
    for n in range(waiting):
        model.fold_task(waiting_head(n, keys), n + 1, b"", EPOCH_MS, 0.0)
    return model


def full_but_one(servers: int) -> Model:
    """What overload looks like: of all slots one is free."""
    model = crowded(servers, 0)
    for server in model.fleet:
        for n in range(server.active, SLOTS):
            model.slots.hold(server.id, f"other-{n}")
    model.slots.free("server-0000", "other-0")
    return model


def waiting_head(number: int, keys: int = 0) -> TaskHead:
    """A waiting task as the leader decodes it; of `keys` fairness keys, if any."""
    created = EPOCH_MS - 10_000_000 + number
    key = f"tenant-{number % keys}" if keys else None
    spec = TaskSpec(type=TYPE, deadline=created + DAY_MS, fairness_key=key)
    record = TaskRecord(id=f"task_{number:032x}", owner="someone", spec=spec, created_at=created, updated_at=created)
    return _HEAD.decode(encode(record))


def pick_us(model: Model) -> float:
    """The choice of a server, in microseconds. Between picks a slot of the server is taken and given back."""
    rng, number = Random(2), iter(range(1_000_000))
    server = model.fleet.pick(ANY, Wish(TYPE, None), EPOCH_MS, 1.0, rng)
    assert server is not None

    def pick() -> None:
        model.fleet.pick(ANY, Wish(TYPE, f"user-{next(number)}"), EPOCH_MS, 1.0, rng)

    def between() -> None:
        model.slots.hold(server.id, "this")
        model.slots.free(server.id, "this")

    return median_us(pick, between)


def has_free_us(model: Model) -> float:
    return median_us(lambda: model.fleet.has_free(ANY, EPOCH_MS), lambda: None)


def decision_us(model: Model) -> float:
    """A task and a server for it, slot held, and all undone again."""
    rng = Random(2)

    def decide() -> None:
        decision = model.next_decision(EPOCH_MS, 1.0, rng)
        assert decision is not None
        model.withdraw(decision, EPOCH_MS)

    return median_us(decide, lambda: None)


def median_us(work: Callable[[], object], between: Callable[[], object]) -> float:
    """The lowest of five medians, since others use the machine as well."""
    return min(statistics.median(_timed(work, between) for _ in range(DECISIONS)) for _ in range(ROUNDS)) * 1e6


def _timed(work: Callable[[], object], between: Callable[[], object]) -> float:
    between()
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


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
