"""When the leader looks at a task again: it was to begin later, its attempt's time is up, or its own."""

from collections.abc import Mapping

from pointsman.contracts.record import CurrentAttempt
from pointsman.services.balancer.entry import Entry, State
from pointsman.services.balancer.waiting import Waiting
from pointsman.services.balancer.wheel import Wheel


class Due:
    """Over all live `entries`. Times in ms since the epoch."""

    def __init__(self, entries: Mapping[str, Entry]) -> None:
        self._entries = entries
        self._delayed = Waiting()
        self._attempts: Wheel[str] = Wheel()
        self._deadlines: Wheel[str] = Wheel()

    def lives(self, entry: Entry) -> None:
        self._deadlines.add(entry.deadline, entry.id)

    def is_over(self, entry: Entry) -> None:
        self._deadlines.discard(entry.deadline, entry.id)

    def is_delayed(self, entry: Entry) -> None:
        self._delayed.add(entry)

    def is_not_delayed(self, entry: Entry) -> None:
        if entry.place is self._delayed:
            self._delayed.forget(entry)

    def runs(self, entry: Entry, current: CurrentAttempt) -> None:
        self._attempts.add(current.deadline, entry.id)

    def runs_no_more(self, entry: Entry, current: CurrentAttempt) -> None:
        self._attempts.discard(current.deadline, entry.id)

    def begun(self, now: int) -> list[Entry]:
        """Delayed tasks whose time has come."""
        found = []
        while (first := self._delayed.first()) is not None and first[0] <= now:
            found.append(self._delayed.take())
        return found

    def next(self) -> int | None:
        """When the next delayed task begins; deadlines are looked at once a second."""
        first = self._delayed.first()
        return first[0] if first is not None else None

    def attempts_overdue(self, now: int) -> list[Entry]:
        """Running tasks whose attempt's deadline has passed."""
        overdue: dict[str, Entry] = {}
        for task_id in self._attempts.due(now):
            entry = self._entries.get(task_id)
            current = entry.lease.current if entry is not None and entry.lease else None
            if entry is None or entry.state is not State.RUNNING or current is None:
                continue
            if current.deadline > now:
                self._attempts.add(current.deadline, task_id)
            else:
                overdue[task_id] = entry
        return list(overdue.values())

    def tasks_overdue(self, now: int) -> list[Entry]:
        """Live tasks whose own deadline has passed."""
        due = dict.fromkeys(self._deadlines.due(now))
        return [e for i in due if (e := self._entries.get(i)) is not None and e.deadline <= now]

    def watch_again(self, entry: Entry, at: int) -> None:
        """Look at the deadlines of this entry again at `at`."""
        self._deadlines.add(max(at, entry.deadline), entry.id)
        if entry.lease is not None and entry.lease.current is not None:
            self._attempts.add(max(at, entry.lease.current.deadline), entry.id)

    def tidy(self, now: int) -> None:
        """A standby never asks what is overdue."""
        self._attempts.tidy(now)
        self._deadlines.tidy(now)
