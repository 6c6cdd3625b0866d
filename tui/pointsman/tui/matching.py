"""The filter language applied to what the cockpit has seen: as the archive applies it, but what is not known never matches."""

from collections.abc import Callable, Sequence

from pointsman.contracts.facets import facets_of, payload_facet
from pointsman.contracts.filter_meaning import begins, compares, contains, is_like
from pointsman.contracts.filters import KEYS, Kind, Term
from pointsman.tui.sighting import Sighting


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
            return any(begins(seen.id, value) for value in term.values)
        case Kind.COUNT | Kind.DURATION:
            number = NUMBERS[term.key](seen)
            return number is not None and any(compares(number, term.op, wanted) for wanted in term.numbers)
        case Kind.AGE:
            return seen.created_at >= now_ms - term.numbers[0]
        case Kind.MOMENT:
            at = term.numbers[0]
            return seen.created_at < at if term.key == "to" else seen.created_at >= at
        case Kind.PAIR | Kind.TEXT:
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


def _error(seen: Sighting, term: Term) -> bool:
    return any(_has_error(seen, value) if value else seen.error is not None for value in term.values)


def _has_error(seen: Sighting, value: str) -> bool:
    return seen.error_code == value or _says(seen, value)


def _text(seen: Sighting, term: Term) -> bool:
    (word,) = term.values
    return word in (seen.type, seen.server_id, seen.owner) or _says(seen, word) or begins(seen.id, word)


def _says(seen: Sighting, text: str) -> bool:
    return seen.error is not None and contains(seen.error, text)


def _label(seen: Sighting, term: Term) -> bool:
    pairs = (value.partition("=") for value in term.values)
    return any((seen.labels or {}).get(name) == text for name, _, text in pairs)


def _labels(seen: Sighting, term: Term) -> bool:
    return (seen.labels or {}).get(term.path) in term.values


def _payload(seen: Sighting, term: Term) -> bool:
    if seen.payload is None:
        return False
    wanted = {payload_facet(term.path, value) for value in term.values}
    return not wanted.isdisjoint(facets_of({}, seen.payload))


TEXTS: dict[str, Callable[[Sighting, Term], bool]] = {
    "label": _label,
    "error": _error,
    "text": _text,
    "labels": _labels,
    "payload": _payload,
}
