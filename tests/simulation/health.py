"""`python -m tests.simulation.health`: the health numbers H1, H2, H4-H8 on the production rules, 24 h of virtual time."""

import logging
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace

import structlog

from pointsman.contracts.server import HealthState
from pointsman.services.instance.ejection import EJECTED_MAX
from tests.simulation.ward import Fault, Report, Trouble, Ward, Weather, failures

FIXED_PER_H = 3600 / 5
HOUR_S = 3600.0
ROUGH = Weather(lost_beats=0.01, pauses_per_h=6, slow_probes=0.01)
MINUTE_S = 60.0


@dataclass(frozen=True, slots=True)
class Saving:
    """H1: probes per server and hour, and how many fewer than one every 5 s."""

    per_h: float
    report: Report

    @property
    def fewer(self) -> float:
        return 1 - self.per_h / FIXED_PER_H


def saving(*, beats: bool, servers: int, hours: float, seed: int = 11, weather: Weather | None = None) -> Saving:
    """An idle fleet where each server crashes every 4 h for 5 min."""
    crashes = failures(servers, hours, mtbf_s=4 * HOUR_S, mttr_s=300, seed=seed)
    report = Ward(servers, replace(weather or Weather(), beats=beats), crashes, seed=seed).run(hours * HOUR_S)
    return Saving(report.probes / servers / hours, report)


def detection(*, beats: bool, tasks_per_s: float, servers: int, hours: float, seed: int = 12) -> Report:
    """H2: crashes every half hour, so that there are enough of them for a p99."""
    crashes = failures(servers, hours, mtbf_s=25 * MINUTE_S, mttr_s=60, seed=seed)
    weather = Weather(beats=beats, tasks_per_s=tasks_per_s, task_ms=20)
    return Ward(servers, weather, crashes, seed=seed).run(hours * HOUR_S)


def calm(*, beats: bool, servers: int, hours: float, tasks_per_s: float = 0.0, seed: int = 13) -> Report:
    """H4: nothing fails; 1 % of the heartbeats and packets are lost, each server stops for up to 2 s six times an hour."""
    return Ward(servers, replace(ROUGH, beats=beats, tasks_per_s=tasks_per_s), seed=seed).run(hours * HOUR_S)


def slowed(*, servers: int = 20, minutes: float = 15, factor: float = 4.0, seed: int = 14) -> Report:
    """H5: the whole fleet is `factor` times slower in the middle third."""
    third = minutes * MINUTE_S / 3
    weather = Weather(tasks_per_s=5, task_ms=200, probe_ms=50, slow=(third, 2 * third, factor))
    return Ward(servers, weather, seed=seed).run(3 * third)


def poisoned(*, share: float, servers: int = 20, minutes: float = 10, seed: int = 15) -> Report:
    """H6: a third of the tasks are of a type of which `share` fail with 500 wherever they run."""
    weather = Weather(tasks_per_s=20, task_ms=20, poison=1 / 3, poison_share=share)
    return Ward(servers, weather, seed=seed).run(minutes * MINUTE_S)


def blinded(*, servers: int = 20, seconds: float = 60, seed: int = 16) -> Report:
    """H7: the prober hears and reaches nobody for a while, after ten quiet minutes."""
    blind = (10 * MINUTE_S, 10 * MINUTE_S + seconds)
    ward = Ward(servers, Weather(blind=blind), seed=seed)
    report = ward.run(blind[1] + 2 * MINUTE_S)
    assert ward.out() == [], "not all serve again two minutes later"
    return report


@dataclass(frozen=True, slots=True)
class Bounds:
    """H8: how many were out for failing their tasks; who was taken back, and was a dead one among them."""

    ejected: int
    panicked: bool
    readmitted: int
    dead_in_service: int
    out_at_the_end: int


def bounds(*, servers: int = 100, settle_s: float = 10 * MINUTE_S, seed: int = 17) -> Bounds:
    """40 % fail every task although healthy; two minutes later 30 % more crash; two minutes later all is mended."""
    liars, dead = servers * 40 // 100, servers * 30 // 100
    start_s, crash_s, end_s = 60.0, 180.0, 300.0
    faults = (
        *(Fault(f"s{n:04}", Trouble.LIES, start_s, end_s) for n in range(liars)),
        *(Fault(f"s{n:04}", Trouble.CRASH, crash_s, end_s) for n in range(liars, liars + dead)),
    )
    ward = Ward(servers, Weather(tasks_per_s=5, task_ms=20), faults, seed=seed)
    ward.run(crash_s)
    ejected, panicked = ward.report.out_at_once, bool(ward.report.alarms["panic"])
    assert not panicked, "a panic before anybody died"
    ward.run(crash_s + 60.0)
    readmitted = sum(ward.state(f"s{n:04}") is HealthState.HEALTHY for n in range(liars))
    dead_in_service = sum(ward.state(f"s{n:04}") is not HealthState.UNHEALTHY for n in range(liars, liars + dead))
    panicked = bool(ward.report.alarms["panic"])
    ward.run(end_s + settle_s)
    return Bounds(ejected, panicked, readmitted, dead_in_service, len(ward.out()))


def percentile(values: list[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def row(what: str, reach: str, seen: str, holds: bool) -> str:
    return f"{what:<66}{reach:>16}{seen:>44}   {'ok' if holds else 'MISSED'}"


def _saving_row(beats: bool, lossy: bool) -> str:
    found = saving(beats=beats, servers=20, hours=24, weather=ROUGH if lossy else None)
    goal = 0.8 if beats else 0.6
    what = f"H1 probes against every 5 s, {'with' if beats else 'without'} heartbeats{', 1 % lost' if lossy else ''}"
    return row(what, f">= {goal:.0%} fewer", f"{found.fewer:.1%} fewer ({found.per_h:.0f}/h)", found.fewer >= goal)


def _detection_row(beats: bool, tasks_per_s: float, goal_s: float) -> str:
    found = detection(beats=beats, tasks_per_s=tasks_per_s, servers=20, hours=24 if not tasks_per_s else 2)
    p50, p99 = percentile(found.detected, 0.5), percentile(found.detected, 0.99)
    what = f"H2 crash to UNHEALTHY, {'with' if beats else 'no'} heartbeats, {tasks_per_s:g} tasks/s a server"
    seen = f"p50 {p50:.1f} s, p99 {p99:.1f} s, {len(found.detected)} crashes"
    return row(what, f"p99 <= {goal_s:g} s", seen, p99 <= goal_s)


def _calm_row(beats: bool) -> str:
    found = calm(beats=beats, servers=20, hours=24)
    what = f"H4 false UNHEALTHY in 24 h, {'with' if beats else 'without'} heartbeats"
    suspected = found.entered(HealthState.SUSPECT)
    return row(what, "0", f"{found.false_unhealthy} ({suspected} times suspect)", found.false_unhealthy == 0)


def _count_row(what: str, make: Callable[[], Report]) -> str:
    found = make()
    out = found.entered(HealthState.UNHEALTHY)
    return row(what, "0", f"{out} of {sum(found.tasks.values()):,} tasks' evidence", out == 0)


def _slowed_row() -> str:
    return _count_row("H5 ejections, fleet 4 times slower for 5 min", slowed)


def _poison_row(share: float) -> str:
    return _count_row(f"H6 ejections, type that fails everywhere, {share:.0%} of it", lambda: poisoned(share=share))


def _blind_row() -> str:
    found = blinded()
    out = found.entered(HealthState.UNHEALTHY)
    return row("H7 UNHEALTHY while the prober is cut off for 60 s", "0", f"{out}", out == 0)


def _bounds_row() -> str:
    found = bounds()
    holds = (
        0 < found.ejected <= 100 * EJECTED_MAX
        and found.panicked
        and found.readmitted == 40
        and found.dead_in_service == 0
        and found.out_at_the_end == 0
    )
    seen = f"{found.ejected} out, {found.readmitted} back, {found.dead_in_service} dead in service"
    return row("H8 40 of 100 fail all tasks, then 30 die: at most 30 out, panic", "30, 40, 0", seen, holds)


ROWS: tuple[tuple[Callable[..., str], tuple[object, ...]], ...] = (
    (_saving_row, (True, False)),
    (_saving_row, (True, True)),
    (_saving_row, (False, False)),
    (_detection_row, (True, 0.0, 7.0)),
    (_detection_row, (True, 5.0, 3.0)),
    (_detection_row, (False, 5.0, 3.0)),
    (_detection_row, (False, 0.0, 20.0)),
    (_calm_row, (True,)),
    (_calm_row, (False,)),
    (_slowed_row, ()),
    (_poison_row, (1.0,)),
    (_poison_row, (0.5,)),
    (_blind_row, ()),
    (_bounds_row, ()),
)


def quiet() -> None:
    """Thousands of changes are no news here."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))


def table() -> Iterator[str]:
    with ProcessPoolExecutor(initializer=quiet) as pool:
        for future in [pool.submit(make, *arguments) for make, arguments in ROWS]:
            yield future.result()


if __name__ == "__main__":
    for line in table():
        print(line, flush=True)
