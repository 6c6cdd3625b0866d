"""What goes back to the client: an ASGI response with the headers that every answer carries, and problems."""

from dataclasses import dataclass, field

from litestar.types import Receive, Scope, Send

from pointsman.contracts.base import encode
from pointsman.contracts.errors import PointsmanError

JSON = b"application/json"
PROBLEM_JSON = b"application/problem+json"
RETRY_AFTER_S = {429: 1, 503: 2}

API_HEADERS = [
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-store"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
]
PAGE_HEADERS = [
    *API_HEADERS[:3],
    (b"cache-control", b"no-cache"),
    (
        b"content-security-policy",
        b"default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
        b"connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
]


@dataclass(slots=True)
class Reply:
    """An answer; `common` are the headers of its kind, `headers` its own."""

    status: int
    body: bytes = b""
    headers: list[tuple[bytes, bytes]] = field(default_factory=list)
    content_type: bytes = JSON
    common: list[tuple[bytes, bytes]] = field(default_factory=lambda: API_HEADERS)
    request_id: str = ""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Write it; the answer to HEAD has the length but not the body."""
        headers = [*self.common, *self.headers, (b"x-request-id", self.request_id.encode("latin-1"))]
        body = self.body
        if self.status not in (204, 304):
            headers += [(b"content-type", self.content_type), (b"content-length", str(len(body)).encode())]
        if scope["method"] == "HEAD":  # type: ignore[typeddict-item]
            body = b""
        await send({"type": "http.response.start", "status": self.status, "headers": headers})
        await send({"type": "http.response.body", "body": body, "more_body": False})


def problem(error: PointsmanError, path: str, request_id: str, *, more: dict[str, str] | None = None) -> Reply:
    """RFC 9457, with the headers that its status demands."""
    headers = [(name.lower().encode(), value.encode("latin-1", "replace")) for name, value in (more or {}).items()]
    if error.status == 401:
        headers.append((b"www-authenticate", _challenge(error)))
    if error.status in RETRY_AFTER_S:
        seconds = max(1, error.retry_after_s or RETRY_AFTER_S[error.status])
        headers.append((b"retry-after", str(seconds).encode()))
    body = encode(error.problem(instance=path, request_id=request_id))
    return Reply(error.status, body, headers, PROBLEM_JSON, request_id=request_id)


MISSING_TOKEN = "missing-token"  # noqa: S105 - names an error


def _challenge(error: PointsmanError) -> bytes:
    """RFC 6750 §3: no error code for a caller that sent no token at all."""
    if error.slug == MISSING_TOKEN:
        return b'Bearer realm="pointsman"'
    return b'Bearer realm="pointsman", error="invalid_token"'
