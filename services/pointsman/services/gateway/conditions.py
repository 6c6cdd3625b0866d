"""Headers that make a request conditional: entity tags, preferences, idempotency keys."""

import re
from collections.abc import Mapping

from pointsman.contracts.errors import invalid
from pointsman.contracts.subjects import HEADER_OPERATION
from pointsman.contracts.task import WAIT_S_MAX

_WAIT = re.compile(r"(?:^|[,;])\s*wait\s*=\s*\"?(\d{1,9})\"?\s*(?=$|[,;])", re.IGNORECASE)
_TAG = re.compile(r'(?:W/)?"([\x21\x23-\x7e]*)"')
_IF_MATCH = re.compile(r'"?(\d{1,18})"?')
_KEY = re.compile(r"[!-~]{1,255}")


def wait_s(headers: Mapping[bytes, bytes]) -> int | None:
    """Seconds of `Prefer: wait=n`, at most 30; a malformed preference is ignored (RFC 7240 §2)."""
    given = headers.get(b"prefer")
    if given is None:
        return None
    found = _WAIT.search(given.decode("latin-1"))
    return min(int(found[1]), WAIT_S_MAX) if found else None


def is_fresh(headers: Mapping[bytes, bytes], revision: str) -> bool:
    """Whether the client has this revision already (`If-None-Match`, weak comparison)."""
    given = headers.get(b"if-none-match")
    if given is None or not revision:
        return False
    text = given.decode("latin-1").strip()
    return text == "*" or revision in _TAG.findall(text)


def if_match(headers: Mapping[bytes, bytes]) -> int | None:
    """The revision of `If-Match`; 400 when it is not one."""
    given = headers.get(b"if-match")
    if given is None:
        return None
    found = _IF_MATCH.fullmatch(given.decode("latin-1").strip())
    if found is None:
        raise invalid("If-Match", "must be the revision from an ETag")
    return int(found[1])


def idempotency_key(headers: Mapping[bytes, bytes]) -> str | None:
    """The key, without the quotes it may stand in; 400 when malformed."""
    given = headers.get(b"idempotency-key")
    if given is None:
        return None
    key = given.decode("latin-1").strip()
    if len(key) > 2 and key.startswith('"') and key.endswith('"'):
        key = key[1:-1]
    if not _KEY.fullmatch(key):
        raise invalid("Idempotency-Key", "must be 1-255 visible ASCII characters")
    return key


def operation(headers: Mapping[bytes, bytes]) -> dict[str, str] | None:
    """The key as the name of an act, for the service that does it."""
    key = idempotency_key(headers)
    return {HEADER_OPERATION: key} if key else None


def etag(revision: str) -> bytes:
    return b'"%b"' % revision.encode("latin-1")
