"""What falls due: never early."""

from random import Random

from pointsman.services.balancer.wheel import Wheel


def test_the_wheel_is_never_early_and_at_most_a_second_late() -> None:
    rng, wheel, seen = Random(7), Wheel[int](), {}
    times = [rng.randrange(1, 60_000) for _ in range(500)]
    for key, at in enumerate(times):
        wheel.add(at, key)
    for now in range(0, 62_000, 100):
        for key in wheel.due(now):
            seen[key] = now
    assert sorted(seen) == list(range(500))
    assert all(0 <= seen[key] - at < 1_100 for key, at in enumerate(times))
    assert len(wheel) == 0


def test_what_is_taken_out_of_the_wheel_never_falls_due() -> None:
    wheel: Wheel[str] = Wheel()
    wheel.add(1_500, "a")
    wheel.add(2_000, "b")
    wheel.discard(1_500, "a")
    assert wheel.due(1_999) == []
    assert wheel.due(2_000) == ["b"]


def test_past_seconds_of_which_all_was_taken_out_are_dropped_though_nobody_asks_what_is_due() -> None:
    wheel: Wheel[int] = Wheel()
    for second in range(1, 1_000):
        wheel.add(second * 1_000, second)
        wheel.discard(second * 1_000, second)
        wheel.tidy(second * 1_000)
    wheel.add(2_000_000, 7)
    wheel.tidy(3_000_000)
    assert (len(wheel._slots), wheel.due(3_000_000), wheel._order) == (1, [7], [])
