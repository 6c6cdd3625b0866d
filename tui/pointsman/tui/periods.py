"""Hours and days of statistics as rows of a table, as a chart and as files. Pure."""

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime, timedelta, tzinfo

import msgspec

from pointsman.contracts.statistics import HourlyStatistics, HourStatistics, TaskStatistics
from pointsman.tui.format import UNKNOWN, duration, number, percent
from pointsman.tui.looks import Role

HOUR_MS, DAY_MS = 3_600_000, 86_400_000
HOURS = 48
DAYS = 14
Cell = str | tuple[str, Role]


@dataclass(frozen=True, slots=True)
class Period:
    """An hour or a day from `at` on; `before` is what was done in the same time 24 hours earlier. Times in ms."""

    at: int
    is_running: bool
    submitted: int
    done: int
    failed: int
    retries: int
    wait_p50: float | None
    wait_p95: float | None
    run_p50: float | None
    run_p95: float | None
    before: int | None

    @property
    def fail_part(self) -> float | None:
        ended = self.done + self.failed
        return self.failed / ended if ended else None

    @property
    def change(self) -> float | None:
        """Against the day before; None where there was nothing."""
        return self.done / self.before - 1 if self.before else None


def dates_of(now_ms: int, days: int) -> list[str]:
    """The last UTC days, today first."""
    today = datetime.fromtimestamp(now_ms / 1000, UTC).date()
    return [(today - timedelta(days=back)).isoformat() for back in range(days)]


def hours_of(told: HourlyStatistics, now_ms: int) -> list[Period]:
    """Those that have begun, the newest first."""
    start = start_of(told.date)
    rows = [_hour(one, start + one.hour * HOUR_MS, now_ms) for one in told.hourly_breakdown]
    return [row for row in reversed(rows) if row.at <= now_ms]


def start_of(day: str) -> int:
    return int(datetime.combine(date.fromisoformat(day), datetime.min.time(), UTC).timestamp() * 1000)


def _hour(one: HourStatistics, at: int, now_ms: int) -> Period:
    return Period(
        at=at,
        is_running=at <= now_ms < at + HOUR_MS,
        submitted=one.created,
        done=one.successful,
        failed=one.failed,
        retries=one.retried,
        wait_p50=one.wait_p50,
        wait_p95=one.wait_p95,
        run_p50=one.p50,
        run_p95=one.p95,
        before=one.vs.successful if one.vs else None,
    )


def day_of(day: str, told: TaskStatistics, now_ms: int) -> Period:
    at = start_of(day)
    return Period(
        at=at,
        is_running=at <= now_ms < at + DAY_MS,
        submitted=told.total_tasks,
        done=told.successful_tasks,
        failed=told.failed_tasks + told.timeout_tasks,
        retries=told.retried_tasks,
        wait_p50=told.wait_p50,
        wait_p95=told.wait_p95,
        run_p50=told.p50,
        run_p95=told.p95,
        before=told.vs.successful if told.vs else None,
    )


def label_of(period: Period, zone: tzinfo | None, *, by_day: bool, now_ms: int) -> str:
    """14:00  now; of other days 11-28 14:00."""
    at = datetime.fromtimestamp(period.at / 1000, UTC if by_day else zone)
    if by_day:
        return f"{at:%Y-%m-%d}" + (" now" if period.is_running else "")
    today = datetime.fromtimestamp(now_ms / 1000, zone).date()
    shown = f"{at:%H:%M}" if at.date() == today else f"{at:%m-%d %H:%M}"
    return f"{shown}  now" if period.is_running else shown


def cells(period: Period, label: str) -> Sequence[Cell]:
    change = period.change
    fail = period.fail_part
    return (
        (label, Role.STRONG if period.is_running else Role.PLAIN),
        number(period.submitted),
        number(period.done),
        (number(period.failed), Role.WARN if fail is not None and fail >= 0.05 else Role.PLAIN),
        percent(fail).removesuffix(" %"),
        number(period.retries),
        duration(period.wait_p50),
        duration(period.wait_p95),
        duration(period.run_p50),
        duration(period.run_p95),
        UNKNOWN if change is None else f"{100 * change:+.1f} %",
    )


def chart_of(periods: Iterable[Period], count: int, points: int, step_ms: int, now_ms: int) -> list[float | None]:
    """What was done in each of the last `count` periods, oldest first, stretched over so many points."""
    newest = now_ms // step_ms
    known = {period.at // step_ms: float(period.done) for period in periods}
    values = [known.get(newest - back) for back in range(count - 1, -1, -1)]
    if points <= count:
        return values
    return [values[point * count // points] for point in range(points)]


def as_csv(periods: Iterable[Period]) -> str:
    written = io.StringIO()
    rows = [_exported(period) for period in periods]
    writer = csv.DictWriter(written, fieldnames=list(rows[0]) if rows else ["at"], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return written.getvalue()


def as_json(periods: Iterable[Period]) -> str:
    return msgspec.json.format(msgspec.json.encode([_exported(period) for period in periods]), indent=2).decode() + "\n"


def _exported(period: Period) -> dict[str, object]:
    """With the time for people, in UTC, first."""
    at = datetime.fromtimestamp(period.at / 1000, UTC)
    return {"time": f"{at:%Y-%m-%dT%H:%M:%SZ}", **asdict(period)}
