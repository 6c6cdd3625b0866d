"""From the terms of a filter to a condition in SQL: pure. Values are always arguments, never part of the text."""

from collections.abc import Callable, Iterable, Sequence

import msgspec

from pointsman.contracts.errors import invalid
from pointsman.contracts.facets import clean, label_facet, payload_facet
from pointsman.contracts.filter_meaning import id_digits
from pointsman.contracts.filters import KEYS, Kind, Op, Term
from pointsman.contracts.ids import TASK_PREFIX
from pointsman.contracts.lifecycle import TERMINAL, Status
from pointsman.contracts.search import RANGE_DAYS_MAX
from pointsman.contracts.task import DAY_MS

OPEN = frozenset(Status) - TERMINAL
SKEW_MS = DAY_MS
ENDED = "ended"
"""The moment of a task's end, for acts on many; not a key of the language."""
COLUMNS = {"type": "type", "server": "server_id", "owner": "owner", "pool": "pool"}
MEASURES = {
    "try": "attempts",
    "priority": "priority",
    "wait": "CASE WHEN started_at IS NOT NULL THEN GREATEST(started_at - GREATEST(created_at, run_at), 0) END",
    ENDED: "finished_at",
    "ran": "CASE WHEN started_at IS NOT NULL THEN finished_at - started_at END",
}
LIVE_KEYS = frozenset({"server", "try"})
"""What of an open task only its lease knows."""

Condition = Callable[["Arguments", Term], str]


class Span(msgspec.Struct, frozen=True):
    """Creation in [start, end), ms since the epoch."""

    start: int
    end: int


class Arguments:
    """What the placeholders of a statement stand for."""

    def __init__(self) -> None:
        self.values: list[object] = []

    def add(self, value: object) -> str:
        self.values.append(value)
        return f"${len(self.values)}"


def span_of(terms: Iterable[Term], now_ms: int) -> Span:
    """The range of creation; without a start it is the last 90 days before the end. Raises 400 over 90 days."""
    starts: list[tuple[int, str]] = []
    ends: list[int] = []
    for term in terms:
        if KEYS.get(term.key) not in (Kind.AGE, Kind.MOMENT):
            continue
        at = now_ms - term.numbers[0] if term.key == "since" else term.numbers[0]
        if (term.key == "to") == term.negated:
            starts.append((at, term.key))
        else:
            ends.append(at)
    end = min(ends, default=now_ms + SKEW_MS)
    start, given = max(starts, default=(min(end, now_ms) - RANGE_DAYS_MAX * DAY_MS, "from"))
    if min(end, now_ms) - start > RANGE_DAYS_MAX * DAY_MS:
        raise invalid(given, f"the range may have at most {RANGE_DAYS_MAX} days")
    return Span(start, max(start, end))


def statuses_of(terms: Iterable[Term]) -> frozenset[Status]:
    """Those that a task may have."""
    allowed = frozenset(Status)
    for term in terms:
        if term.key == "status":
            named = frozenset(Status(value) for value in term.values)
            allowed = allowed - named if term.negated else allowed & named
    return allowed


def live_terms(terms: Sequence[Term]) -> tuple[Term, ...]:
    """Terms that say something of open tasks which only their leases know; none unless open ones alone are wanted."""
    return tuple(term for term in terms if term.key in LIVE_KEYS) if statuses_of(terms) <= OPEN else ()


def condition_of(terms: Sequence[Term], span: Span, owner: str | None, arguments: Arguments) -> str:
    """What the archive can tell: of open tasks it knows neither whether they run nor where."""
    live = live_terms(terms)
    parts = [f"created_at >= {arguments.add(span.start)}", f"created_at < {arguments.add(span.end)}"]
    if owner is not None:
        parts.append(f"owner = {arguments.add(clean(owner))}")
    parts += _status(statuses_of(terms), arguments)
    for term in terms:
        if term.key in CONDITIONS and term not in live:
            condition = CONDITIONS[term.key](arguments, term)
            parts.append(f"({condition}) IS NOT TRUE" if term.negated else f"({condition})")
    return " AND ".join(parts)


def _status(allowed: frozenset[Status], arguments: Arguments) -> list[str]:
    if allowed == frozenset(Status):
        return []
    ended = sorted(allowed & TERMINAL)
    parts = []
    if len(ended) == 1:
        parts.append(f"status = {arguments.add(ended[0].value)}")
    elif ended:
        parts.append(f"status = ANY({arguments.add([status.value for status in ended])}::text[])")
    if allowed & OPEN:
        parts.append("finished_at IS NULL")
    return [f"({' OR '.join(parts)})" if parts else "false"]


def _named(arguments: Arguments, term: Term) -> str:
    column = COLUMNS[term.key]
    return " OR ".join(
        f"{column} LIKE {arguments.add(like(value))}" if "*" in value else f"{column} = {arguments.add(value)}"
        for value in term.values
    )


def _measured(arguments: Arguments, term: Term) -> str:
    operator = "=" if term.op is Op.IS else term.op.value
    return " OR ".join(f"({MEASURES[term.key]}) {operator} {arguments.add(number)}" for number in term.numbers)


def _error(arguments: Arguments, term: Term) -> str:
    return " OR ".join(
        f"error ILIKE {contains} OR error_code = {arguments.add(value)}" if value else "error IS NOT NULL"
        for value in term.values
        for contains in [arguments.add(f"%{like(value)}%") if value else ""]
    )


def _text(arguments: Arguments, term: Term) -> str:
    (value,) = term.values
    word = arguments.add(value)
    known = [f"{column} = {word}" for column in COLUMNS.values() if column != "pool"]
    contains = f"error ILIKE {arguments.add(f'%{like(value)}%')}"
    return " OR ".join([*known, contains, *_begins(arguments, value)])


def _label(arguments: Arguments, term: Term) -> str:
    pairs = (value.partition("=") for value in term.values)
    return _any_facet(arguments, [label_facet(name, text) for name, _, text in pairs])


def _labels(arguments: Arguments, term: Term) -> str:
    return _any_facet(arguments, [label_facet(term.path, value) for value in term.values])


def _payload(arguments: Arguments, term: Term) -> str:
    return _any_facet(arguments, [payload_facet(term.path, value) for value in term.values])


def _any_facet(arguments: Arguments, facets: list[str]) -> str:
    return f"facets && {arguments.add(facets)}::text[]"


def _id(arguments: Arguments, term: Term) -> str:
    return " OR ".join(part for value in term.values for part in _begins(arguments, value)) or "false"


def _begins(arguments: Arguments, value: str) -> list[str]:
    """An id carries its time of creation first: what it begins with is a range of that."""
    digits = id_digits(value)
    if digits is None:
        return []
    first, last = (int(digits[:12].ljust(12, filler), 16) for filler in "0f")
    between = f"created_at BETWEEN {arguments.add(first)} AND {arguments.add(last)}"
    return [f"({between} AND id LIKE {arguments.add(f'{TASK_PREFIX}{digits}%'.replace('_', chr(92) + '_'))})"]


def like(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    return escaped.replace("*", "%")


CONDITIONS: dict[str, Condition] = {
    **dict.fromkeys(COLUMNS, _named),
    **dict.fromkeys(MEASURES, _measured),
    "error": _error,
    "text": _text,
    "label": _label,
    "labels": _labels,
    "payload": _payload,
    "id": _id,
}
