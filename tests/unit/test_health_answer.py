"""What an answer to a health check means, whatever it is."""

import pytest

from pointsman.services.instance.answer import Answer
from pointsman.services.instance.health_answer import active_tasks_of, fault_of

JSON = {"Content-Type": "application/json; charset=utf-8"}


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
    assert fault_of(Answer(200, {}, b"x", is_cut=True), "me", {"me"}) == "the health check's answer is too large"


def test_a_redirect_is_told_as_one() -> None:
    assert "redirects are not followed" in (fault_of(Answer(307, {}, b""), "me", {"me"}) or "")


def test_a_wiring_mistake_names_the_server_that_answers() -> None:
    fault = fault_of(Answer(200, JSON, b'{"server_id":"other"}'), "me", {"me", "other"})
    assert fault == "wiring mistake: the server that answers says it is other"


@pytest.mark.parametrize("body", [b"{", b"OK", b"\xff\xfe", b'{"status":}', b"[" * 100])
def test_json_that_is_none_is_a_broken_promise_and_text_is_not(body: bytes) -> None:
    assert "is JSON and is not" in (fault_of(Answer(200, JSON, body), "me", {"me"}) or "")
    assert fault_of(Answer(200, {"Content-Type": "text/plain"}, body), "me", {"me"}) is None


def test_sound_json_of_another_shape_is_the_servers_own_business() -> None:
    assert fault_of(Answer(200, JSON, b'["fine"]'), "me", {"me"}) is None


@pytest.mark.parametrize(
    ("body", "active"),
    [(b'{"load":{"active_tasks":3}}', 3), (b'{"load":{"active_tasks":-1}}', None), (b'{"load":7}', None), (b"", None)],
)
def test_how_many_tasks_it_says_it_runs(body: bytes, active: int | None) -> None:
    assert active_tasks_of(Answer(200, {}, body)) == active
