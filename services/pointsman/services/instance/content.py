"""What a backend's body is as a stored result: JSON as it came when it is sound, else its text. Pure."""

import codecs
import re

import msgspec

from pointsman.contracts.base import NULL

DEPTH_MAX = 64
BOM = b"\xef\xbb\xbf"

_CHARSET = re.compile(r";\s*charset\s*=\s*\"?([A-Za-z0-9._:+-]{1,40})", re.IGNORECASE)
_LEGACY = re.compile(
    r"iso8859-\d+|cp125\d|cp(866|874|932|949|950)|koi8-[ru]|utf-(16|32)(-[lb]e)?"
    r"|shift_jis|euc_(jp|kr)|iso2022_jp|gb(2312|k|18030)|big5|mac-roman"
)
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


def charset_of(content_type: str) -> str:
    """The codec of a body that says it is not in UTF-8; empty when it is, or when the name is none we know."""
    if "charset" not in content_type.lower():
        return ""
    found = _CHARSET.search(content_type)
    try:
        name = codecs.lookup(found[1]).name if found else ""
    except LookupError:
        return ""
    return name if _LEGACY.fullmatch(name) else ""


def in_utf8(body: bytes, charset: str) -> bytes:
    return body.decode(charset, "replace").encode()


def text_of(body: bytes) -> str:
    return body.decode("utf-8", "replace").replace("\x00", "\ufffd")
