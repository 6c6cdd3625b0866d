"""Every server: what it is wanted to be, what it is seen to be, and what it does. What needs attention stands first."""

from collections.abc import Sequence
from time import monotonic

from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Horizontal
from textual.widgets import Input

from pointsman.tui import fleet
from pointsman.tui.format import bar, clip, duration, number
from pointsman.tui.looks import Concern, Role, server_look
from pointsman.tui.messages import MarksChanged, RowChosen, RowHighlighted
from pointsman.tui.model import Server
from pointsman.tui.screens.server import ServerScreen
from pointsman.tui.serverlines import detail_lines
from pointsman.tui.showing import look_of
from pointsman.tui.terms import Terms, terms_of
from pointsman.tui.topbar import NARROW
from pointsman.tui.verbs.servers import ServerVerbs
from pointsman.tui.widgets.lines import Lines, Span, line
from pointsman.tui.widgets.livetable import Cell, Column, LiveTable
from pointsman.tui.widgets.titles import entitle

RESORT_S = 1.0
LOAD_WIDTH = 8
COLUMNS = (
    Column("SERVER", 12, grows=True),
    Column("STATE", 14),
    Column("LOAD", LOAD_WIDTH, priority=1),
    Column("RUN/CAP", 9, right=True),
    Column("DONE/S", 7, right=True),
    Column("P95 RUN", 8, right=True, priority=2),
    Column("ERR %", 6, right=True, priority=3),
    Column("BEAT", 7, right=True),
)
WIDE_COLUMNS = (
    *COLUMNS,
    Column("IN STATE", 8, right=True, priority=4),
    Column("POOL", 10, priority=5),
    Column("WEIGHT", 6, right=True, priority=6),
    Column("VERSION", 9, priority=7),
)


class ServersScreen(ServerVerbs):
    NAME = "servers"
    AUTO_FOCUS = "LiveTable"
    BINDINGS = [
        Binding("s", "next_sort", "Sort", id="servers.sort"),
        Binding("S", "reverse", "Reverse", show=False, id="servers.reverse"),
        Binding("f", "freeze", "Freeze order", show=False, id="servers.freeze"),
        Binding("slash", "filter", "Filter", key_display="/", id="servers.filter"),
        Binding("exclamation_mark", "only_bad", "Only bad", key_display="!", show=False, id="servers.bad"),
        Binding("w", "wide", "Wide", show=False, id="servers.wide"),
    ]

    def __init__(self) -> None:
        super().__init__()
        self.sort = fleet.SORTS[0]
        self.is_reversed = False
        self.is_frozen = False
        self.is_only_bad = False
        self.is_wide = False
        self.terms = Terms()
        self._order: list[str] = []
        self._sorted_at = float("-inf")
        self._sorted_of: tuple[object, ...] = ()
        self._sorted_frames = 0
        self._will_sort = False

    def body(self) -> ComposeResult:
        yield Lines(id="sorting")
        yield Input(id="filter", placeholder="name  pool:x  state:down  group:x  version:x", compact=True)
        with Horizontal(id="fleet"):
            yield LiveTable(COLUMNS, id="servers-table", markable=True)
            detail = Lines(id="detail", classes="box")
            yield detail

    def on_mount(self) -> None:
        self.query_one("#filter").display = False

    @property
    def table(self) -> LiveTable:
        return self.query_one(LiveTable)

    @property
    def chosen(self) -> tuple[str, ...]:
        """The ids that a verb acts on: the marked servers, or the one under the cursor."""
        return self.table.chosen

    def draw(self) -> None:
        order = self._sorted()
        servers, at = self.model.servers, self.model.at or 0
        self.table.empty = self._nothing()
        look = look_of(self)

        def version(name: str) -> tuple[object, ...]:
            server = servers[name]
            return (server.version, _beat(server, at))

        def cells(name: str) -> Sequence[Cell]:
            return _cells(servers[name], at, ascii_only=look.ascii_only)

        self.table.show(order, version, cells)
        self.query_one("#sorting", Lines).show([self._sorting_line(len(order))])
        self._draw_detail()

    def _draw_detail(self) -> None:
        box = self.query_one("#detail", Lines)
        if not box.display:
            return
        server = self.model.servers.get(self.table.cursor or "")
        entitle(box, self.table.cursor or "")
        lines = [] if server is None else detail_lines(server, self.model, box.size.width, self.cockpit.zone)
        box.show(lines[: box.size.height] + [[]] * (box.size.height - len(lines)))

    def _sorted(self) -> list[str]:
        """Sorted anew once a second, at once when servers came, went or the terms changed; never while frozen."""
        of = (self.model, self.model.membership, self.sort, self.is_reversed, self.is_only_bad, self.terms)
        waits_s = self._sorted_at + RESORT_S - monotonic()
        if of == self._sorted_of and (waits_s > 0 or self.is_frozen):
            self._sort_later(waits_s)
            return self._order
        shown = [server for server in self.model.servers.values() if self._is_shown(server)]
        if self.is_frozen and of[1:] == self._sorted_of[1:]:
            places = {name: place for place, name in enumerate(self._order)}
            shown.sort(key=lambda server: places.get(server.row.id, len(places)))
        else:
            shown.sort(key=fleet.SORT_KEYS[self.sort], reverse=self.is_reversed)
        self._order = [server.row.id for server in shown]
        self._sorted_of, self._sorted_at, self._sorted_frames = of, monotonic(), self.model.frames
        return self._order

    def _sort_later(self, waits_s: float) -> None:
        """What came since the last sorting may be the last that comes for long."""
        if self.model.frames != self._sorted_frames and not self.is_frozen and not self._will_sort:
            self._will_sort = True
            self.set_timer(max(0.0, waits_s), self._sort_now)

    def _sort_now(self) -> None:
        self._will_sort = False
        self.cockpit.wake()

    def _is_shown(self, server: Server) -> bool:
        if self.is_only_bad and fleet.concern(server) is Concern.UP:
            return False
        return self.terms.match(server)

    def _sorting_line(self, shown: int) -> list[Span]:
        arrow = " reversed" if self.is_reversed else ""
        frozen = "  frozen (f)" if self.is_frozen else ""
        bad = "  only bad (!)" if self.is_only_bad else ""
        if not self.model.is_known:
            return line(" servers --")
        parts = (
            f" sort {self.sort}{arrow} (s)",
            f"filter {clip(self.terms.text, 30) or 'none'} (/)",
            f"marked {len(self.table.marks)} (space)",
            f"{number(shown)} of {number(len(self.model.servers))} servers",
        )
        return line(
            ("   " if self.size.width >= NARROW else " ").join(parts),
            (frozen + bad, Role.WARN),
        )

    def _nothing(self) -> Sequence[Sequence[Span]]:
        if not self.model.is_known:
            return [[], line("    … waiting for the first frame")]
        if self.model.servers:
            return [[], line("    no server matches   esc clears the filter, ! shows those that are up too")]
        return [
            [],
            line(("    no server has registered yet", Role.STRONG)),
            [],
            line("    1. start one that registers itself   deploy/examples has some to begin with"),
            line("    2. or register one here               press R"),
            [],
            line(f"    The control plane itself answers: frame {number(self.model.seq)}."),
            line("    Tasks that are submitted now wait in the queue."),
        ]

    def on_row_highlighted(self, message: RowHighlighted) -> None:
        self._draw_detail()

    def on_marks_changed(self, message: MarksChanged) -> None:
        self.cockpit.wake()

    def on_row_chosen(self, message: RowChosen) -> None:
        self.app.push_screen(ServerScreen(message.key))

    def point_at(self, subject: str) -> None:
        """The filter gives way if it hides the server."""
        if subject not in self.model.servers:
            return
        if not self.table.go_to(subject):
            self.is_only_bad, self.terms = False, Terms()
            self.draw()
            self.table.go_to(subject)

    def action_next_sort(self) -> None:
        self.sort = fleet.SORTS[(fleet.SORTS.index(self.sort) + 1) % len(fleet.SORTS)]
        self.cockpit.wake()

    def action_reverse(self) -> None:
        self.is_reversed = not self.is_reversed
        self.cockpit.wake()

    def action_freeze(self) -> None:
        self.is_frozen = not self.is_frozen
        self.cockpit.wake()

    def action_only_bad(self) -> None:
        self.is_only_bad = not self.is_only_bad
        self.cockpit.wake()

    def action_wide(self) -> None:
        self.is_wide = not self.is_wide
        self.table.set_columns(WIDE_COLUMNS if self.is_wide else COLUMNS)
        self.set_class(self.is_wide, "-full")
        self.cockpit.wake()

    def action_filter(self) -> None:
        field = self.query_one("#filter", Input)
        field.display = True
        field.focus()

    def on_input_changed(self, message: Input.Changed) -> None:
        self.terms = terms_of(message.value)
        self.cockpit.wake()

    def on_input_submitted(self, message: Input.Submitted) -> None:
        self._leave_filter()

    def _leave_filter(self) -> None:
        self.query_one("#filter").display = False
        self.table.focus()
        self.cockpit.wake()

    def go_back(self) -> bool:
        """Escape leaves the filter's line, then clears the filter."""
        field = self.query_one("#filter", Input)
        if not field.display and not self.terms.text:
            return False
        field.value = ""
        self.terms = Terms()
        self._leave_filter()
        return True


def _beat(server: Server, at: int) -> str:
    """How long ago it was heard: its heartbeat, else the last check."""
    age = server.beat_ms(at)
    if age is None:
        age = server.check_ms(at)
    return duration(age)


def _cells(server: Server, at: int, *, ascii_only: bool) -> Sequence[Cell]:
    row, pulse = server.row, server.pulse
    look = server_look(row, pulse)
    errors = pulse.error_rate
    return (
        (row.id, Role.STRONG),
        (str(look), look.role),
        (bar(fleet.load(server), LOAD_WIDTH, ascii_only=ascii_only), Role.BAR),
        f"{number(pulse.running)}/{number(row.limit)}",
        "--" if pulse.done_per_s is None else f"{pulse.done_per_s:.1f}",
        duration(pulse.run_p95),
        ("--" if errors is None else f"{100 * errors:.2f}", Role.WARN if errors and errors >= 0.05 else Role.PLAIN),
        _beat(server, at),
        duration(max(0, at - row.since)),
        row.pool,
        number(row.weight),
        row.version or "--",
    )
