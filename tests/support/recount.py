"""Statistics as somebody would count them by hand, row by row, from what the archive's tables hold."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import asyncpg
import pytest

from pointsman.services.statistics.sketch import Spread
from pointsman.services.statistics.spans import Range
from pointsman.services.statistics.tally import Counted, Ended, Served

ACCURACY = 0.01 + 1e-9
SHARES = (0.5, 0.95, 0.99)


@dataclass(frozen=True)
class Tables:
    tasks: Sequence[asyncpg.Record]
    attempts: Sequence[asyncpg.Record]

    def counted(self, span: Range, is_wanted: Callable[[asyncpg.Record], bool] = lambda _row: True) -> Counted:
        tasks = [row for row in self.tasks if is_wanted(row)]
        ended = [row for row in tasks if within(row["finished_at"], span)]
        ran = [max(0, row["finished_at"] - row["started_at"]) for row in ended if row["started_at"] is not None]
        waited = [
            max(0, row["started_at"] - max(row["created_at"], row["run_at"] or 0))
            for row in ended
            if row["started_at"] is not None and row["generation"] == 1
        ]
        of_status = {status: sum(row["status"] == status for row in ended) for status in {r["status"] for r in ended}}
        return Counted(
            created=sum(within(row["created_at"], span) for row in tasks),
            ended=Ended(
                successful=of_status.get("COMPLETED", 0),
                failed=of_status.get("FAILED", 0),
                timed_out=of_status.get("TIMEOUT", 0),
                cancelled=of_status.get("CANCELLED", 0),
                retried=sum(row["attempts"] > 1 or row["generation"] > 1 for row in ended),
                run=spread(ran),
                wait=spread(waited),
            ),
        )

    def types(self, span: Range) -> dict[str, Counted]:
        names = {row["type"] for row in self.tasks}
        found = {name: self.counted(span, lambda row, name=name: row["type"] == name) for name in names}
        return {name: counted for name, counted in found.items() if counted.size}

    def served(self, span: Range) -> dict[str, Served]:
        rows = [
            row
            for row in self.attempts
            if within(row["finished_at"], span) and row["outcome"] in ("succeeded", "failed", "timed-out")
        ]
        return {name: _served(name, [row for row in rows if row["server_id"] == name]) for name in names_of(rows)}


async def tables(database: "asyncpg.Pool[asyncpg.Record]") -> Tables:
    return Tables(await database.fetch("SELECT * FROM tasks"), await database.fetch("SELECT * FROM attempts"))


def names_of(rows: Iterable[asyncpg.Record]) -> set[str]:
    return {row["server_id"] for row in rows}


def _served(name: str, rows: Sequence[asyncpg.Record]) -> Served:
    successes = sum(row["outcome"] == "succeeded" for row in rows)
    ran = [max(0, row["finished_at"] - row["started_at"]) for row in rows]
    return Served(server_id=name, successes=successes, failures=len(rows) - successes, run=spread(ran))


def within(at: int | None, span: Range) -> bool:
    return at is not None and span.start <= at < span.end


def spread(values: Sequence[float]) -> Spread:
    mean = sum(values) / len(values) if values else None
    p50, p95, p99 = (percentile(values, share) for share in SHARES)
    return Spread(mean=mean, p50=p50, p95=p95, p99=p99)


def percentile(values: Sequence[float], share: float) -> float | None:
    """Linear interpolation between the closest ranks, as SQL's percentile_cont."""
    if not values:
        return None
    ranked = sorted(values)
    place = share * (len(ranked) - 1)
    low = int(place)
    high = min(low + 1, len(ranked) - 1)
    return ranked[low] + (ranked[high] - ranked[low]) * (place - low)


def near(value: float | None, rel: float = ACCURACY) -> object:
    """What a percentile of a sketch equals."""
    return None if value is None else pytest.approx(value, rel=rel)


def same_spread(seen: Spread, counted: Spread) -> None:
    assert seen.mean == near(counted.mean, rel=1e-12)
    for name in ("p50", "p95", "p99"):
        assert getattr(seen, name) == near(getattr(counted, name)), name


def same_counts(seen: Counted, counted: Counted) -> None:
    """Counts and means to the last task, percentiles within 1 %."""
    assert seen.created == counted.created
    for name in ("successful", "failed", "timed_out", "cancelled", "retried"):
        assert getattr(seen.ended, name) == getattr(counted.ended, name), name
    same_spread(seen.ended.run, counted.ended.run)
    same_spread(seen.ended.wait, counted.ended.wait)


def same_served(seen: Served, counted: Served) -> None:
    assert (seen.successes, seen.failures) == (counted.successes, counted.failures)
    same_spread(seen.run, counted.run)
