"""What a backend's answer means: the table of `API.md` §4. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC
from email.utils import parsedate_to_datetime
from http import HTTPStatus

import msgspec

from pointsman.contracts.task import RESULT_BYTES_MAX
from pointsman.services.instance import content
from pointsman.services.runtime.outcomes import Accepted, Failed, Lost, Outcome, Succeeded, cut

DONE = frozenset({200, 201, 204})
TAKEN = frozenset({202, 409})
BACKPRESSURE = frozenset({429, 503})
GATEWAY_FAULTS = frozenset({502, 503, 504})
HEADER_RETRY = "X-Pointsman-Retry"
HEADER_RETRY_AFTER = "Retry-After"
RETRY_AFTER_MS_MAX = 3_600_000
TEXT_SHOWN_MAX = 300


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer as read; `headers` are case-insensitive, `is_cut` when the body went on beyond the limit."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    is_cut: bool = False


class _Envelope(msgspec.Struct):
    """`{"status": "success" | "error" | "accepted", ...}`; anything else in `status` is just data."""

    status: msgspec.Raw = msgspec.Raw(b"")
    result: msgspec.Raw = msgspec.Raw(b"")
    error: msgspec.Raw = msgspec.Raw(b"")
    message: msgspec.Raw = msgspec.Raw(b"")
    detail: msgspec.Raw = msgspec.Raw(b"")
    code: msgspec.Raw = msgspec.Raw(b"")


_ENVELOPE = msgspec.json.Decoder(_Envelope)
_ANY = msgspec.json.Decoder()
_PLAIN = _Envelope()


def outcome_of(answer: Answer, *, now: int, final_statuses: frozenset[int]) -> Outcome:
    """The outcome of an attempt; `now` in ms since the epoch, for a Retry-After that is a date.

    `final_statuses` fail a task for good; which they are is the operator's to say.
    """
    if encoding := _encoding(answer.headers):
        return _malformed(answer, f"the body is encoded ({encoding[:20]}) although that was not asked for")
    if charset := content.charset_of(answer.headers.get("Content-Type", "")):
        answer = replace(answer, body=content.in_utf8(answer.body, charset))
    if answer.status in TAKEN:
        return Accepted(http_status=answer.status)
    if answer.status in DONE:
        return _done(answer)
    if answer.status in BACKPRESSURE and not _forbids_retry(answer):
        return _busy(answer, now)
    if answer.status < 400:
        return _malformed(answer, _unexpected(answer.status))
    return _failed(answer, now, is_final=answer.status in final_statuses or _forbids_retry(answer))


def _encoding(headers: Mapping[str, str]) -> str:
    """How the body would have to be unpacked before it can be read; empty for a plain one."""
    for name, plain in (("Content-Encoding", "identity"), ("Transfer-Encoding", "chunked")):
        encoding = headers.get(name, "").strip().lower()
        if encoding and encoding != plain:
            return encoding
    return ""


def _done(answer: Answer) -> Outcome:
    if answer.is_cut:
        return _too_large(answer.status)
    result = content.result_of(answer.body)
    envelope = _envelope(bytes(result))
    match bytes(envelope.status):
        case b'"accepted"':
            return Accepted(http_status=answer.status)
        case b'"error"':
            error = _text(envelope) or "the backend answered with an error"
            return Failed(
                error=cut(error), code=_code(envelope), http_status=answer.status, final=_forbids_retry(answer)
            )
        case b'"success"' if envelope.result:
            result = msgspec.Raw(bytes(envelope.result))
    if len(bytes(result)) > RESULT_BYTES_MAX:
        return _too_large(answer.status)
    return Succeeded(result=result, http_status=answer.status)


def _too_large(status: int) -> Failed:
    return Failed(
        error=f"result larger than {RESULT_BYTES_MAX} bytes", code="result-too-large", http_status=status, final=True
    )


def _busy(answer: Answer, now: int) -> Lost:
    wait = retry_after_ms(answer.headers.get(HEADER_RETRY_AFTER), now)
    return Lost(
        reason=_shown(answer),
        http_status=answer.status,
        retry_after_ms=wait,
        server_fault=answer.status in GATEWAY_FAULTS and wait is None,
    )


def _failed(answer: Answer, now: int, *, is_final: bool) -> Failed:
    wait = retry_after_ms(answer.headers.get(HEADER_RETRY_AFTER), now)
    return Failed(
        error=cut(_shown(answer)),
        code=_code(_envelope(answer.body)),
        http_status=answer.status,
        final=is_final,
        retry_after_ms=wait,
        server_fault=answer.status in GATEWAY_FAULTS and wait is None,
    )


def _malformed(answer: Answer, error: str) -> Failed:
    return Failed(error=error, http_status=answer.status, final=_forbids_retry(answer), server_fault=True)


def _unexpected(status: int) -> str:
    if 300 <= status < 400 and status != HTTPStatus.NOT_MODIFIED:
        return f"HTTP {status}: redirects are not followed"
    return f"HTTP {status} is not an answer to a task"


def _forbids_retry(answer: Answer) -> bool:
    return answer.headers.get(HEADER_RETRY, "").strip().lower() == "no"


def _shown(answer: Answer) -> str:
    text = _text(_envelope(answer.body)) or content.text_of(answer.body[: 4 * TEXT_SHOWN_MAX]).strip()
    return f"HTTP {answer.status}: {' '.join(text.split())[:TEXT_SHOWN_MAX] or _phrase(answer.status)}"


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "no reason given"


def _envelope(body: bytes) -> _Envelope:
    if not body.startswith(b"{"):
        return _PLAIN
    try:
        return _ENVELOPE.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return _PLAIN


def _text(envelope: _Envelope) -> str:
    """The first of error, message and detail that says something; an object's own `message` counts."""
    for raw in (envelope.error, envelope.message, envelope.detail):
        match _value(raw):
            case str(text) if text.strip():
                return text.replace("\x00", "\ufffd")
            case {"message": str(text)} if text.strip():
                return text.replace("\x00", "\ufffd")
            case None | str():
                continue
            case _:
                return content.text_of(bytes(raw))
    return ""


def _code(envelope: _Envelope) -> str | None:
    match _value(envelope.code):
        case str(code) if code:
            return code.replace("\x00", "\ufffd")[:64]
        case int(code):
            return str(code)
        case _:
            return None


def _value(raw: msgspec.Raw) -> object:
    try:
        return _ANY.decode(raw) if raw else None
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None


def retry_after_ms(value: str | None, now: int) -> int | None:
    """Seconds or an HTTP date, as milliseconds from now, at most an hour; None when absent or not understood."""
    if value is None:
        return None
    text = value.strip()
    if text.isascii() and text.isdecimal():
        return min(int(text[:10]) * 1000, RETRY_AFTER_MS_MAX)
    try:
        at = parsedate_to_datetime(text)
        at_s = (at if at.tzinfo is not None else at.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None
    return max(0, min(round(at_s * 1000) - now, RETRY_AFTER_MS_MAX))
