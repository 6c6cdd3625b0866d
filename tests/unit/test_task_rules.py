"""Pure rules of the task service."""

import msgspec
import pytest

from pointsman.contracts.actor import Actor, Role
from pointsman.contracts.errors import PointsmanError
from pointsman.contracts.lifecycle import Status
from pointsman.contracts.record import Attempt, TaskRecord, TaskSpec
from pointsman.contracts.task import RetryRequest, TaskRequest, TaskUpdate
from pointsman.services.runtime.tokens import AttemptClaims
from pointsman.services.task import rules

NOW = 1_700_000_000_000
ANN, BOB = Actor(sub="ann", roles=(Role.USER,)), Actor(sub="bob", roles=(Role.USER,))


def accepted(**fields: object) -> TaskRecord:
    request = TaskRequest(**({"type": "a"} | fields))  # type: ignore[arg-type]
    return rules.accept(request, ANN, task_id="t", now=NOW)


def a_record(**fields: object) -> TaskRecord:
    spec = TaskSpec(type="a", deadline=NOW + 1)
    made = {"id": "t", "owner": "ann", "spec": spec, "created_at": NOW, "updated_at": NOW} | fields
    return TaskRecord(**made)  # type: ignore[arg-type]


def refusal(work: object, *args: object) -> int:
    with pytest.raises(PointsmanError) as refused:
        work(*args)  # type: ignore[operator]
    return refused.value.status


def test_defaults_are_written_down() -> None:
    spec = accepted().spec
    assert (spec.pool, spec.timeout_ms, spec.max_attempts, spec.deadline) == ("default", 300_000, 4, NOW + 86_400_000)
    assert spec.run_at is None


@pytest.mark.parametrize(
    ("fields", "run_at"),
    [({"delay_ms": 5}, NOW + 5), ({"run_at": NOW + 9}, NOW + 9), ({"run_at": NOW - 1}, None), ({"delay_ms": 0}, NOW)],
)
def test_when_it_may_run_and_by_when_it_must_have_ended(fields: dict[str, object], run_at: int | None) -> None:
    spec = accepted(deadline_ms=1_000, **fields).spec
    assert (spec.run_at, spec.deadline) == (run_at, (run_at if run_at is not None else NOW) + 1_000)


def test_capabilities_are_a_set() -> None:
    assert accepted(capabilities=("b", "a", "b")).spec.capabilities == ("a", "b")


def test_retry_parts_change_the_standard() -> None:
    assert accepted(retry=RetryRequest(base_ms=7)).spec.retry.base_ms == 7
    assert accepted(retry=RetryRequest(preset="fast")).spec.retry.max_ms == 10_000
    assert refusal(rules.retry_policy, RetryRequest(preset="fast", jitter=0.1)) == 400


def test_who_sees_and_who_steers() -> None:
    record = a_record()
    for actor, sees, steers in (
        (ANN, True, True),
        (BOB, False, False),
        (Actor(sub="v", roles=(Role.VIEWER,)), True, False),
        (Actor(sub="o", roles=(Role.OPERATOR,)), True, True),
        (Actor(sub="s", roles=(Role.SERVICE,)), False, False),
    ):
        assert actor.may_see("ann") is sees
        assert actor.may_steer("ann") is steers
        if not sees:
            assert refusal(rules.check_visible, actor, record) == 404
        if not steers:
            assert refusal(rules.check_steer, actor, record) in (403, 404)


def test_who_may_report() -> None:
    record = a_record()
    claims = AttemptClaims(task_id="t", generation=1, number=1, server_id="a", expires_at=NOW)
    rules.check_report(Actor(sub=""), claims, record)
    rules.check_report(Actor(sub="s", roles=(Role.SERVICE,)), None, record)
    assert refusal(rules.check_report, BOB, None, record) in (403, 404)
    assert refusal(rules.check_report, ANN, msgspec.structs.replace(claims, task_id="u"), record) == 403


def test_keys_are_visible_ascii_and_scoped_to_their_owner() -> None:
    for good in ("a", "x" * 255, "order 1~"):
        rules.check_idempotency_key(good)
    for bad in ("", "x" * 256, "a\n", "é", "\x7f"):
        assert refusal(rules.check_idempotency_key, bad) == 400
    assert rules.idempotency_name("ann", "k") != rules.idempotency_name("bob", "k")
    assert rules.idempotency_name("ann", "k") == rules.idempotency_name("ann", "k")


def test_the_same_result_is_the_same_however_it_is_written() -> None:
    done = a_record(status=Status.COMPLETED, result=msgspec.Raw(b'{"a": 1, "b": [1.0]}'))
    assert rules.repeats(done, TaskUpdate(status="COMPLETED", result=msgspec.Raw(b'{"b":[1.0],"a":1}')))
    assert not rules.repeats(done, TaskUpdate(status="COMPLETED", result=msgspec.Raw(b'{"a":2}')))
    assert not rules.repeats(done, TaskUpdate(status="FAILED", error="x"))


def test_the_same_failure_is_recognised_though_it_was_cut() -> None:
    long = "x" * 5_000
    failed = a_record(status=Status.FAILED, error="x" * 999 + "…")
    assert rules.repeats(failed, TaskUpdate(status="FAILED", error=long))
    assert not rules.repeats(failed, TaskUpdate(status="FAILED", error="other"))


def test_a_failed_attempt_may_be_told_again_and_only_that_one() -> None:
    attempt = Attempt(number=3, server_id="a", started_at=1, finished_at=2, outcome="failed", error="x")
    again = TaskUpdate(status="FAILED", error="x")
    assert rules.repeats_attempt((attempt,), 3, again)
    assert not rules.repeats_attempt((attempt,), 2, again)
    assert not rules.repeats_attempt((attempt,), 3, TaskUpdate(status="COMPLETED"))


def test_a_report_becomes_an_outcome() -> None:
    failed = rules.outcome_of(TaskUpdate(status="FAILED", message="m", code=7, final=True))
    assert (failed.error, failed.code, failed.final) == ("m", "7", True)  # type: ignore[union-attr]
    assert rules.outcome_of(TaskUpdate(status="FAILED")).error  # type: ignore[union-attr]


def test_the_submitter_s_trace_is_kept_with_the_task() -> None:
    traced = Actor(sub="ann", roles=(Role.USER,), trace="00-" + "a" * 32 + "-" + "b" * 16 + "-01")
    assert rules.accept(TaskRequest(type="t"), traced, task_id="t", now=NOW).trace == traced.trace
