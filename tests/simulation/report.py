"""The numbers of BALANCING.md §4 as one table: what is measured, what was to be reached, what was reached."""

import statistics
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from random import Random

from pointsman.contracts.balancer import Algorithm
from pointsman.contracts.lifecycle import Status
from tests.simulation import costs
from tests.simulation.measures import (
    in_trouble,
    overloaded,
    poisoned,
    ratio,
    recovered_share,
    switched,
    uneven_windows,
)
from tests.simulation.simulator import EPOCH_MS
from tests.simulation.workload import Trouble

SEEDS = (11, 12)
FAULT_SEEDS = (21, 22, 23)
DURATION_MS = 24_000.0
FAULT_MS = 20_000.0
DEFAULT_LIMITS = {0.7: 1.25, 0.8: 1.20, 0.9: 1.10}
OTHERS_LIMIT = 1.45
UNBOUNDED = frozenset({Algorithm.CONSISTENT_HASH, Algorithm.FIRST})
FAILURES = (Trouble.REFUSES, Trouble.BREAKS, Trouble.ANSWERS_500)
LOST_MAX, SHARE_MIN, POISON_MAX, HELD_MAX, IDLE_MAX = 0.005, 0.8, 1.10, 0.05, 0.01
WEIGHTS = ((5, 1, 1), (1, 1, 1, 1), (1, 2, 3, 4, 5), (13, 1, 7, 7, 2, 100))
DECISION_US = {100: 40, 500: 200, 1000: 200}
WAITING_BYTES = 512


@dataclass(frozen=True, slots=True)
class Row:
    """`is_met` None: only told, since it depends on the machine or has no target."""

    number: str
    what: str
    target: str
    reached: str
    is_met: bool | None

    def __str__(self) -> str:
        verdict = {True: "met", False: "MISSED", None: ""}[self.is_met]
        return f"{self.number:<5}{self.what:<78}{self.target:>10}{self.reached:>16}  {verdict}"


HEADER = Row("", "", "target", "reached", None)


def rows(pool: ProcessPoolExecutor) -> Iterator[Row]:
    """Line by line as it becomes known."""
    yield from _quality(pool)
    yield from _faults(pool)
    yield from _recovery(pool)
    yield from _exactness()
    yield from _costs()


def _quality(pool: ProcessPoolExecutor) -> Iterator[Row]:
    cells = [(Algorithm.RESPONSE_TIME, False, load) for load in DEFAULT_LIMITS]
    cells += [(one, True, 0.8) for one in Algorithm if one is not Algorithm.RESPONSE_TIME]
    jobs = [(*cell, seed, DURATION_MS) for cell in cells for seed in SEEDS]
    found = list(pool.map(ratio, *zip(*jobs, strict=True)))
    for place, (algorithm, weighted, load) in enumerate(cells):
        mean = statistics.mean(found[place * len(SEEDS) : (place + 1) * len(SEEDS)])
        limit = OTHERS_LIMIT if weighted else DEFAULT_LIMITS[load]
        what = f"{algorithm.value}, load {load:.0%}, weights {'= speeds' if weighted else '1'}: p99 / oracle's p99"
        is_bound = algorithm not in UNBOUNDED
        target = f"<= {limit:.2f}" if is_bound else "-"
        yield Row("Q3" if weighted else "Q1", what, target, f"{mean:.2f}", mean <= limit if is_bound else None)


def _faults(pool: ProcessPoolExecutor) -> Iterator[Row]:
    jobs = [(trouble, seed, DURATION_MS) for trouble in FAILURES for seed in FAULT_SEEDS]
    for (trouble, seed, _), seen in zip(jobs, pool.map(in_trouble, *zip(*jobs, strict=True)), strict=True):
        share, failed = seen.first_lost_share(), seen.finished.total() - seen.finished[Status.COMPLETED]
        what = f"a fast server {trouble.told} in 1 ms for 8 s, load 75 %, seed {seed}: "
        yield Row("Q5", what + "first attempts lost", f"<= {LOST_MAX:.1%}", f"{share:.3%}", share <= LOST_MAX)
        yield Row("Q5", what + "tasks failed", "0", str(failed), failed == 0)
    slower, seen = poisoned(DURATION_MS)
    what = "a type, a tenth of the tasks, fails on all servers for 8 s, load 75 %: p99 of the others / without"
    yield Row("Q5", what, f"<= {POISON_MAX:.2f}", f"{slower:.2f}", slower <= POISON_MAX)
    held = seen.held_back_share
    yield Row(
        "Q5", "the same: server time held back from that type", f"<= {HELD_MAX:.0%}", f"{held:.3%}", held <= HELD_MAX
    )


def _recovery(pool: ProcessPoolExecutor) -> Iterator[Row]:
    jobs = [(trouble, load, FAULT_MS) for trouble in (Trouble.SLOW, *FAILURES) for load in (0.3, 0.8)]
    for (trouble, load, _), share in zip(jobs, pool.map(recovered_share, *zip(*jobs, strict=True)), strict=True):
        what = f"it {trouble.told} for 20 s, load {load:.0%}: share of an equal's, 30 to 60 s later"
        yield Row("Q6", what, f">= {SHARE_MIN}", f"{share:.2f}", share >= SHARE_MIN)


def _exactness() -> Iterator[Row]:
    for weights in WEIGHTS:
        uneven = uneven_windows(weights)
        yield Row(
            "Q7", f"weights {weights}: windows of {sum(weights)} picks that are uneven", "0", str(uneven), uneven == 0
        )
    lost, repeated = switched(DURATION_MS / 4)
    yield Row("Q9", "nine switches of the algorithm under load: tasks lost", "0", str(lost), lost == 0)
    yield Row("Q9", "the same: attempts repeated", "0", str(repeated), repeated == 0)
    seen = overloaded(DURATION_MS)
    what = "load 1.1, a tenth needs a fast server: slot time free while a task waits that could use it"
    yield Row("S7", what, f"<= {IDLE_MAX:.0%}", f"{seen.idle_share:.3%}", seen.idle_share <= IDLE_MAX)
    yield Row("S1", "the same: attempts above a server's limit", "0", str(seen.above_limit), seen.above_limit == 0)


def _costs() -> Iterator[Row]:
    for algorithm in Algorithm:
        for servers, most in DECISION_US.items():
            spent = costs.pick_us(costs.crowded(servers, 0, algorithm))
            what = f"{algorithm.value}, {servers:,} servers with a slot: a pick, us ({_judged(spent, most)})"
            yield Row("Q10", what, f"<= {most}", f"{spent:.1f}", None)
    for servers in DECISION_US:
        model = costs.full_but_one(servers)
        yield Row("Q10", f"{servers:,} servers, one with a slot: a pick, us", "-", f"{costs.pick_us(model):.1f}", None)
        yield Row(
            "Q10", f"{servers:,} servers: whether any has a slot, us", "-", f"{costs.has_free_us(model):.1f}", None
        )
    calls = []
    for waiting in (10, 1_000_000):
        model = costs.crowded(20, waiting)
        spent = costs.decision_us(model)
        yield Row("Q10", f"20 servers, {waiting:,} tasks waiting: a whole decision, us", "-", f"{spent:.1f}", None)
        calls.append(costs.calls_of(partial(model.next_decision, EPOCH_MS, 1.0, Random(2))))
        del model
    yield Row("Q10", "calls made for it, with 10 and with a million waiting", "same", f"{calls}", calls[0] == calls[1])
    for count, keys in ((100_000, 0), (100_000, 1000)):
        held = costs.bytes_per_waiting(count, keys)
        what = f"memory of the leader per waiting task, {count:,} of {keys:,} fairness keys, bytes"
        yield Row("", what, f"<= {WAITING_BYTES}", f"{held:.0f}", held <= WAITING_BYTES)


def _judged(spent: float, most: float) -> str:
    return "here within" if spent <= most else "here above"
