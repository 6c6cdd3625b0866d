"""Refusals: one type, the same code everywhere, the field named as the caller wrote it."""

import msgspec
import pytest

from pointsman.contracts import errors
from pointsman.contracts.errors import PointsmanError, from_validation
from pointsman.contracts.task import TaskRequest


def told(data: bytes) -> tuple[int, str, str]:
    with pytest.raises(msgspec.DecodeError) as wrong:
        msgspec.json.decode(data, type=TaskRequest)
    error = from_validation(wrong.value)
    return error.status, error.errors[0].field, error.errors[0].message


@pytest.mark.parametrize(
    ("data", "field"),
    [
        (b"{}", "type"),
        (b'{"type":"A"}', "type"),
        (b'{"type":"a","maxAttempts":0}', "maxAttempts"),
        (b'{"type":"a","retry":{"baseMs":"x"}}', "retry.baseMs"),
        (b'{"type":"a","nope":1}', "nope"),
        (b'{"type":"a","retry":{"nope":1}}', "retry.nope"),
        (b"[]", "body"),
        (b"{", "body"),
        (b"", "body"),
    ],
)
def test_the_field_is_named_as_the_caller_wrote_it(data: bytes, field: str) -> None:
    status, named, message = told(data)
    assert (status, named) == (400, field)
    assert message


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (errors.invalid("a", "b"), 400),
        (errors.unauthorized("x"), 401),
        (errors.forbidden("x"), 403),
        (errors.not_found("x"), 404),
        (errors.conflict("x", slug="already"), 409),
        (errors.precondition_failed("x"), 412),
        (errors.too_large("a", 5), 413),
        (errors.refused("a", "b"), 422),
        (errors.overloaded("x", 3), 429),
        (errors.unavailable("x"), 503),
    ],
)
def test_a_problem_is_the_same_after_a_journey(error: PointsmanError, status: int) -> None:
    body = msgspec.json.encode(error.problem(instance="/x", request_id="r"))
    problem = msgspec.json.decode(body, type=errors.Problem)
    back = PointsmanError.from_problem(problem)
    assert error.status == problem.status == status
    assert (back.status, back.detail, back.slug, back.errors, back.retry_after_s) == (
        error.status,
        error.detail,
        error.slug,
        error.errors,
        error.retry_after_s,
    )


def test_a_detail_is_cut() -> None:
    assert len(PointsmanError(400, "x" * 5_000).detail) == errors.DETAIL_LENGTH_MAX
