"""The filter language held against events instead of tasks: what an event says, and what is known of its task."""

import re
from functools import lru_cache

import msgspec

from pointsman.contracts.events import TaskEvent
from pointsman.contracts.filters import FilterError, Op, Term, parse

KEYS = ("id", "type", "status", "server", "owner", "pool", "error", "text", "try")
OF_THE_TASK = frozenset({"type", "owner", "pool", "text"})


class Known(msgspec.Struct, frozen=True):
    type: str | None
    pool: str | None
    owner: str | None


class Wishes(msgspec.Struct, frozen=True):
    terms: tuple[Term, ...]

    @property
    def needs_task(self) -> bool:
        return any(term.key in OF_THE_TASK for term in self.terms)

    def match(self, event: TaskEvent, known: Known | None) -> bool:
        known = known or Known(event.type, event.pool, event.owner)
        return all(_holds(term, event, known) != term.negated for term in self.terms)


def wishes(text: str) -> Wishes:
    """Raises FilterError, also for what events do not say."""
    terms = parse(text, "FILTER")
    for term in terms:
        if term.key not in KEYS:
            raise FilterError("FILTER", f"events do not say {term.key}; there are {', '.join(KEYS)}")
    return Wishes(terms)


def _holds(term: Term, event: TaskEvent, known: Known) -> bool:
    match term.key:
        case "try":
            return event.attempt is not None and any(_compared(event.attempt, term.op, one) for one in term.numbers)
        case "id":
            return any(event.task_id.startswith(one) for one in term.values)
        case "error":
            return any(_contains(event.error, one) for one in term.values)
        case "text":
            said = (event.error, known.type, event.server_id, known.owner, event.task_id)
            return any(_contains(one, value) for one in said for value in term.values)
    said_of = {"type": known.type, "status": event.status, "server": event.server_id}
    value = (said_of | {"owner": known.owner, "pool": known.pool})[term.key]
    return value is not None and any(_pattern(one).fullmatch(value) is not None for one in term.values)


def _compared(number: int, op: Op, bound: int) -> bool:
    match op:
        case Op.IS:
            return number == bound
        case Op.ABOVE:
            return number > bound
        case Op.FROM:
            return number >= bound
        case Op.BELOW:
            return number < bound
        case Op.UP_TO:
            return number <= bound


def _contains(said: str | None, wanted: str) -> bool:
    return said is not None and _pattern(f"*{wanted}*").fullmatch(said) is not None


@lru_cache(maxsize=256)
def _pattern(text: str) -> re.Pattern[str]:
    """`*` stands for any characters; case does not matter."""
    return re.compile(".*".join(re.escape(part) for part in text.split("*")), re.DOTALL | re.IGNORECASE)
