"""What follows from one try of a webhook, and how many of one host are tried at a time."""

from random import Random

import pytest

from pointsman.contracts.base import encode
from pointsman.contracts.lifecycle import Status
from pointsman.contracts.record import TaskRecord, TaskSpec
from pointsman.contracts.webhook import host_token, shown_secret, signing_key
from pointsman.services.history.webhooks import completion_of
from pointsman.services.instance.webhook_rules import (
    AGE_MS_MAX,
    LENGTH,
    WIDTH,
    Again,
    Delivered,
    GivenUp,
    Lane,
    after,
    backoff_ms,
)

HOUR_MS = 3_600_000


def tried(status: int | None, age_ms: int = 0, retry_after_ms: int | None = None) -> object:
    return after(status, age_ms=age_ms, retry_after_ms=retry_after_ms, rng=Random(7))


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
def test_any_2xx_is_taken(status: int) -> None:
    assert tried(status) == Delivered()


@pytest.mark.parametrize("status", [None, 100, 301, 302, 307, 400, 401, 404, 429, 500, 503])
def test_everything_else_is_tried_again(status: int | None) -> None:
    assert isinstance(tried(status), Again)


def test_a_receiver_that_is_gone_is_left_alone() -> None:
    assert isinstance(tried(410), GivenUp)


def test_retry_after_is_honoured_for_backpressure_alone() -> None:
    assert tried(503, retry_after_ms=90_000) == Again(90_000)
    assert tried(429, retry_after_ms=90_000) == Again(90_000)
    assert tried(500, retry_after_ms=90_000) != Again(90_000)


def test_a_day_is_enough() -> None:
    assert isinstance(tried(500, AGE_MS_MAX - 3 * HOUR_MS), Again)
    assert isinstance(tried(500, AGE_MS_MAX), GivenUp)
    assert isinstance(tried(503, AGE_MS_MAX - HOUR_MS, 2 * HOUR_MS), GivenUp)


def test_the_time_between_tries_doubles_from_a_second_to_an_hour_with_equal_jitter() -> None:
    rng, age, tries = Random(7), 0, 0
    while age < AGE_MS_MAX:
        delay = backoff_ms(age, rng)
        full = min(HOUR_MS, max(1_000, age))
        assert full / 2 <= delay <= full
        age, tries = age + delay, tries + 1
    assert 30 <= tries <= 70


def test_a_host_has_so_many_calls_and_so_many_behind_them() -> None:
    lane: Lane[int] = Lane()
    assert [lane.starts() for _ in range(WIDTH + 1)] == [True] * WIDTH + [False]
    assert [lane.keeps(number) for number in range(LENGTH + 1)] == [True] * LENGTH + [False]
    assert lane.ended(is_failing=False) == []
    assert lane.next() == 0
    assert lane.next() is None


def test_nothing_waits_for_a_host_that_fails_and_one_call_at_a_time_finds_out() -> None:
    lane: Lane[int] = Lane()
    for _ in range(WIDTH):
        lane.starts()
    lane.keeps(1)
    assert lane.ended(is_failing=True) == [1]
    assert not lane.keeps(2)
    for _ in range(WIDTH - 1):
        lane.ended(is_failing=True)
    assert [lane.starts(), lane.starts()] == [True, False]
    lane.ended(is_failing=False)
    assert [lane.starts(), lane.starts()] == [True, True]


def record(**changes: object) -> TaskRecord:
    spec = TaskSpec(type="scan", deadline=2, callback_url="https://example.com/ended?token=x")
    given = {"id": "task_1", "owner": "ann", "spec": spec, "created_at": 1, "updated_at": 1}
    return TaskRecord(**(given | changes))  # type: ignore[arg-type]


def test_only_an_end_that_somebody_asked_for_is_told() -> None:
    assert completion_of(encode(record()), 5) is None
    unasked = TaskSpec(type="scan", deadline=2)
    assert completion_of(encode(record(spec=unasked, status=Status.FAILED)), 5) is None
    assert completion_of(b'{"callbackUrl":', 5) is None
    told = completion_of(encode(record(status=Status.FAILED, generation=2)), 5)
    assert told is not None
    assert (told.webhook_id, told.owner, told.host) == ("task_1-2-ended", "ann", "example.com")
    assert b"payload" not in bytes(told.body) or b'"payload":null' in bytes(told.body)


def test_a_secret_is_one_owner_s_and_a_lane_one_host_s() -> None:
    assert signing_key("s" * 32, "ann") != signing_key("s" * 32, "bob")
    assert shown_secret(signing_key("s" * 32, "ann")).startswith("whsec_")
    assert host_token("http://A.example/x") == host_token("http://a.example/y?z")
    assert host_token("http://a.example/") != host_token("http://a.example:8080/")
