"""The effective limit: down by a tenth on backpressure, up by one for each busy second."""

from pointsman.services.balancer.limits import HOLD_DEFAULT_MS, HOLD_MAX_MS, EffectiveLimit

NOW = 1_700_000_000_000


def test_it_starts_at_the_maximum() -> None:
    assert EffectiveLimit(10).value == 10


def test_each_refusal_takes_a_tenth_but_never_the_last_slot() -> None:
    limit = EffectiveLimit(100)
    limit.refused(429, None, NOW)
    assert limit.value == 90
    limit.refused(429, None, NOW)
    assert limit.value == 81
    for _ in range(200):
        limit.refused(429, None, NOW)
    assert limit.value == 1


def test_a_refusal_holds_the_server_as_long_as_it_asks() -> None:
    for asked, hold in ((None, HOLD_DEFAULT_MS), (7_000, 7_000), (86_400_000, HOLD_MAX_MS), (0, 0)):
        limit = EffectiveLimit(10)
        limit.refused(429, asked, NOW)
        assert limit.held_until == (NOW + hold)
    limit.refused(429, 5_000, NOW)
    limit.refused(429, 1_000, NOW)
    assert limit.held_until == NOW + 5_000


def test_it_grows_by_one_in_each_second_that_used_half_of_it() -> None:
    limit = EffectiveLimit(10)
    for _ in range(5):
        limit.refused(429, 0, NOW)
    low = limit.value
    limit.tick(low, 1.0)
    assert limit.value == low + 1
    limit.tick(low, 1.5)
    assert limit.value == low + 1
    limit.tick(0, 2.5)
    assert limit.value == low + 1
    for second in range(3, 30):
        limit.tick(10, float(second))
    assert limit.value == 10


def test_faults_in_a_row_pause_longer_and_an_answer_ends_the_row() -> None:
    limit, now, holds = EffectiveLimit(10), NOW, []
    for _ in range(12):
        limit.faulted(now)
        holds.append(limit.held_until - now)
        now = limit.held_until
    assert holds == sorted(holds)
    assert (holds[0], holds[1], holds[-1]) == (250, 500, 30_000)
    limit.answered()
    limit.faulted(now)
    assert limit.held_until - now == 250


def test_a_new_maximum_counts_at_once_and_keeps_what_was_learned() -> None:
    limit = EffectiveLimit(10)
    limit.resize(20)
    assert limit.value == 20
    for _ in range(10):
        limit.refused(429, 0, NOW)
    low = limit.value
    limit.resize(30)
    assert limit.value == low
    limit.resize(2)
    assert limit.value == 2
