"""Is it healthy, and if not, where: flow, three charts, what needs attention, every server as one cell, a sample of tasks."""

from collections.abc import Sequence
from itertools import islice
from textwrap import wrap

from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Horizontal, Vertical

from pointsman.contracts.frames import AlertRow, Sample
from pointsman.tui import fleet
from pointsman.tui.flowline import flow_lines
from pointsman.tui.format import clock, duration, number
from pointsman.tui.looks import Role, kind_look, severity_look
from pointsman.tui.messages import CellChosen, RowChosen
from pointsman.tui.series import done, queued, series, wait_p95
from pointsman.tui.showing import look_of
from pointsman.tui.verbs.alerts import AlertVerbs
from pointsman.tui.widgets.area import Area
from pointsman.tui.widgets.heat import Heat
from pointsman.tui.widgets.lines import Lines, Span, line
from pointsman.tui.widgets.livetable import Cell, Column, LiveTable
from pointsman.tui.widgets.titles import entitle

MINUTES = (5, 15, 60)
CHARTS = (("done", "done/s", done), ("queued", "queued", queued), ("wait", "wait p95, ms", wait_p95))
ALERT_COLUMNS = (Column("", 6), Column("", 14), Column("", 6, right=True), Column("", 20, grows=True))
SERVER_ROWS_MAX = 15
ALERT_ROWS_MIN, BORDERS = 5, 2


class OverviewScreen(AlertVerbs):
    NAME = "overview"
    BINDINGS = [
        Binding("left_parenthesis", "shorter", "Charts shorter", show=False, id="overview.shorter"),
        Binding("right_parenthesis", "longer", "Charts longer", show=False, id="overview.longer"),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._minutes = MINUTES[0]
        self._charted: tuple[object, ...] = ()

    def body(self) -> ComposeResult:
        yield Lines(id="flow", classes="box")
        with Horizontal(id="charts"):
            for name, _, _ in CHARTS:
                area = Area(id=name)
                area.add_class("box")
                yield area
        with Horizontal(id="below"):
            with Vertical(id="left"):
                alerts = LiveTable(ALERT_COLUMNS, id="alerts", header=False)
                alerts.add_class("box")
                yield alerts
                heat = Heat(id="heat")
                heat.add_class("box")
                yield heat
            yield Lines(id="sample", classes="box")

    def draw(self) -> None:
        flow = self.query_one("#flow", Lines)
        entitle(flow, "task flow, last 10 s")
        flow.show(flow_lines(self.model.flow, flow.size.width))
        self._draw_charts()
        self._draw_alerts()
        self._draw_heat()
        self._draw_sample()

    def _draw_charts(self) -> None:
        """Of the seconds that are over, so that they move once a second."""
        flows = self.model.flows
        if not self.query_one("#charts").display:
            return
        newest = flows[-1][0] - 1 if flows else 0
        state = (newest, self._minutes, len(flows))
        if state == self._charted:
            return
        self._charted = state
        for name, title, pick in CHARTS:
            area = self.query_one(f"#{name}", Area)
            entitle(area, f"{title}, last {self._minutes} min")
            area.show(series(reversed(flows), newest, 60 * self._minutes, pick) if flows else [])

    def _draw_alerts(self) -> None:
        table = self.query_one("#alerts", LiveTable)
        alerts = self.model.alerts
        entitle(table, f"needs attention {number(len(alerts)) if self.model.is_known else '--'}")
        rows = {_alert_key(alert): alert for alert in sorted(alerts, key=_urgency)}
        at = self.model.at or 0
        table.empty = self._nothing()
        table.show(
            list(rows),
            lambda key: (rows[key], _age(rows[key], at)),
            lambda key: _alert_cells(rows[key], at),
        )

    def _nothing(self) -> Sequence[Sequence[Span]]:
        if not self.model.is_known:
            return self._nothing_known()
        return [
            line(" ", ("✓", Role.UP), " nothing: every server is up, queue age < 5 s,"),
            line("   failed attempts < 5 %"),
        ]

    def _nothing_known(self) -> Sequence[Sequence[Span]]:
        link, keys = self.cockpit.link, line((" q quits, : goes to another context", Role.DIM))
        waiting = line(f" … waiting for the first frame from {link.where or 'the broker'}")
        room = max(1, self.query_one("#alerts").size.width - 2)
        return [waiting, *(line((f" {part}", Role.WARN)) for part in wrap(link.reason, room)), keys]

    def _draw_heat(self) -> None:
        heat = self.query_one("#heat", Heat)
        shown, left_out = fleet.cells(self.model, heat.room, ascii_only=look_of(heat).ascii_only)
        entitle(heat, fleet.counts_text(self.model), f"{number(left_out)} that are up not shown" if left_out else "")
        needed = -(-len(self.model.servers) // max(1, heat.size.width))
        beside = self.query_one("#left").size.height - ALERT_ROWS_MIN - BORDERS
        heat.styles.height = BORDERS + max(1, min(SERVER_ROWS_MAX, max(3, needed), beside))
        heat.show(shown)

    def _draw_sample(self) -> None:
        box = self.query_one("#sample", Lines)
        if not box.display:
            return
        sample = self.model.sample
        of_all = f"{number(self.model.sampled)} of {number(self.model.happened)} shown" if sample else ""
        entitle(box, "tasks, sample", of_all)
        rows = islice(reversed(sample), box.size.height)
        zone = self.cockpit.zone
        lines = [_sample_line(thing, box.size.width, clock(thing.at, zone)) for thing in rows]
        box.show(lines + [[]] * (box.size.height - len(lines)))

    def action_shorter(self) -> None:
        self._stretch(-1)

    def action_longer(self) -> None:
        self._stretch(1)

    def _stretch(self, by: int) -> None:
        place = MINUTES.index(self._minutes) + by
        self._minutes = MINUTES[min(len(MINUTES) - 1, max(0, place))]
        self.cockpit.wake()

    @property
    def chosen_alert(self) -> AlertRow | None:
        key = self.query_one("#alerts", LiveTable).cursor
        return next((alert for alert in self.model.alerts if _alert_key(alert) == key), None)

    async def on_row_chosen(self, message: RowChosen) -> None:
        alert = self.chosen_alert
        if alert is not None:
            await self.cockpit.open_object(alert.screen, alert.subject)

    async def on_cell_chosen(self, message: CellChosen) -> None:
        await self.cockpit.open_object("servers", message.key)


def _alert_key(alert: AlertRow) -> str:
    return f"{alert.kind} {alert.subject}"


def _urgency(alert: AlertRow) -> tuple[object, ...]:
    """Critical first, then the oldest; what somebody knows of comes last."""
    return (alert.acknowledged_by is not None, alert.severity != "critical", alert.since)


def _age(alert: AlertRow, at: int) -> str:
    return duration(max(0, at - alert.since) // 1000 * 1000)


def _alert_cells(alert: AlertRow, at: int) -> Sequence[Cell]:
    look = severity_look(alert.severity)
    known = "" if alert.acknowledged_by is None else f" (known to {alert.acknowledged_by})"
    return ((str(look), look.role), (alert.subject, Role.STRONG), _age(alert, at), alert.detail + known)


def _sample_line(thing: Sample, width: int, at: str) -> list[Span]:
    look = kind_look(thing.kind)
    left = f" {at} {thing.task_id[-8:]} "
    kind = f"{look!s:<11} "
    room = max(0, width - len(left) - len(kind))
    server = (thing.server_id or "")[-(room * 2 // 3) :] if room else ""
    task_type = (thing.type or "")[: max(0, room - len(server) - 2)]
    return line(left, (kind, look.role), f"{task_type:<{max(0, room - len(server) - 1)}}{server}")
