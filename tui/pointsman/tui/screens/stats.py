"""The screen Stats: 48 hours or 14 days as a table and a chart, each against the day before."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

from textual.app import ComposeResult
from textual.binding import Binding

from pointsman.client.client import Client
from pointsman.contracts.statistics import HourlyStatistics, StatisticsQuery, TaskStatistics
from pointsman.tui import periods
from pointsman.tui.asked import Asked
from pointsman.tui.copying import copy
from pointsman.tui.format import clock, duration
from pointsman.tui.looks import Role
from pointsman.tui.periods import DAY_MS, DAYS, HOUR_MS, HOURS, Period
from pointsman.tui.screens.asking import AskingScreen
from pointsman.tui.widgets.area import Area
from pointsman.tui.widgets.lines import Lines, Span, line
from pointsman.tui.widgets.livetable import Cell, Column, LiveTable
from pointsman.tui.widgets.titles import entitle

REFRESH_S = 10.0
DAYS_ASKED_AT_ONCE = 2
COLUMNS = (
    Column("HOUR (UTC)", 14),
    Column("SUBMITTED", 11, right=True, priority=1),
    Column("DONE", 11, right=True),
    Column("FAILED", 8, right=True, priority=3),
    Column("FAIL %", 6, right=True),
    Column("RETRIES", 8, right=True, priority=6),
    Column("WAIT P50", 8, right=True, priority=5),
    Column("WAIT P95", 8, right=True),
    Column("RUN P50", 8, right=True, priority=4),
    Column("RUN P95", 8, right=True, priority=2),
    Column("vs -24 h", 9, right=True),
)


class StatsScreen(AskingScreen):
    NAME = "stats"
    AUTO_FOCUS = "LiveTable"
    CSS = """
    StatsScreen #chart { height: 9; display: none; }
    StatsScreen.-tall #chart { display: block; }
    """
    BINDINGS = [
        Binding("h", "hours", "Hours", id="stats.hours"),
        Binding("D", "days", "Days", id="stats.days"),
        Binding("r", "again", "Ask again", show=False, id="stats.again"),
        Binding("x", "export('csv')", "Export", id="stats.export"),
        Binding("X", "export('json')", "Export as JSON", show=False, id="stats.export_json"),
        Binding("Y", "copy_command", "Copy the command", show=False, id="stats.copy_command"),
    ]

    def __init__(self) -> None:
        super().__init__()
        self.by_day = False
        self.today: Asked[HourlyStatistics] = Asked("today")
        self.before: Asked[list[HourlyStatistics]] = Asked("the days before")
        self.days: Asked[list[tuple[str, TaskStatistics]]] = Asked("days")

    def body(self) -> ComposeResult:
        chart = Area(id="chart")
        chart.add_class("box")
        yield chart
        yield Lines(id="said")
        yield LiveTable(COLUMNS, id="periods")

    def on_mount(self) -> None:
        self.set_interval(REFRESH_S, self._refresh)

    @property
    def _now_ms(self) -> int:
        return self.model.at or round(self.cockpit.moment.wall_ms)

    def _refresh(self) -> None:
        """The running period, while somebody looks; what is over is asked for once."""
        if not self.is_current:
            return
        today = periods.dates_of(self._now_ms, 1)[0]
        known = self.today.answer
        if known is not None and known.date != today:
            self.before.forget()
            self.days.forget()
        self.ask(self.today, lambda client: client.statistics.hourly(today))
        if self.before.answer is None and not self.by_day:
            dates = periods.dates_of(self._now_ms, 3)[1:]
            self.ask(self.before, lambda client: _each(client, dates))
        if self.by_day:
            dates = periods.dates_of(self._now_ms, DAYS)
            self.ask(self.days, lambda client: _daily(client, dates, self.days.answer or []))

    def draw(self) -> None:
        if self.is_current and self.may_ask and not self.today.asks:
            self._refresh()
        rows = self.rows()
        by_key = {str(row.at): row for row in rows}
        table, zone, now, by_day = self.query_one(LiveTable), self.cockpit.zone, self._now_ms, self.by_day

        def cells(key: str) -> Sequence[Cell]:
            row = by_key[key]
            return periods.cells(row, periods.label_of(row, zone, by_day=by_day, now_ms=now))

        table.empty = [[], line("   … asking the archive" if not self.today.wrong else "   -- nothing is known")]
        table.show(list(by_key), lambda key: (by_key[key], zone, now // HOUR_MS), cells)
        self._draw_chart(rows)
        self.query_one("#said", Lines).show([self._said()])

    def rows(self) -> list[Period]:
        """Newest first."""
        now = self._now_ms
        if self.by_day:
            return [periods.day_of(day, told, now) for day, told in self.days.answer or []]
        told = [*([self.today.answer] if self.today.answer else []), *(self.before.answer or [])]
        return [row for day in told for row in periods.hours_of(day, now)][:HOURS]

    def _draw_chart(self, rows: list[Period]) -> None:
        chart = self.query_one("#chart", Area)
        step, count = (DAY_MS, DAYS) if self.by_day else (HOUR_MS, HOURS)
        entitle(chart, "done per day, last 14 days" if self.by_day else "done per hour, last 48 h")
        chart.show(periods.chart_of(rows, count, 2 * chart.columns, step, self._now_ms) if rows else [])

    def _said(self) -> list[Span]:
        now = self.cockpit.moment.now
        for asked in (self.days,) if self.by_day else (self.today, self.before):
            if said := asked.said(now):
                return line(" ", said)
        as_of, is_stale = self._freshness()
        if as_of is None:
            return line((" hours of the archive", Role.DIM))
        age = duration(max(0, self._now_ms - as_of))
        told = f" as of {clock(as_of, self.cockpit.zone)}, {age} ago   hours and days are UTC"
        if is_stale:
            return line((f"{told}   STALE: the archive is away, this is the last report", Role.WARN))
        return line((told, Role.DIM))

    def _freshness(self) -> tuple[int | None, bool]:
        """When the newest figures were so, and whether they are no more."""
        if self.by_day:
            newest = self.days.answer[0][1] if self.days.answer else None
            return (newest.as_of, newest.stale) if newest else (None, False)
        return (self.today.answer.as_of, self.today.answer.stale) if self.today.answer else (None, False)

    def action_hours(self) -> None:
        self._look_at(by_day=False)

    def action_days(self) -> None:
        self._look_at(by_day=True)

    def _look_at(self, *, by_day: bool) -> None:
        self.by_day = by_day
        title = Column("DAY (UTC)" if by_day else "HOUR (UTC)", 14)
        self.query_one(LiveTable).set_columns((title, *COLUMNS[1:]))
        self.action_again()

    def action_again(self) -> None:
        self._refresh()
        self.cockpit.wake()

    def action_export(self, form: str) -> None:
        """Into a new file where the cockpit was started."""
        rows = self.rows()
        if not rows:
            self.notify("nothing is known yet", title="Not exported", severity="warning")
            return
        what = "days" if self.by_day else "hours"
        path = Path(f"pointsman-{what}-{clock(self._now_ms).replace(':', '')}.{form}").absolute()
        try:
            path.write_text(periods.as_csv(rows) if form == "csv" else periods.as_json(rows))
        except OSError as error:
            self.notify(f"{path}: {error.strerror}", title="Not exported", severity="error")
        else:
            self.notify(str(path), title=f"{len(rows)} {what} exported")

    def action_copy_command(self) -> None:
        copy(self.app, f"pointsman stats {'day' if self.by_day else 'hour'}")


async def _each(client: Client, dates: list[str]) -> list[HourlyStatistics]:
    return [await client.statistics.hourly(date) for date in dates]


async def _daily(
    client: Client, dates: list[str], known: list[tuple[str, TaskStatistics]]
) -> list[tuple[str, TaskStatistics]]:
    """Days that are over are asked for once."""
    kept = {date: told for date, told in known if date != dates[0] and not told.stale}
    turns = asyncio.Semaphore(DAYS_ASKED_AT_ONCE)

    async def one(date: str) -> tuple[str, TaskStatistics]:
        if date in kept:
            return date, kept[date]
        async with turns:
            return date, await client.statistics.tasks(StatisticsQuery(date=date))

    return list(await asyncio.gather(*(one(date) for date in dates)))
