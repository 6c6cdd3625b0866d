"""The health numbers of a virtual fleet, in short; `make sim-health` runs the whole day."""

from collections.abc import Iterator

import pytest
import structlog

from pointsman.contracts.server import HealthState
from tests.simulation import health
from tests.simulation.ward import Report


@pytest.fixture(autouse=True)
def without_logs() -> Iterator[None]:
    before = structlog.get_config()
    health.quiet()
    yield
    structlog.configure(**before)


def out(report: Report) -> int:
    return report.entered(HealthState.UNHEALTHY)


@pytest.mark.parametrize(("beats", "fewer"), [(True, 0.8), (False, 0.6)])
def test_far_fewer_probes_than_one_every_five_seconds(beats: bool, fewer: float) -> None:
    found = health.saving(beats=beats, servers=4, hours=2)
    assert found.fewer >= fewer
    assert found.report.false_unhealthy == 0


@pytest.mark.parametrize(
    ("beats", "tasks_per_s", "hours", "within_s"), [(True, 0, 1, 7), (True, 5, 0.3, 3), (False, 0, 1, 20)]
)
def test_a_crash_is_seen_in_time(beats: bool, tasks_per_s: float, hours: float, within_s: float) -> None:
    found = health.detection(beats=beats, tasks_per_s=tasks_per_s, servers=8, hours=hours)
    assert len(found.detected) >= 2
    assert max(found.detected) <= within_s
    assert max(found.stopped) <= within_s


def test_rough_weather_takes_nobody_out() -> None:
    assert health.calm(beats=True, servers=5, hours=1).false_unhealthy == 0
    assert health.calm(beats=False, servers=5, hours=1).false_unhealthy == 0


def test_a_fleet_that_is_slower_altogether_loses_nobody() -> None:
    found = health.slowed(servers=6, minutes=6)
    assert found.tasks["Succeeded"] > 1_000
    assert out(found) == 0


@pytest.mark.parametrize("share", [1.0, 0.5])
def test_a_poison_type_takes_nobody_out(share: float) -> None:
    found = health.poisoned(share=share, servers=6, minutes=1)
    assert found.tasks["Failed"] > 500
    assert out(found) == 0


def test_a_prober_cut_off_takes_nobody_out() -> None:
    found = health.blinded(servers=8)
    assert found.alarms["prober-doubt"]
    assert out(found) == 0


def test_thirty_percent_out_at_most_and_a_panic_brings_back_only_the_living() -> None:
    found = health.bounds(servers=20, settle_s=120.0)
    assert found == health.Bounds(ejected=6, panicked=True, readmitted=8, dead_in_service=0, out_at_the_end=0)
