"""The filter language held against events instead of tasks: what an event says, and what is known of its task."""

import msgspec

from pointsman.contracts.events import TaskEvent
from pointsman.contracts.filters import FilterError, Term, parse
from pointsman.tui.matching import matches
from pointsman.tui.sighting import Sighting

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
        return matches(_seen(event, known), self.terms, event.at)


def wishes(text: str) -> Wishes:
    """Raises FilterError, also for what events do not say."""
    terms = parse(text, "FILTER")
    for term in terms:
        if term.key not in KEYS:
            raise FilterError("FILTER", f"events do not say {term.key}; there are {', '.join(KEYS)}")
    return Wishes(terms)


def _seen(event: TaskEvent, known: Known) -> Sighting:
    return Sighting(
        id=event.task_id,
        at=event.at,
        status=event.status,
        generation=event.generation,
        type=known.type,
        pool=known.pool,
        owner=known.owner,
        attempt=event.attempt,
        server_id=event.server_id,
        error=event.error,
    )
