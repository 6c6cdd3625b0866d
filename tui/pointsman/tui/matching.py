"""The filter language applied to what the cockpit has seen: as the archive applies it, but what is not known never matches."""

from collections.abc import Callable, Iterator, Sequence

import msgspec

from pointsman.contracts.filters import KEYS, Kind, Op, Term
from pointsman.contracts.ids import TASK_PREFIX
from pointsman.tui.sighting import Sighting

DEPTH_MAX = 16

type Json = dict[str, Json] | list[Json] | str | int | float | bool | None


def matches(seen: Sighting, terms: Sequence[Term], now_ms: int) -> bool:
    """Whether all terms hold."""
    return all(_holds(seen, term, now_ms) != term.negated for term in terms)


def _holds(seen: Sighting, term: Term, now_ms: int) -> bool:
    match KEYS[term.key]:
        case Kind.STATUS:
            return seen.status in term.values
        case Kind.NAME:
            return _is_like(NAMES[term.key](seen), term.values)
        case Kind.PREFIX:
            return any(_begins(seen.id, value) for value in term.values)
        case Kind.COUNT | Kind.DURATION:
            number = NUMBERS[term.key](seen)
            return number is not None and any(_compares(number, term.op, wanted) for wanted in term.numbers)
        case Kind.AGE:
            return seen.created_at >= now_ms - term.numbers[0]
        case Kind.MOMENT:
            at = term.numbers[0]
            return seen.created_at < at if term.key == "to" else seen.created_at >= at
        case Kind.PAIR:
            pairs = (value.partition("=") for value in term.values)
            return any((seen.labels or {}).get(name) == value for name, _, value in pairs)
        case Kind.TEXT:
            return TEXTS[term.key](seen, term)


NAMES: dict[str, Callable[[Sighting], str | None]] = {
    "type": lambda seen: seen.type,
    "server": lambda seen: seen.server_id,
    "owner": lambda seen: seen.owner,
    "pool": lambda seen: seen.pool,
}
NUMBERS: dict[str, Callable[[Sighting], int | None]] = {
    "try": lambda seen: seen.attempt,
    "priority": lambda seen: seen.priority,
    "wait": lambda seen: seen.waited_ms,
    "ran": lambda seen: seen.ran_ms,
}


def _is_like(name: str | None, patterns: Sequence[str]) -> bool:
    return name is not None and any(is_like(name, pattern) for pattern in patterns)


def is_like(text: str, pattern: str) -> bool:
    """`*` stands for any characters; linear in the length of the text."""
    first, *others = pattern.split("*")
    if not others:
        return text == pattern
    if not text.startswith(first):
        return False
    at = len(first)
    for part in others[:-1]:
        at = text.find(part, at)
        if at < 0:
            return False
        at += len(part)
    return text.endswith(others[-1]) and len(text) - len(others[-1]) >= at


def _begins(task_id: str, value: str) -> bool:
    return task_id.removeprefix(TASK_PREFIX).startswith(value.lower().removeprefix(TASK_PREFIX))


def _compares(value: int, op: Op, wanted: int) -> bool:
    match op:
        case Op.IS:
            return value == wanted
        case Op.ABOVE:
            return value > wanted
        case Op.FROM:
            return value >= wanted
        case Op.BELOW:
            return value < wanted
        case Op.UP_TO:
            return value <= wanted


def _error(seen: Sighting, term: Term) -> bool:
    return any(_has_error(seen, value) if value else bool(seen.error) for value in term.values)


def _has_error(seen: Sighting, value: str) -> bool:
    return seen.error_code == value or is_like((seen.error or "").lower(), f"*{value.lower()}*")


def _text(seen: Sighting, term: Term) -> bool:
    (word,) = term.values
    return word in (seen.type, seen.server_id, seen.owner) or _has_text(seen, word) or _begins(seen.id, word)


def _has_text(seen: Sighting, word: str) -> bool:
    return bool(word) and is_like((seen.error or "").lower(), f"*{word.lower()}*")


def _labels(seen: Sighting, term: Term) -> bool:
    return (seen.labels or {}).get(term.path) in term.values


def _payload(seen: Sighting, term: Term) -> bool:
    if seen.payload is None:
        return False
    try:
        value: Json = msgspec.json.decode(seen.payload)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return False
    return any(path == term.path and text in term.values for path, text in _leaves(value, "", 0))


def _leaves(value: Json, path: str, depth: int) -> Iterator[tuple[str, str]]:
    """Paths with dots, and each value as text: `true`, `42`, `null`; members of lists have their list's path."""
    match value:
        case dict() if depth < DEPTH_MAX:
            for name, inner in value.items():
                yield from _leaves(inner, f"{path}.{name}" if path else name, depth + 1)
        case list() if depth < DEPTH_MAX:
            for inner in value:
                yield from _leaves(inner, path, depth + 1)
        case str():
            yield path, value
        case bool() | int() | float() | None:
            yield path, msgspec.json.encode(value).decode()
        case _:
            return


TEXTS: dict[str, Callable[[Sighting, Term], bool]] = {
    "error": _error,
    "text": _text,
    "labels": _labels,
    "payload": _payload,
}
