"""Limits that come and go while a server refuses at random: when all of it is over, everything runs.

Virtual time throughout; a step is 20 ms.
"""

import heapq
from dataclasses import dataclass, field
from random import Random

import pytest

from pointsman.contracts.limits import KeySettings, Limit, PoolSettings, Rate, TypeSettings
from pointsman.contracts.record import Lease, TaskRecord
from pointsman.services.balancer.model import Model
from pointsman.services.runtime import outcomes
from pointsman.services.runtime.outcomes import Lost, Succeeded, assign
from tests.unit.test_model import NOW, a_model, a_record, fold, fold_lease

TASKS, STEP_MS, CHURN_MS = 800, 20, 10_000
TYPES, KEYS, FAIR = ("resize", "scan", "ocr"), ("acme", "globex", "initech", None), ("x", "y", None)
RETRY_AFTER_MS_MAX = 3_000
RUN_MS = (20, 200)
DRAINED_WITHIN_MS = 45_000
"""Every Retry-After is over, servers have their slots back, and the longest wait of a lost attempt (10 s) has passed."""


@dataclass
class Churn:
    """A leader's model with the servers and the stream around it."""

    rng: Random
    model: Model = field(init=False)
    records: dict[str, TaskRecord] = field(default_factory=dict)
    running: list[tuple[int, str, Lease]] = field(default_factory=list)
    now: int = NOW
    revision: int = 0
    refuses: bool = True

    def __post_init__(self) -> None:
        self.model = a_model(("a", "b", "c"), limit=8)
        for n in range(TASKS):
            keys = {"concurrency_key": self.rng.choice(KEYS), "fairness_key": self.rng.choice(FAIR)}
            record = a_record(f"t{n}", type=self.rng.choice(TYPES), priority=self.rng.randrange(3), **keys)
            self.records[record.id] = record
            fold(self.model, record, self.next())

    def next(self) -> int:
        self.revision += 1
        return self.revision

    def limit(self) -> Limit | None:
        """Of any kind, nothing at all included; None lifts it."""
        match self.rng.randrange(5):
            case 0 | 1:
                return None
            case 2:
                return Limit(max_concurrent=self.rng.randrange(4))
            case 3:
                return Limit(rate=Rate(per_second=self.rng.choice((0.1, 1, 20)), burst=self.rng.randrange(1, 5)))
            case _:
                return Limit(max_concurrent=1, rate=Rate(per_second=5, burst=1))

    def change(self) -> None:
        limit, now_s = self.limit(), self.now / 1000
        match self.rng.randrange(3):
            case 0:
                name = self.rng.choice(TYPES)
                self.model.pools.set_type(name, limit and TypeSettings(type=name, limit=limit), now_s)
            case 1:
                key = self.rng.choice(("acme", "globex", "*"))
                self.model.pools.set_key(key, limit and KeySettings(key=key, limit=limit), now_s)
            case _:
                self.model.pools.set_pool("default", limit and PoolSettings(limit=limit), now_s)

    def lift(self) -> None:
        now_s = self.now / 1000
        for name in TYPES:
            self.model.pools.set_type(name, None, now_s)
        for key in ("acme", "globex", "*"):
            self.model.pools.set_key(key, None, now_s)
        self.model.pools.set_pool("default", None, now_s)
        self.refuses = False

    def step(self) -> None:
        self.now += STEP_MS
        self.model.tick(self.now, self.now / 1000)
        while self.running and self.running[0][0] <= self.now:
            self.end(*heapq.heappop(self.running)[1:])
        while (decision := self.model.next_decision(self.now, self.now / 1000, self.rng)) is not None:
            entry = decision.entry
            lease = assign(
                decision.lease, entry.generation, server_id=decision.server_id, executor="x", epoch=1,
                now=self.now, deadline=self.now + entry.shape.timeout_ms,
            )  # fmt: skip
            assert self.model.committed(decision, lease, self.next(), self.now)
            heapq.heappush(self.running, (self.now + self.rng.randrange(*RUN_MS), entry.id, lease))

    def end(self, task_id: str, lease: Lease) -> None:
        record = self.records[task_id]
        outcome: outcomes.Ended = Succeeded()
        if self.refuses and self.rng.random() < 0.5:
            wait = self.rng.choice((None, self.rng.randrange(1, RETRY_AFTER_MS_MAX)))
            outcome = Lost(reason="busy", http_status=self.rng.choice((429, 503)), retry_after_ms=wait)
        after = outcomes.settle(record, lease, outcome, now=self.now, rng=self.rng)
        if isinstance(after, Lease):
            fold_lease(self.model, after, self.next(), self.now, task_id)
        else:
            fold(self.model, after, self.next(), self.now)


@pytest.mark.parametrize("seed", range(12))
def test_everything_runs_once_limits_are_lifted_and_servers_take_tasks_again(seed: int) -> None:
    churn = Churn(Random(seed))
    while churn.now < NOW + CHURN_MS:
        if churn.rng.random() < 0.3:
            churn.change()
        churn.step()
    assert churn.model.entries
    churn.lift()
    until = churn.now + DRAINED_WITHIN_MS
    while churn.model.entries and churn.now < until:
        churn.step()
    assert not churn.model.entries
