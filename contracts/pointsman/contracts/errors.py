"""Errors a caller can act on: one type whose code is the HTTP number, RFC 9457 on the wire."""

from http import HTTPStatus

import msgspec

from pointsman.contracts.base import Message

TYPE_PREFIX = "urn:pointsman:error:"
DETAIL_LENGTH_MAX = 1000
END_OF_TEXT = r"$(?!\\n)"


class FieldError(Message, omit_defaults=True):
    field: str
    message: str


class Problem(Message, kw_only=True, omit_defaults=True):
    """RFC 9457 body; `error` repeats the short text for clients that look there."""

    type: str
    title: str
    status: int
    detail: str
    error: str
    instance: str = ""
    request_id: str = ""
    errors: tuple[FieldError, ...] = ()
    retry_after_s: int | None = None


class PointsmanError(Exception):
    """A refusal with a code. `status` is the HTTP number, the same on NATS."""

    def __init__(
        self,
        status: int,
        detail: str,
        *,
        slug: str = "",
        errors: tuple[FieldError, ...] = (),
        retry_after_s: int | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail[:DETAIL_LENGTH_MAX]
        self.slug = slug or HTTPStatus(status).phrase.lower().replace(" ", "-")
        self.errors = errors
        self.retry_after_s = retry_after_s

    def problem(self, *, instance: str = "", request_id: str = "") -> Problem:
        title = HTTPStatus(self.status).phrase
        return Problem(
            type=TYPE_PREFIX + self.slug,
            title=title,
            status=self.status,
            detail=self.detail,
            error=title if self.status == HTTPStatus.UNAUTHORIZED else self.detail,
            instance=instance,
            request_id=request_id,
            errors=self.errors,
            retry_after_s=self.retry_after_s,
        )

    @classmethod
    def from_problem(cls, problem: Problem) -> "PointsmanError":
        return cls(
            problem.status,
            problem.detail,
            slug=problem.type.removeprefix(TYPE_PREFIX),
            errors=problem.errors,
            retry_after_s=problem.retry_after_s,
        )


def invalid(field: str, message: str) -> PointsmanError:
    """400 that names the field and the limit."""
    return PointsmanError(
        400, f"{field}: {message}", slug="invalid-request", errors=(FieldError(field=field, message=message),)
    )


def unauthorized(detail: str) -> PointsmanError:
    return PointsmanError(401, detail)


def forbidden(detail: str) -> PointsmanError:
    return PointsmanError(403, detail)


def not_found(detail: str) -> PointsmanError:
    return PointsmanError(404, detail)


def conflict(detail: str, *, slug: str = "conflict") -> PointsmanError:
    return PointsmanError(409, detail, slug=slug)


def precondition_failed(detail: str) -> PointsmanError:
    return PointsmanError(412, detail)


def too_large(field: str, limit_bytes: int) -> PointsmanError:
    message = f"larger than the limit of {limit_bytes} bytes"
    return PointsmanError(
        413, f"{field}: {message}", slug="content-too-large", errors=(FieldError(field=field, message=message),)
    )


def refused(field: str, message: str) -> PointsmanError:
    """422: well-formed, but policy says no."""
    return PointsmanError(
        422, f"{field}: {message}", slug="refused-by-policy", errors=(FieldError(field=field, message=message),)
    )


def overloaded(detail: str, retry_after_s: int) -> PointsmanError:
    return PointsmanError(429, detail, slug="overloaded", retry_after_s=retry_after_s)


def unavailable(detail: str, retry_after_s: int = 2) -> PointsmanError:
    return PointsmanError(503, detail, slug="unavailable", retry_after_s=retry_after_s)


def from_validation(error: msgspec.ValidationError | msgspec.DecodeError) -> PointsmanError:
    """Turn msgspec's `Expected ... - at `$.field`` into a 400 with the field named as the client wrote it."""
    message, _, place = str(error).partition(" - at ")
    field = _field_of(place)
    for said, short in (("unknown field ", "unknown field"), ("missing required field ", "required")):
        if said in message:
            name = message.rpartition(said)[2].strip("`")
            return invalid(name if field == "body" else f"{field}.{name}", short)
    return invalid(field, message.replace(END_OF_TEXT, "$"))


def _field_of(place: str) -> str:
    """`$.a.b` -> a.b; a key of an object is named by the object."""
    path = place.rpartition("$")[2].strip("`").removeprefix(".")
    return path or "body"
