"""Decisions per second of one leader without a bus: fold the task, decide, write the lease, fold the end.

`python -m tests.benchmarks.decisions`: by number of servers, by tasks that wait, and with every limit in force.
"""

import argparse
import gc
import statistics
import time
from dataclasses import dataclass
from pathlib import Path
from random import Random

import msgspec

from pointsman.contracts.base import encode
from pointsman.contracts.limits import KeySettings, Limit, PoolSettings, Rate, TypeSettings
from pointsman.contracts.record import TaskHead, TaskRecord, TaskSpec
from pointsman.contracts.server import HealthState, ServerConfig, ServerHealth
from pointsman.services.balancer.model import Model
from pointsman.services.runtime.outcomes import Succeeded, assign, settle

NOW = 1_700_000_000_000
DAY_MS = 86_400_000
PAGE_BYTES = 4096
HEAD = msgspec.json.Decoder(TaskHead)


@dataclass(frozen=True, slots=True)
class Scene:
    servers: int
    waiting: int
    limited: bool = False


@dataclass(frozen=True, slots=True)
class Seen:
    """`decision_us` is the median."""

    per_second: float
    decision_us: float
    bytes_per_task: float


def a_model(scene: Scene) -> Model:
    model = Model()
    for n in range(scene.servers):
        name = f"server-{n}"
        model.fleet.configure(
            ServerConfig(id=name, name=name, predict="http://x", health="http://x", registered_at=1, max_concurrent=4)
        )
        model.fleet.set_health(name, ServerHealth(state=HealthState.HEALTHY, registered_at=1))
    if scene.limited:
        much = Limit(max_concurrent=1_000_000, rate=Rate(per_second=1_000_000, burst=1_000_000))
        model.pools.set_pool("default", PoolSettings(limit=much, shares={"tenant-1": 3}), 0.0)
        model.pools.set_type("resize", TypeSettings(type="resize", limit=much), 0.0)
        model.pools.set_key("*", KeySettings(key="*", limit=much), 0.0)
    return model


def a_record(number: int, scene: Scene) -> TaskRecord:
    keys = {"fairness_key": f"tenant-{number % 50}", "concurrency_key": f"key-{number % 200}"} if scene.limited else {}
    spec = TaskSpec(type="resize", deadline=NOW + DAY_MS, **keys)
    return TaskRecord(id=f"task_{number:032x}", owner="ann", spec=spec, created_at=NOW, updated_at=NOW)


def fold(model: Model, record: TaskRecord, revision: int, now: int) -> None:
    raw = encode(record)
    model.fold_task(HEAD.decode(raw), revision, raw, now, now / 1000)


def resident() -> int:
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * PAGE_BYTES


def measure(scene: Scene, seconds: float) -> Seen:
    """With the servers half full, so that a pick has a choice; one task comes for each that ends."""
    model, rng = a_model(scene), Random(7)
    gc.collect()
    before = resident()
    for number in range(scene.waiting):
        fold(model, a_record(number, scene), number + 1, NOW)
    gc.collect()
    bytes_per_task = (resident() - before) / max(scene.waiting, 1)
    number, lease_revision, ended = scene.waiting, 0, 0
    running: list[str] = []
    took_s: list[float] = []
    now, start = NOW, time.perf_counter()
    while (now_s := time.perf_counter()) - start < seconds:
        now = NOW + round((now_s - start) * 1000)
        number += 1
        fold(model, a_record(number, scene), number, now)
        asked = time.perf_counter()
        decision = model.next_decision(now, now / 1000, rng)
        took_s.append(time.perf_counter() - asked)
        assert decision is not None
        lease = assign(
            decision.lease, 1, server_id=decision.server_id, executor="x", epoch=1, now=now, deadline=now + 60_000
        )
        encode(lease)
        lease_revision += 1
        assert model.committed(decision, lease, lease_revision, now)
        running.append(decision.entry.id)
        if len(running) > 2 * scene.servers:
            over = model.entries[running.pop(rng.randrange(len(running)))]
            assert over.lease is not None
            record = a_record(int(over.id[5:], 16), scene)
            number += 1
            fold(model, settle(record, over.lease, Succeeded(), now=now + 5, rng=rng), number, now)  # type: ignore[arg-type]
            ended += 1
        model.tick(now, now / 1000)
    passed = time.perf_counter() - start
    count = ended + len(running)
    return Seen(count / passed, statistics.median(took_s) * 1e6, bytes_per_task)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--most", type=int, default=1_000_000, help="tasks that wait in the largest scene")
    args = parser.parse_args()
    scenes = [Scene(4, 10), Scene(20, 10), Scene(100, 10), Scene(500, 10), Scene(1_000, 10)]
    scenes += [Scene(20, 10, limited=True), Scene(20, args.most), Scene(20, args.most, limited=True)]
    print(
        f"{'servers':>8} {'waiting':>10} {'limits':>7} {'tasks/s':>9} {'us per decision':>16} {'bytes per waiting task':>23}"
    )
    for scene in scenes:
        seen = measure(scene, args.seconds)
        size = f"{seen.bytes_per_task:.0f}" if scene.waiting > 1_000 else "-"
        limits = "all" if scene.limited else "none"
        print(
            f"{scene.servers:>8} {scene.waiting:>10,} {limits:>7} {seen.per_second:>9,.0f} {seen.decision_us:>16.1f} {size:>23}"
        )


if __name__ == "__main__":
    main()
