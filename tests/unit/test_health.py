"""The health machine: no server is eligible before a good probe, none is taken out by one bad one."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pointsman.contracts.server import HealthState, ServerConfig, ServerHealth
from pointsman.services.instance.answer import Answer
from pointsman.services.instance.fleet import Known
from pointsman.services.instance.health import TABLE, Check, after_probe, current, fault_of, is_eligible

NEW, HEALTHY, UNHEALTHY = HealthState.NEW, HealthState.HEALTHY, HealthState.UNHEALTHY
BAD = "no answer"


def after(state: HealthState, *probes: bool) -> Check:
    check, rng, now = Check(ServerHealth(state=state, registered_at=1)), Random(7), 1_000
    for good in probes:
        check = after_probe(check, None if good else BAD, now=now, rng=rng)
        now += 1_000
    return check


@pytest.mark.parametrize(
    ("state", "probes", "expected"),
    [
        (NEW, [True], HEALTHY),
        (NEW, [False] * 4, NEW),
        (NEW, [False] * 5, UNHEALTHY),
        (NEW, [False] * 4 + [True], HEALTHY),
        (HEALTHY, [False] * 2, HEALTHY),
        (HEALTHY, [False] * 3, UNHEALTHY),
        (HEALTHY, [False, False, True, False, False], HEALTHY),
        (UNHEALTHY, [True], UNHEALTHY),
        (UNHEALTHY, [True, True], HEALTHY),
        (UNHEALTHY, [True, False, True], UNHEALTHY),
    ],
)
def test_probes_lead_where_the_table_says(state: HealthState, probes: list[bool], expected: HealthState) -> None:
    assert after(state, *probes).health.state is expected


@given(st.lists(st.booleans(), max_size=60))
def test_eligible_only_after_a_good_probe_and_out_only_after_three_bad_ones(probes: list[bool]) -> None:
    check, rng = Check(ServerHealth(registered_at=1)), Random(7)
    seen: list[bool] = []
    for now, good in enumerate(probes):
        before = check.health.state
        check = after_probe(check, None if good else BAD, now=now, rng=rng)
        seen.append(good)
        state = check.health.state
        if is_eligible(state):
            assert any(seen)
        if state is HEALTHY and before is UNHEALTHY:
            assert seen[-2:] == [True, True]
        if state is UNHEALTHY and before is HEALTHY:
            assert seen[-3:] == [False, False, False]
        assert check.health.registered_at == 1
        assert check.health.next_check is not None
        assert check.health.next_check >= now


def test_an_unhealthy_server_is_asked_less_and_less() -> None:
    for count, wait_s in zip(range(3, 10), [2, 4, 8, 16, 30, 30, 30], strict=True):
        assert after(HEALTHY, *[False] * count).wait_s == pytest.approx(wait_s, rel=0.2)


def test_a_healthy_server_is_asked_about_every_five_seconds() -> None:
    waits = {after_probe(Check(ServerHealth(state=HEALTHY)), None, now=1, rng=Random(n)).wait_s for n in range(50)}
    assert 4.5 <= min(waits) < max(waits) <= 5.5


def test_a_new_registration_starts_over() -> None:
    config = ServerConfig(id="a", name="a", predict="p", health="h", registered_at=2)
    old = Known(config=config, health=ServerHealth(state=HEALTHY, registered_at=1))
    same = Known(config=config, health=ServerHealth(state=HEALTHY, registered_at=2))
    assert current(old, 5).state is NEW
    assert current(same, 5).state is HEALTHY


def test_every_row_leads_to_states_of_the_table() -> None:
    for row in TABLE.values():
        assert all(edge is None or edge[1] in TABLE for edge in (row.good, row.bad))


@pytest.mark.parametrize(
    ("status", "body", "is_good"),
    [
        (200, b"", True),
        (204, b"", True),
        (299, b"OK", True),
        (200, b'{"status":"healthy","load":{"cpu":0.1}}', True),
        (200, b'{"status":"ok"}', True),
        (200, b'{"status":"unhealthy"}', False),
        (200, b'{"status":7,"server_id":[1],"model":"x"}', True),
        (200, b'{"server_id":"me"}', True),
        (200, b'{"server_id":"other"}', False),
        (200, b'{"server_id":"unknown"}', True),
        (200, b'{"model":{"server_id":"other"}}', False),
        (200, b'{"model":{"server_id":"me"}}', True),
        (200, b"\xff\xfe", True),
        (302, b"", False),
        (404, b"", False),
        (500, b"", False),
        (503, b'{"status":"healthy"}', False),
    ],
)
def test_what_a_health_answer_means(status: int, body: bytes, is_good: bool) -> None:
    assert (fault_of(Answer(status, {}, body), "me", {"me", "other"}) is None) is is_good


def test_a_flood_is_not_healthy() -> None:
    assert fault_of(Answer(200, {}, b"x", is_cut=True), "me", {"me"}) is not None
