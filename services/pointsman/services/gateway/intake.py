"""What may come in: identifiers, content types, bodies and query parameters, refused here when malformed."""

import asyncio
import itertools
import re
import secrets
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import parse_qsl, unquote_to_bytes

import msgspec
from litestar import Request
from litestar.exceptions import ClientException, InternalServerException
from litestar.types import HTTPScope

from pointsman.contracts.errors import PointsmanError, from_validation, invalid, not_found, too_large
from pointsman.contracts.ids import JOB_ID, SERVER_ID, TASK_ID
from pointsman.services.gateway.route import Id, Route

QUERY_BYTES_MAX = 8192
QUERY_FIELDS_MAX = 32
BODY_S = 60.0
DISCARD_BYTES_MAX, DISCARD_S = 8 * 1024 * 1024, 2.0
_ID_FORMS = {
    Id.TASK: TASK_ID,
    Id.SERVER: SERVER_ID,
    Id.JOB: JOB_ID,
    Id.POOL: SERVER_ID,
    Id.TYPE: re.compile(r"[a-z0-9][a-z0-9._-]{0,63}"),
    Id.LIMITED: re.compile(r"[^\0]{1,128}", re.DOTALL),
}
_JSON_TYPE = re.compile(r"application/(?:json|[a-z0-9.!#$&^_+-]+\+json)(?:\s*;\s*charset=\"?utf-8\"?)?", re.IGNORECASE)
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")
_RAW = msgspec.json.Decoder(msgspec.Raw)
_LISTS = frozenset({b"prefer", b"if-none-match", b"if-match"})
_NO_PREFIX = ("\0",)
_STEM = secrets.token_hex(6)
_COUNT = itertools.count(1)


def request_id(headers: Mapping[bytes, bytes]) -> str:
    """The caller's own if it is well-formed, else a new one."""
    given = headers.get(b"x-request-id", b"").decode("latin-1")
    return given if given and _REQUEST_ID.fullmatch(given) else f"{_STEM}-{next(_COUNT):x}"


def headers_of(pairs: Iterable[tuple[bytes, bytes]]) -> dict[bytes, bytes]:
    """Headers by name; those that are lists may come in several lines (RFC 9110 §5.3), of others the last counts."""
    found: dict[bytes, bytes] = {}
    for name, value in pairs:
        found[name] = found[name] + b", " + value if name in _LISTS and name in found else value
    return found


def named_in(route: Route, scope: HTTPScope) -> str:
    """What stands for `{id}` in the path. A name that may hold any character, a slash too, is read as it came."""
    if route.id is not Id.LIMITED:
        return str(scope["path_params"].get("id", ""))
    segment = scope["raw_path"].partition(b"?")[0].rpartition(b"/")[2]
    try:
        return unquote_to_bytes(segment).decode()
    except UnicodeDecodeError:
        raise invalid("name", "not UTF-8") from None


def path_id(route: Route, value: str) -> str:
    """The `{id}` of the path; what cannot be an id names nothing, so 404."""
    if route.id is None:
        return ""
    if not _ID_FORMS[route.id].fullmatch(value):
        raise not_found(f"no {route.id.value} has this id")
    return value


def query_of(route: Route, raw: bytes) -> dict[str, str]:
    """Query parameters by name; 400 that names an unknown, duplicate or malformed one."""
    if not raw:
        return {}
    if len(raw) > QUERY_BYTES_MAX:
        raise PointsmanError(400, f"the query is longer than {QUERY_BYTES_MAX} bytes", slug="invalid-request")
    if raw.count(b"&") >= QUERY_FIELDS_MAX:
        raise invalid("query", f"more than {QUERY_FIELDS_MAX} parameters")
    try:
        pairs = parse_qsl(raw.decode("ascii"), keep_blank_values=True, strict_parsing=True, errors="strict")
    except ValueError:
        raise invalid("query", "malformed, or not UTF-8") from None
    found: dict[str, str] = {}
    for name, value in pairs:
        if name not in route.query_names and not name.startswith(route.query_prefixes or _NO_PREFIX):
            raise invalid(name[:64], f"unknown query parameter; {_existing(route)}")
        if name in found:
            raise invalid(name, "given twice")
        found[name] = value
    return found


def decoded_query(route: Route, query: dict[str, str]) -> msgspec.Struct | None:
    if route.query is None:
        return None
    listed = {name: value for name, value in query.items() if name in route.query_names}
    try:
        return msgspec.convert(listed, route.query, strict=False)
    except msgspec.ValidationError as error:
        raise from_validation(error) from None


def _existing(route: Route) -> str:
    names = [*sorted(route.query_names), *(f"{prefix}NAME" for prefix in route.query_prefixes)]
    return f"there are {', '.join(names)}" if names else "this route takes none"


async def body_of(route: Route, request: Request[Any, Any, Any], headers: Mapping[bytes, bytes]) -> bytes:
    """The body of a route that takes one: JSON, UTF-8, within its limit; 400, 413 or 415 otherwise."""
    if route.request is None:
        return b""
    try:
        async with asyncio.timeout(BODY_S):
            body = await request.body()
    except TimeoutError:
        raise PointsmanError(408, f"the body did not come within {BODY_S:g} s") from None
    except InternalServerException:
        raise PointsmanError(400, "the body ended early", slug="invalid-request") from None
    except ClientException as error:
        if error.status_code == 413:
            await _discarded(request)
            raise too_large("body", route.body_bytes_max) from None
        raise PointsmanError(error.status_code, error.detail, slug="invalid-request") from None
    if not body:
        if route.body_optional:
            return b"{}"
        raise invalid("body", "empty, a JSON object is expected")
    _check_type(headers)
    if not body.isascii():
        _check_utf8(body)
    return body


def one_json_value(body: bytes) -> bytes:
    """The body, once it is sure that it can stand inside another JSON object."""
    try:
        _RAW.decode(body)
    except msgspec.DecodeError as error:
        raise from_validation(error) from None
    except RecursionError:
        raise invalid("body", "is nested too deeply") from None
    return body


def _check_type(headers: Mapping[bytes, bytes]) -> None:
    coding = headers.get(b"content-encoding", b"identity").decode("latin-1").strip().lower()
    if coding != "identity":
        raise PointsmanError(415, f"the content encoding must be identity, not {coding[:64]}")
    given = headers.get(b"content-type", b"").decode("latin-1").strip()
    if not _JSON_TYPE.fullmatch(given):
        shown = f"not {given[:64]}" if given else "none was given"
        raise PointsmanError(415, f"the content type must be application/json, {shown}")


def _check_utf8(body: bytes) -> None:
    try:
        body.decode()
    except UnicodeDecodeError as error:
        raise invalid("body", f"not UTF-8 (byte {error.start})") from None


async def discard(request: Request[Any, Any, Any], headers: Mapping[bytes, bytes]) -> None:
    """Of a request refused by its head: a client that sends its body at once shall see the answer too."""
    has_body = headers.get(b"content-length", b"0") != b"0" or b"transfer-encoding" in headers
    if has_body and b"expect" not in headers:
        await _discarded(request)


async def _discarded(request: Request[Any, Any, Any]) -> None:
    """Read on for a while: a client that is cut off while it sends would see a reset instead of the answer."""
    discarded = 0
    try:
        async with asyncio.timeout(DISCARD_S):
            while discarded < DISCARD_BYTES_MAX:
                message = await request.receive()
                if message["type"] != "http.request" or not message.get("more_body"):
                    return
                discarded += len(message["body"])
    except TimeoutError:
        return
