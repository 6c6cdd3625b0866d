"""What may come next in a filter: keys, then values that have been seen. Pure."""

from collections.abc import Iterable, Mapping

from pointsman.contracts.filters import KEYS, PATHS, STATUS_WORDS
from pointsman.contracts.lifecycle import Status

STATES = (*(status.lower() for status in Status), *(word.lower() for word in STATUS_WORDS))
TIMES = ("15m", "1h", "24h", "7d")


def suggestion(text: str, seen: Mapping[str, Iterable[str]]) -> str | None:
    """The text with its last word completed; `seen` has values by key, for type, server, owner and pool."""
    start = text.rfind(" ") + 1
    word = text[start:]
    sign = word[:1] if word[:1] in ("-", "!") else ""
    body = word[len(sign) :]
    if not body:
        return None
    key, colon, value = body.partition(":")
    if not colon:
        names = [*(f"{name}." if name in PATHS else f"{name}:" for name in KEYS if name != "text"), "state:"]
        found = _first(body, names)
    else:
        last = value.rpartition(",")[2]
        known = _first(last, _values(key, seen))
        found = None if known is None else f"{body[: len(body) - len(last)]}{known}"
    return None if found is None else f"{text[:start]}{sign}{found}"


def _values(key: str, seen: Mapping[str, Iterable[str]]) -> Iterable[str]:
    match key:
        case "status" | "state":
            return STATES
        case "since":
            return TIMES
        case _:
            return seen.get(key, ())


def _first(begin: str, among: Iterable[str]) -> str | None:
    return min((one for one in among if one.startswith(begin) and one != begin), default=None)
