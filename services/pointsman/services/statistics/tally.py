"""Counts and sketches put together from rollups and what is not in them yet: pure."""

from collections.abc import Callable, Iterable

import msgspec

from pointsman.services.statistics.sketch import Sketch, Spread


class Row(msgspec.Struct, frozen=True):
    """A rollup, or what a rollup would be of what is not in one: in the order of the columns that are read."""

    name: str
    at: int
    created: int
    completed: int
    failed: int
    timed_out: int
    cancelled: int
    retried: int
    ran_ms: int
    waited_ms: int
    ran_buckets: list[int] = []
    ran_counts: list[int] = []
    waited_buckets: list[int] = []
    waited_counts: list[int] = []


class Ended(msgspec.Struct, frozen=True, kw_only=True):
    """Tasks that ended in a range or hour. `retried` needed more than one attempt, or a retry by hand."""

    successful: int = 0
    failed: int = 0
    timed_out: int = 0
    cancelled: int = 0
    retried: int = 0
    run: Spread = Spread()
    wait: Spread = Spread()

    @property
    def total(self) -> int:
        return self.successful + self.failed + self.timed_out + self.cancelled


class Counted(msgspec.Struct, frozen=True, kw_only=True):
    """Tasks created and tasks ended in a range, an hour or of a type."""

    created: int = 0
    ended: Ended = Ended()

    @property
    def size(self) -> int:
        """What lists are ordered by."""
        return self.created + self.ended.total


class Served(msgspec.Struct, frozen=True, kw_only=True):
    """Attempts that a server ended in a range. Lost and cancelled ones say nothing of it and are in neither count."""

    server_id: str
    successes: int = 0
    failures: int = 0
    run: Spread = Spread()

    @property
    def processed(self) -> int:
        return self.successes + self.failures


class Tally:
    """A sum of rows."""

    def __init__(self) -> None:
        self.created = self.completed = self.failed = self.timed_out = self.cancelled = self.retried = 0
        self.ran, self.waited = Sketch(), Sketch()

    def add(self, row: Row) -> None:
        self.created += row.created
        self.completed += row.completed
        self.failed += row.failed
        self.timed_out += row.timed_out
        self.cancelled += row.cancelled
        self.retried += row.retried
        self.ran.add(row.ran_buckets, row.ran_counts, row.ran_ms)
        self.waited.add(row.waited_buckets, row.waited_counts, row.waited_ms)

    def counted(self) -> Counted:
        return Counted(
            created=self.created,
            ended=Ended(
                successful=self.completed,
                failed=self.failed,
                timed_out=self.timed_out,
                cancelled=self.cancelled,
                retried=self.retried,
                run=self.ran.spread(),
                wait=self.waited.spread(),
            ),
        )

    def served(self, server_id: str) -> Served:
        return Served(
            server_id=server_id,
            successes=self.completed,
            failures=self.failed + self.timed_out,
            run=self.ran.spread(),
        )


def tallied[K](rows: Iterable[Row], key: Callable[[Row], K]) -> dict[K, Tally]:
    """Sums of rows by whatever they are grouped by."""
    found: dict[K, Tally] = {}
    for row in rows:
        found.setdefault(key(row), Tally()).add(row)
    return found
