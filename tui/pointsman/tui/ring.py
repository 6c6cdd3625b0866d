"""The newest tasks that were seen, and which of them a tab and a filter show: kept up to date one sighting at a time."""

from collections import OrderedDict
from collections.abc import Sequence
from enum import StrEnum

from pointsman.contracts.filters import Term
from pointsman.contracts.frames import Flow
from pointsman.contracts.lifecycle import Status
from pointsman.tui.matching import matches
from pointsman.tui.sighting import Sighting, merged

HELD_MAX = 10_000


class Tab(StrEnum):
    ALL = "all"
    QUEUED = "queued"
    RUNNING = "running"
    DELAYED = "delayed"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


def is_on(tab: Tab, seen: Sighting) -> bool:
    match tab:
        case Tab.ALL:
            return True
        case Tab.QUEUED:
            return seen.status is Status.PENDING and not seen.is_delayed
        case Tab.RUNNING:
            return seen.status is Status.PROCESSING
        case Tab.DELAYED:
            return seen.is_delayed
        case Tab.DONE:
            return seen.status is Status.COMPLETED
        case Tab.FAILED:
            return seen.status in (Status.FAILED, Status.TIMEOUT)
        case Tab.CANCELLED:
            return seen.status is Status.CANCELLED


def count_of(tab: Tab, flow: Flow) -> int | None:
    """How many there are in the cluster now; None where only rates are told."""
    return {Tab.QUEUED: flow.pending, Tab.RUNNING: flow.running, Tab.DELAYED: flow.delayed}.get(tab)


class Ring:
    """`tab` and `terms` say what is shown. While paused the list stays as it is, whatever comes."""

    def __init__(self, held_max: int = HELD_MAX) -> None:
        self._held_max = held_max
        self._held: OrderedDict[str, Sighting] = OrderedDict()
        self._shown: OrderedDict[str, Sighting] = OrderedDict()
        self._ids: list[str] | None = None
        self._paused: tuple[dict[str, Sighting], list[str]] | None = None
        self.missed = 0
        self.tab = Tab.ALL
        self.terms: tuple[Term, ...] = ()

    def __len__(self) -> int:
        return len(self._held)

    @property
    def is_paused(self) -> bool:
        return self._paused is not None

    def take(self, seen: Sighting, now_ms: int) -> None:
        """One more sighting, of a new task or of one that is held; what was told last comes first."""
        leaves, known = seen.id, self._held.pop(seen.id, None)
        if known is not None:
            seen = merged(known, seen)
        elif len(self._held) >= self._held_max:
            leaves, _ = self._held.popitem(last=False)
        self._held[seen.id] = seen
        if self._shown.pop(leaves, None) is not None:
            self._ids = None
        if self._shows(seen, now_ms):
            self._shown[seen.id] = seen
            self.missed += 1
            self._ids = None

    def take_older(self, found: Sequence[Sighting], now_ms: int) -> None:
        """A page of history, newest first: behind all that is held, as far as there is room."""
        for seen in found:
            if seen.id in self._held:
                self._held[seen.id] = merged(self._held[seen.id], seen)
            elif len(self._held) < self._held_max:
                self._held[seen.id] = seen
                self._held.move_to_end(seen.id, last=False)
        self._sift(now_ms)

    def look_for(self, tab: Tab, terms: tuple[Term, ...], now_ms: int) -> None:
        """Show something else; that ends a pause."""
        self.tab, self.terms = tab, terms
        self.resume()
        self._sift(now_ms)

    def clear(self) -> None:
        self._held.clear()
        self._shown.clear()
        self._ids = None

    def pause(self) -> None:
        if self._paused is None:
            self._paused, self.missed = (dict(self._shown), self.ids()), 0

    def resume(self) -> None:
        self._paused, self.missed = None, 0

    def ids(self) -> list[str]:
        """The ids of what is shown, newest first; the same list until that changes."""
        if self._paused is not None:
            return self._paused[1]
        if self._ids is None:
            self._ids = list(reversed(self._shown))
        return self._ids

    def get(self, task_id: str) -> Sighting | None:
        """As it is shown."""
        return (self._shown if self._paused is None else self._paused[0]).get(task_id)

    def would_show(self, seen: Sighting, now_ms: int) -> bool:
        """Whether it changes what is shown."""
        known = self._held.get(seen.id)
        return seen.id in self._shown or self._shows(merged(known, seen) if known else seen, now_ms)

    def _shows(self, seen: Sighting, now_ms: int) -> bool:
        return is_on(self.tab, seen) and matches(seen, self.terms, now_ms)

    def _sift(self, now_ms: int) -> None:
        self._shown = OrderedDict((key, seen) for key, seen in self._held.items() if self._shows(seen, now_ms))
        self._ids = None
