"""Who is alive, who is least busy, and which attempts nobody runs any more."""

from pointsman.contracts.execution import ExecutorBeat
from pointsman.services.balancer.executors import SILENT_S, Executors

START_BY = 5_000


def beat(name: str, *running: str, limit: int = 10, stopping: bool = False, at: int = START_BY + 1) -> ExecutorBeat:
    return ExecutorBeat(executor=name, running=running, limit=limit, at=at, stopping=stopping)


def test_the_one_with_the_smallest_share_in_use_is_chosen() -> None:
    executors = Executors()
    executors.heard(beat("a", limit=10), 0.0)
    executors.heard(beat("b", limit=100), 0.0)
    assert executors.choose({"a": 2, "b": 15}, 0.0) == "b"
    assert executors.choose({"a": 1, "b": 15}, 0.0) == "a"


def test_a_full_a_stopping_and_a_silent_one_get_nothing() -> None:
    executors = Executors()
    executors.heard(beat("full", limit=1), 0.0)
    executors.heard(beat("stopping", stopping=True), 0.0)
    assert executors.choose({"full": 1}, 0.0) is None
    assert executors.choose({}, SILENT_S - 0.01) == "full"
    assert executors.choose({}, SILENT_S) is None
    assert not executors.is_alive("full", SILENT_S)


def test_nobody_known_means_nobody_chosen() -> None:
    assert Executors().choose({}, 0.0) is None
    assert not Executors().is_alive("x", 0.0)


def test_the_attempts_of_a_silent_executor_are_abandoned_after_a_while() -> None:
    executors = Executors()
    executors.heard(beat("a", "t/1/1"), 0.0)
    assert not executors.abandoned("a", "t/1/1", START_BY, 100.0, SILENT_S - 0.1)
    assert executors.abandoned("a", "t/1/1", START_BY, 100.0, SILENT_S)
    assert executors.abandoned("never heard", "t/1/1", START_BY, SILENT_S + 0.1, 0.0)
    assert not executors.abandoned("never heard", "t/1/1", START_BY, SILENT_S - 0.1, 0.0)


def test_an_attempt_that_a_living_executor_does_not_list_is_abandoned_after_two_beats() -> None:
    executors, age_s = Executors(), 7.0
    executors.heard(beat("a", "other"), 0.0)
    told = []
    for second in range(1, 5):
        told.append(executors.abandoned("a", "t/1/1", START_BY, age_s, second))
        executors.heard(beat("a", "other"), float(second))
    assert told == [False, False, True, True]


def test_one_missing_beat_is_forgiven() -> None:
    executors, age_s = Executors(), 7.0
    executors.heard(beat("a"), 0.0)
    assert not executors.abandoned("a", "t/1/1", START_BY, age_s, 0.5)
    executors.heard(beat("a"), 1.0)
    executors.heard(beat("a", "t/1/1"), 2.0)
    assert not executors.abandoned("a", "t/1/1", START_BY, age_s, 2.5)
    executors.heard(beat("a"), 3.0)
    assert not executors.abandoned("a", "t/1/1", START_BY, age_s, 3.5)


def test_beats_of_before_the_start_by_prove_nothing() -> None:
    executors = Executors()
    for second in range(9):
        executors.heard(beat("a", at=START_BY), float(second))
        assert not executors.abandoned("a", "t/1/1", START_BY, 100.0, second)


def test_who_was_silent_for_long_is_forgotten() -> None:
    executors = Executors()
    executors.heard(beat("a"), 0.0)
    executors.forget_silent(60 * SILENT_S + 1)
    assert executors._executors == {}
