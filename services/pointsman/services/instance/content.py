"""What a backend's body is as a stored result: JSON as it came when it is sound, else its text. Pure."""

import re

import msgspec

from pointsman.contracts.base import NULL

DEPTH_MAX = 64
BOM = b"\xef\xbb\xbf"

_STRING = re.compile(rb'"(?:[^"\\]|\\.)*"', re.DOTALL)
_NUL_ESCAPE = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")
_TO_SQUARE = bytes.maketrans(b"{}", b"[]")
_NOT_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
_ANY = msgspec.json.Decoder()
_ENCODER = msgspec.json.Encoder()


def result_of(body: bytes) -> msgspec.Raw:
    """Null for an empty body, sound JSON unchanged, anything else as a JSON string."""
    body = body.removeprefix(BOM).strip()
    if not body:
        return NULL
    return msgspec.Raw(body) if is_sound_json(body) else msgspec.Raw(_ENCODER.encode(text_of(body)))


def is_sound_json(body: bytes) -> bool:
    """UTF-8, valid JSON, no NUL, at most 64 levels: what every store and reader of ours takes."""
    if not is_shallow(body) or _NUL_ESCAPE.search(body):
        return False
    try:
        _ANY.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return False
    return True


def is_shallow(body: bytes) -> bool:
    """Whether brackets nest at most 64 deep; each pass takes the innermost pairs away."""
    if body.count(b"[") + body.count(b"{") <= DEPTH_MAX:
        return True
    brackets = _STRING.sub(b"", body).translate(_TO_SQUARE, _NOT_BRACKETS)
    for _ in range(DEPTH_MAX):
        brackets = brackets.replace(b"[]", b"")
        if not brackets:
            return True
    return False


def text_of(body: bytes) -> str:
    return body.decode("utf-8", "replace").replace("\x00", "\ufffd")
