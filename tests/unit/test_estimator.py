"""Service times: what was seen, what failures cost, and how an old opinion fades."""

import pytest

from pointsman.services.balancer.estimator import FAILURE_MS_MIN, TYPES_MAX, Estimator


def test_an_unknown_server_is_tried_first() -> None:
    assert Estimator().read_ms("a", 0.0) == 0.0


def test_steady_service_is_read_as_it_is() -> None:
    estimator = Estimator()
    for n in range(200):
        estimator.succeeded("a", 80.0, n / 10)
    assert estimator.read_ms("a", 20.0) == pytest.approx(80, rel=0.05)


def test_a_server_that_slows_down_is_noticed_within_some_tasks() -> None:
    estimator = Estimator()
    for _ in range(200):
        estimator.succeeded("a", 10.0, 0.0)
    for _ in range(30):
        estimator.succeeded("a", 100.0, 0.0)
    assert estimator.read_ms("a", 0.0) > 80


def test_idle_it_drifts_back_so_that_it_is_tried_again() -> None:
    estimator = Estimator()
    for _ in range(200):
        estimator.succeeded("a", 10.0, 0.0)
    for _ in range(30):
        estimator.succeeded("a", 1_000.0, 0.0)
    read = [estimator.read_ms("a", seconds) for seconds in (0.0, 10.0, 20.0, 60.0, 600.0)]
    assert read == sorted(read, reverse=True)
    assert read[-1] < 20


@pytest.mark.parametrize(
    ("elapsed", "retry_after", "least"), [(1.0, 0, FAILURE_MS_MIN), (60_000.0, 0, 60_000), (1.0, 20_000, 20_000)]
)
def test_a_failure_never_looks_fast(elapsed: float, retry_after: float, least: float) -> None:
    estimator = Estimator()
    estimator.failed("a", elapsed, retry_after, 0.0)
    assert estimator.read_ms("a", 0.0) == pytest.approx(least)


def test_a_retry_after_of_a_day_counts_as_five_minutes() -> None:
    estimator = Estimator()
    estimator.failed("a", 1.0, 86_400_000, 0.0)
    assert estimator.read_ms("a", 0.0) == pytest.approx(300_000)


def test_fast_failures_make_a_server_look_slower_than_its_honest_work() -> None:
    honest, failing = Estimator(), Estimator()
    for n in range(50):
        honest.succeeded("a", 200.0, n)
        failing.failed("a", 1.0, 0, n)
    assert failing.read_ms("a", 50.0) > honest.read_ms("a", 50.0)


def test_one_answer_after_a_pause_tells_a_recovered_server_from_one_that_still_fails() -> None:
    recovered, failing = Estimator(), Estimator()
    for estimator in (recovered, failing):
        for n in range(100):
            estimator.succeeded("a", 20.0, n / 10)
        for _ in range(20):
            estimator.failed("a", 1.0, 0, 10.0)
    assert recovered.read_ms("a", 10.0) > 1_000
    assert recovered.read_ms("a", 45.0) < 25
    recovered.succeeded("a", 20.0, 45.0)
    failing.failed("a", 1.0, 0, 45.0)
    assert recovered.read_ms("a", 45.0) < 25
    assert failing.read_ms("a", 45.0) > 1_000


def test_a_server_judged_by_one_long_task_is_tried_again() -> None:
    unlucky, usual = Estimator(), Estimator()
    unlucky.succeeded("a", 100.0, 0.0)
    for n in range(200):
        usual.succeeded("a", 20.0, n / 10)
    assert unlucky.read_ms("a", 1.0) > usual.read_ms("a", 20.0)
    assert unlucky.read_ms("a", 40.0) < usual.read_ms("a", 40.0)


def test_types_are_told_apart_and_an_unseen_one_is_judged_by_the_server() -> None:
    estimator = Estimator()
    for _ in range(100):
        estimator.succeeded("fast", 1.0, 0.0)
        estimator.succeeded("slow", 1_000.0, 0.0)
    assert estimator.read_ms("fast", 0.0) < estimator.read_ms("new", 0.0) < estimator.read_ms("slow", 0.0)


def test_only_so_many_types_are_kept() -> None:
    estimator = Estimator()
    for n in range(TYPES_MAX * 2):
        estimator.succeeded(f"t{n}", 1.0, 0.0)
    assert len(estimator._types) == TYPES_MAX
    assert f"t{TYPES_MAX * 2 - 1}" in estimator._types


def test_a_clock_that_stands_or_zero_time_does_no_harm() -> None:
    estimator = Estimator()
    estimator.succeeded("a", 0.0, 10.0)
    assert 0 < estimator.read_ms("a", 9.0) < 1
