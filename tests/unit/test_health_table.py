"""The operational machine: every state with every sign, and how often and how long a server is looked at."""

import itertools
from random import Random

import pytest

from pointsman.contracts.server import HealthState, ServerHealth
from pointsman.services.instance.health_table import TABLE, Sign, after
from pointsman.services.instance.watch import Finding, Look, Moment, Watch

N, W, H, S, U, R = HealthState
EXPECTED = {
    # PROVEN, DOUBTED, DEAD, EJECTED, READMITTED
    N: (W, N, U, N, N),
    W: (H, S, U, U, W),
    H: (H, S, U, U, H),
    S: (H, S, U, U, S),
    U: (R, U, U, U, H),
    R: (W, U, U, U, H),
}
BAD, GOOD = Look("no answer"), Look()


def watch_in(state: HealthState, **fields: int) -> Watch:
    return Watch("a", "default", 10, ServerHealth(state=state, registered_at=1, **fields), entered_s=0.0)


def at(seconds: float) -> Moment:
    return Moment(seconds, round(seconds * 1000))


def follow(state: HealthState, *looks: Look, every_s: float = 1.0) -> Watch:
    """The watch after these probes, the first after `every_s`."""
    watch, rng = watch_in(state), Random(7)
    for number, look in enumerate(looks, 1):
        now = at(number * every_s)
        if (finding := watch.probed(look, now)) is not None and after(watch.state, finding.sign) is not watch.state:
            watch.enter(finding, now, rng)
    return watch


@pytest.mark.parametrize(("state", "sign"), list(itertools.product(HealthState, Sign)))
def test_every_state_with_every_sign_leads_where_the_table_says(state: HealthState, sign: Sign) -> None:
    assert after(state, sign) is EXPECTED[state][list(Sign).index(sign)]


def test_no_state_is_a_trap_and_none_out_of_reach() -> None:
    ways = {state: set(row.after.values()) for state, row in TABLE.items()}
    for start in HealthState:
        reached = {start}
        while more := {state for seen in reached for state in ways[seen]} - reached:
            reached |= more
        assert reached >= set(HealthState) - {N}


@pytest.mark.parametrize(
    ("state", "looks", "expected"),
    [
        (N, [GOOD], W),
        (N, [BAD] * 4, N),
        (N, [BAD] * 5, U),
        (N, [BAD] * 4 + [GOOD], W),
        (W, [BAD], S),
        (H, [BAD], S),
        (H, [BAD, BAD], S),
        (H, [BAD, BAD, BAD], U),
        (H, [BAD, GOOD], S),
        (H, [BAD, GOOD, GOOD], H),
        (H, [BAD, GOOD, BAD, GOOD, BAD], U),
        (U, [GOOD], U),
        (U, [GOOD, GOOD], R),
        (U, [GOOD, BAD, GOOD], U),
        (R, [GOOD] * 3, R),
        (R, [GOOD, BAD], U),
    ],
)
def test_probes_lead_where_the_rules_say(state: HealthState, looks: list[Look], expected: HealthState) -> None:
    assert follow(state, *looks).state is expected


def test_an_idle_server_has_recovered_after_thirty_seconds_and_three_probes() -> None:
    assert follow(R, *[GOOD] * 5, every_s=5.0).state is R
    assert follow(R, *[GOOD] * 6, every_s=5.0).state is W


def test_an_unhealthy_server_is_asked_less_and_less() -> None:
    for count, wait_s in zip(range(1, 7), [2, 4, 8, 16, 30, 30], strict=True):
        assert follow(U, *[BAD] * count).wait_s(0.0, Random(count)) == pytest.approx(wait_s, rel=0.2)


def test_a_healthy_server_is_asked_less_often_the_longer_it_does_well() -> None:
    watch, intervals = watch_in(H), []
    for number in range(21):
        watch.probed(GOOD, at(number))
        intervals.append(watch.interval_s)
    assert intervals[:7] == [5.0, 5.0, 7.5, 7.5, 7.5, 11.25, 11.25]
    assert intervals[-1] == 15.0
    waits = [watch.wait_s(0.0, Random(n)) for n in range(100)]
    assert 13.5 <= min(waits) < max(waits) <= 16.5


def test_heartbeats_let_probes_be_thirty_seconds_apart() -> None:
    watch = watch_in(H)
    for number in range(40):
        watch.beaten(0, at(2.0 * number), is_well=True)
        watch.probed(GOOD, at(2.0 * number))
    assert watch.interval_s == 30.0


def test_a_success_stands_for_a_probe_but_never_twice_running() -> None:
    watch = watch_in(H)
    watch.success_s = 10.0
    assert [watch.credit(11.0) for _ in range(4)] == [True, False, True, False]
    watch.success_s = 0.0
    assert not watch.credit(50.0)


def test_times_out_grow_and_are_forgiven_by_healthy_minutes() -> None:
    watch, rng = watch_in(H), Random(7)
    expected = [10, 20, 40, 80, 160, 300, 300]
    for n, out_s in enumerate(expected, 1):
        watch.enter(Finding(Sign.EJECTED), at(0.0), rng)
        assert watch.health.ejections == n
        assert watch.out_until_s == pytest.approx(out_s, rel=0.2)
        watch.enter(Finding(Sign.READMITTED), at(0.0), rng)
    watch.enter(Finding(Sign.EJECTED), at(3 * 60 + 30.0), rng)
    assert watch.health.ejections == len(expected) - 3 + 1


def test_a_server_that_never_answered_is_not_held_off() -> None:
    assert follow(N, *[BAD] * 5, GOOD, GOOD).state is R
