"""Lines of a task file: each a request, or why it is none, with the key that makes its repetition harmless."""

import codecs
import hashlib
from collections.abc import Iterator
from typing import IO

import msgspec

from pointsman.contracts.errors import PointsmanError, from_validation
from pointsman.contracts.task import PAYLOAD_BYTES_MAX, TaskRequest

LINE_BYTES_MAX = PAYLOAD_BYTES_MAX + (64 << 10)
KEY_FIELD, KEY_HEADER = "idempotencyKey", "Idempotency-Key"
KEY_LENGTH_MAX = 255


class Refusal(msgspec.Struct, frozen=True):
    field: str
    message: str


class Line(msgspec.Struct, frozen=True):
    """`number` counts from 1; `end` is the offset behind it."""

    number: int
    end: int
    request: TaskRequest | Refusal
    key: str = ""


_FIELDS = msgspec.json.Decoder(dict[str, msgspec.Raw])
_REQUEST = msgspec.json.Decoder(TaskRequest, strict=True)
_KEY = msgspec.json.Decoder(str)


def read(stream: IO[bytes], number: int, offset: int) -> Iterator[Line]:
    """Each line that is not blank, from a stream that stands behind line `number`; memory holds one."""
    while data := stream.readline(LINE_BYTES_MAX + 1):
        number += 1
        offset += len(data)
        if number == 1:
            data = data.removeprefix(codecs.BOM_UTF8)
        if len(data) > LINE_BYTES_MAX:
            while not data.endswith(b"\n") and (data := stream.readline(1 << 20)):
                offset += len(data)
            yield Line(number, offset, Refusal("line", f"longer than {LINE_BYTES_MAX:,} bytes"))
        elif stripped := data.strip():
            request, key = parsed(stripped, number)
            yield Line(number, offset, request, key)


def parsed(data: bytes, number: int) -> tuple[TaskRequest | Refusal, str]:
    try:
        fields = _FIELDS.decode(data)
        given = fields.pop(KEY_FIELD, None)
        request = _REQUEST.decode(msgspec.json.encode(fields))
    except (msgspec.ValidationError, msgspec.DecodeError) as error:
        return refusal_of(from_validation(error)), ""
    key = derived_key(data, number) if given is None else _key(given)
    if key is None:
        return Refusal(KEY_FIELD, f"must be 1-{KEY_LENGTH_MAX} visible ASCII characters"), ""
    return request, key


def _key(given: msgspec.Raw) -> str | None:
    try:
        key = _KEY.decode(given)
    except (msgspec.ValidationError, msgspec.DecodeError):
        return None
    return key if 0 < len(key) <= KEY_LENGTH_MAX and all("!" <= one <= "~" for one in key) else None


def derived_key(data: bytes, number: int) -> str:
    """The same line at the same place is the same task; the same line elsewhere is another."""
    return f"line-{number}-{hashlib.sha256(data).hexdigest()[:32]}"


def refusal_of(error: PointsmanError) -> Refusal:
    if error.errors:
        field = error.errors[0].field
        return Refusal(KEY_FIELD if field == KEY_HEADER else field, error.errors[0].message)
    return Refusal("line", error.detail)
