"""What the benchmark prints: a line per round, and the medians of the rounds that nobody disturbed."""

import statistics
from dataclasses import dataclass

from tests.benchmarks.processes import Cost

FOREIGN_SHARE_MAX = 0.12


@dataclass(frozen=True)
class Round:
    """One measure of each kind; `pushing` and `waiting` are what the processes spent in the two parts."""

    per_second: float
    pushing: Cost
    post_ms: list[float]
    get_ms: list[float]
    waiting: Cost

    @property
    def is_quiet(self) -> bool:
        return max(self.pushing.foreign_share, self.waiting.foreign_share) <= FOREIGN_SHARE_MAX


def round_line(number: int, seen: Round) -> str:
    return (
        f"round {number}: {seen.per_second:6.0f} tasks/s   POST+wait {_p50_p99(seen.post_ms)}   "
        f"POST, GET+wait {_p50_p99(seen.get_ms)}   "
        f"foreign CPU {seen.pushing.foreign_share:.0%}, {seen.waiting.foreign_share:.0%}"
    )


def print_table(seen: list[Round], tasks: int, idle: Cost, idle_s: float, memory: dict[str, float]) -> None:
    kept = [entry for entry in seen if entry.is_quiet] or seen
    print(f"\nmedians of {len(kept)} of {len(seen)} rounds, {tasks} tasks each, every result verified")
    if not any(entry.is_quiet for entry in seen):
        print(f"NOISY: foreign CPU was above {FOREIGN_SHARE_MAX:.0%} in every round")
    print(f"REST -> COMPLETED      {statistics.median(entry.per_second for entry in kept):8.0f} tasks/s")
    print(f"POST with wait, 50/s   {_medians([entry.post_ms for entry in kept])}")
    print(f"POST, GET wait, 50/s   {_medians([entry.get_ms for entry in kept])}")
    print("\nCPU ms per task")
    per_task = _cpu_ms_per_task([entry.pushing for entry in kept], tasks)
    for kind, cost_ms in sorted(per_task.items(), key=lambda item: -item[1]):
        print(f"  {kind:<34}{cost_ms:7.3f}")
    print(f"  {'total':<34}{sum(per_task.values()):7.3f}")
    idle_share = sum(cost for kind, cost in idle.cpu_s.items() if kind != "client") / idle_s
    print(f"\nidle: {idle_share:.1%} of a core, {sum(memory.values()):.0f} MiB resident")
    for kind, size in sorted(memory.items(), key=lambda item: -item[1]):
        print(f"  {kind:<34}{size:7.1f} MiB")


def _cpu_ms_per_task(costs: list[Cost], tasks: int) -> dict[str, float]:
    kinds = {kind for cost in costs for kind in cost.cpu_s}
    return {kind: 1000 * sum(cost.cpu_s.get(kind, 0) for cost in costs) / (tasks * len(costs)) for kind in kinds}


def _medians(rounds: list[list[float]]) -> str:
    p50 = statistics.median(_percentile(took, 50) for took in rounds)
    p99 = statistics.median(_percentile(took, 99) for took in rounds)
    return f"p50 {p50:6.1f} ms   p99 {p99:6.1f} ms"


def _p50_p99(took_ms: list[float]) -> str:
    return f"{_percentile(took_ms, 50):.1f} / {_percentile(took_ms, 99):.1f} ms"


def _percentile(values: list[float], percent: int) -> float:
    """Nearest rank."""
    ordered = sorted(values)
    return ordered[-(-len(ordered) * percent // 100) - 1]
