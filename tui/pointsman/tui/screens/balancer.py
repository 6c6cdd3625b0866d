"""The screen Balancer: the algorithm of each pool, what each server gets against what is fair, and what holds tasks back."""

from collections.abc import Sequence

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Horizontal, Vertical

from pointsman.contracts.balancer import Algorithm
from pointsman.contracts.frames import PoolRow
from pointsman.contracts.statistics import LoadBalancerStatistics
from pointsman.tui import sharing
from pointsman.tui.asked import Asked
from pointsman.tui.commands import command
from pointsman.tui.copying import copy
from pointsman.tui.format import bar, duration, number, percent
from pointsman.tui.looks import Role, server_look
from pointsman.tui.messages import RowChosen
from pointsman.tui.screens.asking import AskingScreen
from pointsman.tui.showing import look_of
from pointsman.tui.verbs.balancer import BalancerVerbs
from pointsman.tui.widgets.lines import Lines, Span, line
from pointsman.tui.widgets.livetable import Cell, Column, LiveTable
from pointsman.tui.widgets.pager import Pager, as_lines
from pointsman.tui.widgets.titles import entitle

ASK_EVERY_S = 5.0
RESORT_S = 2.0
BAR_WIDTH = 16
ALGORITHMS = (Column("", 26), Column("", 20, grows=True, priority=1))
SHARES = (
    Column("SERVER", 8, grows=True),
    Column("", 1),
    Column("GOT", 8, right=True),
    Column("", BAR_WIDTH, priority=2),
    Column("FAIR", 8, right=True, priority=1),
    Column("OFF", 7, right=True),
)


class BalancerScreen(BalancerVerbs, AskingScreen):
    NAME = "balancer"
    AUTO_FOCUS = "#algorithms"
    CSS = """
    BalancerScreen #both { height: 1fr; }
    BalancerScreen #left { width: 52; }
    BalancerScreen #algorithms { height: 11; max-height: 60%; }
    BalancerScreen #right { width: 1fr; height: 1fr; }
    BalancerScreen #use { height: 3; padding: 0 1; }
    BalancerScreen.-narrow #left, BalancerScreen.-medium #left { width: 31; }
    BalancerScreen.-holds #right { display: none; }
    BalancerScreen.-holds #left { width: 1fr; }
    """
    BINDINGS = [
        Binding("tab", "next_pool", "Pool", key_display="tab", id="balancer.pool"),
        Binding("v", "view", "Shares/holds", id="balancer.view"),
        Binding("f", "other_list", "Focus", show=False, id="balancer.focus"),
        Binding("Y", "copy_command", "Copy the command", show=False, id="balancer.copy_command"),
    ]

    def __init__(self) -> None:
        super().__init__()
        self.pool = "default"
        self.asked: Asked[LoadBalancerStatistics] = Asked("limits")
        self._names: list[str] = []
        self._sorted_of: tuple[object, ...] = ()
        self._sorted_at = float("-inf")

    def body(self) -> ComposeResult:
        with Horizontal(id="both"):
            with Vertical(id="left"):
                algorithms = LiveTable(ALGORITHMS, id="algorithms", header=False)
                algorithms.add_class("box")
                yield algorithms
                holds = Pager(id="holds")
                holds.add_class("box")
                yield holds
            with Vertical(id="right"):
                yield Lines(id="use")
                yield LiveTable(SHARES, id="shares")

    def on_mount(self) -> None:
        self.set_interval(ASK_EVERY_S, self._ask)

    def _ask(self) -> None:
        if self.is_current:
            self.ask(self.asked, lambda client: client.statistics.load_balancer())

    @property
    def shown_pool(self) -> PoolRow | None:
        return self.model.pools.get(self.pool)

    @property
    def chosen(self) -> tuple[str, ...]:
        """The pool that a verb acts on."""
        return (self.pool,)

    @property
    def algorithm(self) -> str | None:
        """The one under the cursor."""
        return self.query_one("#algorithms", LiveTable).cursor

    def draw(self) -> None:
        if self.is_current and not self.asked.asks and self.may_ask:
            self._ask()
        if self.pool not in self.model.pools and self.model.pools:
            self.pool = sharing.pools_in_order(self.model)[0]
        self._draw_algorithms()
        self._draw_shares()
        holds = self.query_one("#holds", Pager)
        entitle(holds, "limits and who waits")
        holds.show(self._holds())

    def _draw_algorithms(self) -> None:
        table, pool = self.query_one("#algorithms", LiveTable), self.shown_pool
        pools = sharing.pools_in_order(self.model)
        place = f", {pools.index(self.pool) + 1} of {len(pools)} (tab)" if len(pools) > 1 else ""
        takes = "" if pool is None else f"{number(pool.eligible)} of {number(pool.servers)} servers take tasks"
        entitle(table, f"pool {self.pool}{place}", takes)
        in_use = pool.algorithm if pool is not None else None
        table.show(list(Algorithm), lambda key: (key, in_use == key), lambda key: _algorithm_cells(key, in_use))

    def _draw_shares(self) -> None:
        pool, width = self.shown_pool, self.query_one("#use").size.width
        even = sharing.evenness(self.model, self.pool)
        load = "" if pool is None else f"{number(pool.running)}/{number(pool.slots)} run, {number(pool.pending)} due"
        lines = [
            line((sharing.in_use_text(pool, self.cockpit.zone), Role.STRONG)),
            line(sharing.evenness_text(even)[: max(0, width)]),
            line((f"share of tasks in 60 s against fair   {load}", Role.DIM)),
        ]
        self.query_one("#use", Lines).show(lines)
        table = self.query_one("#shares", LiveTable)
        table.empty = [[], line("  nothing is known yet" if not self.model.is_known else "  no server in this pool")]
        servers, look = self.model.servers, look_of(table)
        names = self._sorted()
        top = max((servers[name].pulse.share or 0.0 for name in names), default=0.0)

        def cells(name: str) -> Sequence[Cell]:
            server = servers[name]
            shown, off = server_look(server.row, server.pulse), sharing.off_by(server)
            share = server.pulse.share
            part = share / top if share is not None and top > 0 else None
            return (
                name,
                (shown.glyph, shown.role),
                percent(share),
                (bar(part, BAR_WIDTH, ascii_only=look.ascii_only), Role.BAR),
                percent(server.pulse.fair),
                "--" if off is None else f"{100 * off:+.2f}",
            )

        table.show(names, lambda name: (servers[name].version, round(top, 4)), cells)

    def _sorted(self) -> list[str]:
        """Sorted anew every two seconds, or nobody could read it."""
        of, now = (self.model, self.model.membership, self.pool), self.cockpit.moment.now
        if of != self._sorted_of or now - self._sorted_at >= RESORT_S:
            self._names = sharing.furthest_first(self.model, self.pool)
            self._sorted_of, self._sorted_at = of, now
        return self._names

    def _holds(self) -> list[list[Span]]:
        now, answer = self.cockpit.moment.now, self.asked.answer
        said = self.asked.said(now)
        lines = [line(" ", said)] if said else []
        if answer is None:
            return lines or [line(" … asking the balancer")]
        alerts = [line((f" {one.pool:<10} {one.detail}", Role.WARN)) for one in answer.alerts]
        classes = as_lines([sharing.class_line(one) for one in answer.classes])
        gates = as_lines([sharing.gate_line(one, self.cockpit.zone) for one in answer.gates])
        leader = "no balancer leads" if answer.leader is None else f"leader {answer.leader}"
        last = (
            "" if answer.last_dispatch is None else f", last start {duration(answer.as_of - answer.last_dispatch)} ago"
        )
        age = 1000 * (now - (self.asked.answered_at or now))
        return [
            *lines,
            line(
                (f" {leader}{last}", Role.PLAIN if answer.leader else Role.WARN),
                (f"   asked {duration(age)} ago", Role.DIM),
            ),
            *alerts,
            *(gates or [line((" no limit is in force", Role.DIM))]),
            *(classes or [line((" nothing waits", Role.DIM))]),
        ]

    def point_at(self, subject: str) -> None:
        if subject in self.model.pools:
            self.pool = subject
            self.cockpit.wake()

    @on(RowChosen)
    async def _open(self, event: RowChosen) -> None:
        event.stop()
        if event.table_id == "shares":
            await self.cockpit.open_object("servers", event.key)
        elif self.cockpit.why_read_only:
            self.cockpit.tell(self.cockpit.why_read_only, is_good=False)
        elif self.shown_pool is None or self.shown_pool.algorithm == event.key:
            self.cockpit.tell(f"{event.key} is in use in pool {self.pool}", is_good=True)
        else:
            self.switch(self.pool, event.key)

    def action_next_pool(self) -> None:
        pools = sharing.pools_in_order(self.model)
        if pools:
            self.pool = pools[(pools.index(self.pool) + 1) % len(pools)] if self.pool in pools else pools[0]
            self.cockpit.wake()

    def action_view(self) -> None:
        """On a narrow terminal what holds tasks back takes the place of the shares."""
        self.toggle_class("-holds")

    def action_other_list(self) -> None:
        lists = [self.query_one(name) for name in ("#algorithms", "#shares", "#holds")]
        place = lists.index(self.focused) if self.focused in lists else -1
        self.set_focus(lists[(place + 1) % len(lists)])

    def action_copy_command(self) -> None:
        if self.algorithm:
            copy(self.app, command("balancer", "switch", self.algorithm, options=["--pool", self.pool]))


def _algorithm_cells(name: str, in_use: str | None) -> Sequence[Cell]:
    is_used = name == in_use
    return (
        (f"{'●' if is_used else ' '} {name}", Role.STRONG if is_used else Role.PLAIN),
        (sharing.WORDS[Algorithm(name)], Role.DIM),
    )
