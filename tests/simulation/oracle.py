"""The yardstick: binds each task on arrival to the server whose true backlog and true speed promise the earliest end."""

from heapq import heapreplace

from tests.simulation.workload import WORK_MS, Machine, Workload


def latencies(workload: Workload) -> list[float]:
    """ms from arrival to end of each task, under join-the-shortest-expected-wait with perfect knowledge."""
    free_at = {machine: [0.0] * machine.slots for machine in workload.machines}
    taken = []
    for arrival in workload.arrivals:
        at = arrival.at_ms

        def expected_end(machine: Machine, at: float = at) -> float:
            start = max(free_at[machine][0], at)
            return start + WORK_MS / workload.speed(machine, start)

        best = min(workload.machines, key=expected_end)
        start = max(free_at[best][0], at)
        end = start + arrival.work_ms / workload.speed(best, start)
        heapreplace(free_at[best], end)
        taken.append(end - at)
    return taken
