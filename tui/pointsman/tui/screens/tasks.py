"""The screen Tasks: the newest that were seen, by state and filter, and older ones from the archive."""

from collections.abc import Mapping

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding

from pointsman.client.bus import Bus, BusError
from pointsman.contracts.filters import Term, parse
from pointsman.contracts.frames import Sample
from pointsman.contracts.ids import is_task_id
from pointsman.contracts.search import TaskPage
from pointsman.tui import tasklines
from pointsman.tui.copying import copy
from pointsman.tui.looks import Role
from pointsman.tui.messages import RowChosen, RowHighlighted
from pointsman.tui.older import Older
from pointsman.tui.ring import Ring, Tab
from pointsman.tui.screens.explain import ExplainScreen
from pointsman.tui.screens.filtering import FilteringScreen
from pointsman.tui.screens.payload import PayloadScreen
from pointsman.tui.screens.trace import TraceScreen
from pointsman.tui.sighting import Sighting, of_sample, of_task
from pointsman.tui.suggesting import suggestion
from pointsman.tui.tail import Tail
from pointsman.tui.verbs.tasks import TaskVerbs
from pointsman.tui.widgets.filter_input import FilterInput
from pointsman.tui.widgets.lines import Lines, Span, line
from pointsman.tui.widgets.livetable import Column, LiveTable

COLUMNS = (
    Column("TASK", 8),
    Column("STATE", 11),
    Column("TYPE", 15),
    Column("TRY", 5, priority=3),
    Column("SERVER", 10),
    Column("WAITED", 7, right=True),
    Column("RAN", 7, right=True, priority=1),
    Column("UPDATED", 8, priority=2),
    Column("ID", 37, priority=4),
    Column("ERROR", 20, priority=5, grows=True),
)
EXAMPLE = "type:resize-* state:failed server:srv-1 try>1 wait>5s error:timeout since:15m payload.user:42"


class TasksScreen(FilteringScreen, TaskVerbs):
    NAME = "tasks"
    BINDINGS = [
        Binding("slash", "edit_filter", "Filter", key_display="/", id="tasks.filter"),
        Binding("tab", "next_tab(1)", "State", key_display="tab", id="tasks.tab"),
        Binding("shift+tab", "next_tab(-1)", "State before", show=False, id="tasks.tab_back"),
        Binding("p", "pause", "Pause", id="tasks.pause"),
        Binding("e", "explain", "Explain", id="tasks.explain"),
        Binding("i", "payload", "Input/result", show=False, id="tasks.payload"),
        Binding("L", "older", "Older", show=False, id="tasks.older"),
        Binding("y", "copy_id", "Copy the id", show=False, id="tasks.copy"),
        Binding("Y", "copy_command", "Copy the command", show=False, id="tasks.copy_command"),
    ]

    def __init__(self) -> None:
        super().__init__()
        self.ring = Ring()
        self.older = Older()
        self._newest: Sample | None = None
        self._tail = Tail(self._take, lambda seen: self.ring.would_show(seen, self._now_ms))

    def body(self) -> ComposeResult:
        yield Lines(id="tabs")
        yield Lines(id="filter")
        yield FilterInput(lambda text: suggestion(text, self.seen_values()), placeholder=EXAMPLE)
        yield LiveTable(COLUMNS, id="tasks", markable=True)

    def generation_of(self, task_id: str) -> int | None:
        seen = self.ring.get(task_id)
        return None if seen is None else seen.generation

    @property
    def matching(self) -> str:
        return tasklines.query_of(self.ring.tab, self.text)

    def resumed(self) -> bool:
        was_paused = self.ring.is_paused
        self.ring.resume()
        return was_paused

    def seen_values(self) -> Mapping[str, set[str]]:
        """What a filter can be completed with."""
        seen = [one for task_id in self.ring.ids() if (one := self.ring.get(task_id))]
        return {
            "server": set(self.model.servers),
            "pool": set(self.model.pools),
            "type": {one.type for one in seen if one.type},
            "owner": {one.owner for one in seen if one.owner},
        }

    def draw(self) -> None:
        self._take_samples()
        self._follow()
        ids, table = self.ring.ids(), self.table
        table.empty = self._empty_lines()
        stays_on_top = table.cursor is None or (bool(table.keys) and table.cursor == table.keys[0])
        table.show(ids, self._version, self._cells)
        if stays_on_top and ids and not self.ring.is_paused:
            table.go_to(ids[0])
        self.query_one("#tabs", Lines).show([self._tabs_line()])
        self.query_one("#filter", Lines).show([self._filter_line(len(ids))])

    def _version(self, task_id: str) -> tuple[object, ...]:
        seen = self.ring.get(task_id)
        return () if seen is None else (*tasklines.version(seen), self.cockpit.zone)

    def _cells(self, task_id: str) -> list[tasklines.Cell]:
        seen = self.ring.get(task_id)
        return [] if seen is None else list(tasklines.cells(seen, self.cockpit.zone))

    def _tabs_line(self) -> list[Span]:
        tabs = [Span(*span) for span in tasklines.tabs(self.ring.tab, self.model.flow)]
        order = tasklines.order_text(len(self.ring), is_paused=self.ring.is_paused, missed=self.ring.missed)
        fits = sum(len(span.text) for span in tabs) + len(order[0]) + 2 <= self.size.width
        return [*tabs, *line("  ", order)] if fits else tabs

    def _filter_line(self, shown: int) -> list[Span]:
        if self.complaint:
            return line((f" {self.complaint}", Role.WARN))
        if said := self.older.asked.said(self.cockpit.moment.now):
            return line(" ", said)
        is_tailing = self._tail.is_open_on is not None
        source = tasklines.source_text(
            self.model.sampled, self.model.happened, is_tailing=is_tailing, dropped=self._tail.dropped
        )
        paused = tasklines.order_text(0, is_paused=True, missed=self.ring.missed)[0] if self.ring.is_paused else ""
        marked = f"marked {len(self.table.marks)}" if self.table.marks else ""
        parts = (f"filter {self.text or 'none (/)'}", paused, f"{shown:,} shown", marked, source, self.older.said())
        return line((" " + "   ".join(part for part in parts if part), Role.DIM))

    def _empty_lines(self) -> list[list[Span]]:
        if not self.model.is_known:
            return [[], line("   … nothing is known yet")]
        if self.text or self.ring.tab is not Tab.ALL:
            return [
                [],
                line("   none of the tasks seen matches"),
                line("   esc shows all again, L asks for older ones"),
            ]
        return [
            [],
            line("   no task has been seen yet"),
            [],
            line("   submit one              press n, or pointsman task submit"),
            line("   look for older ones     press L"),
        ]

    def _take_samples(self) -> None:
        """What has come since the last drawing."""
        fresh: list[Sample] = []
        for sample in reversed(self.model.sample):
            if sample is self._newest:
                break
            fresh.append(sample)
        self._newest = fresh[0] if fresh else self._newest
        for sample in reversed(fresh):
            if seen := of_sample(sample):
                self.ring.take(seen, self._now_ms)

    @property
    def _now_ms(self) -> int:
        return self.model.at or round(self.cockpit.moment.wall_ms)

    def _take(self, seen: Sighting) -> None:
        self.ring.take(seen, self._now_ms)
        self.cockpit.wake()

    @property
    def _wanted_bus(self) -> Bus | None:
        """Every change is read while a filter or a tab is on; else the frames' sample is enough."""
        client = self.cockpit.client
        is_on = self.is_current and (self.text or self.ring.tab is not Tab.ALL)
        return client.bus if client is not None and is_on else None

    def _follow(self) -> None:
        if self._wanted_bus is not self._tail.is_open_on:
            self.run_worker(self._open_tail(), group="tail", exclusive=True, exit_on_error=False)
        if self.is_current and self.cockpit.client is not None and not self.older.asked.asks:
            self.action_older()

    async def _open_tail(self) -> None:
        bus = self._wanted_bus
        try:
            if bus is None:
                await self._tail.close()
            else:
                await self._tail.open(bus)
        except BusError:
            self._tail.abandon()
        self.cockpit.wake()

    def on_screen_suspend(self) -> None:
        self.run_worker(self._tail.close(), group="tail", exclusive=True, exit_on_error=False)

    def show_matching(self, text: str, tab: Tab = Tab.ALL) -> None:
        """Show what matches, from the archive too; raises FilterError."""
        self._look_for(tab, text, parse(text))
        self.action_older()

    def _look_for(self, tab: Tab, text: str, terms: tuple[Term, ...]) -> None:
        self.text = text
        self.ring.look_for(tab, terms, self._now_ms)
        self._tail.with_payload = any(term.key == "payload" for term in terms)
        self.older.forget()
        self.cockpit.wake()

    def action_show_tab(self, tab: str) -> None:
        self._look_for(Tab(tab), self.text, self.ring.terms)
        self.action_older()

    def action_next_tab(self, by: int) -> None:
        tabs = list(Tab)
        self.action_show_tab(tabs[(tabs.index(self.ring.tab) + by) % len(tabs)])

    def action_older(self) -> None:
        """The next page of the archive."""
        request = self.older.request(tasklines.query_of(self.ring.tab, self.text))
        if request is not None:
            self.ask(self.older.asked, lambda client: client.history.search(request), self._take_page, anew=True)

    def _take_page(self, page: TaskPage) -> None:
        self.older.took(page)
        self.ring.take_older([of_task(task) for task in page.tasks], self._now_ms)

    @on(RowHighlighted)
    def _at_the_end(self, event: RowHighlighted) -> None:
        """Who goes to the last row wants older ones."""
        keys = self.table.keys
        if self.older.is_more and len(keys) > 1 and event.key == keys[-1] and not self.older.asked.is_busy:
            self.action_older()

    @on(RowChosen)
    def _open(self, event: RowChosen) -> None:
        self.app.push_screen(TraceScreen(event.key))

    def filter_by(self, text: str) -> None:
        self._look_for(self.ring.tab, text, parse(text))

    def filter_entered(self) -> None:
        self.action_older()

    def go_back(self) -> bool:
        if super().go_back():
            return True
        if self.ring.tab is Tab.ALL:
            return False
        self.action_show_tab(Tab.ALL)
        return True

    def point_at(self, subject: str) -> None:
        """A task, or a type of tasks."""
        self.show_matching(f"id:{subject}" if is_task_id(subject) else f'type:"{subject}"')

    def action_pause(self) -> None:
        if self.ring.is_paused:
            self.ring.resume()
        else:
            self.ring.pause()
        self.cockpit.wake()

    def action_explain(self) -> None:
        if self.table.cursor:
            self.app.push_screen(ExplainScreen(self.table.cursor))

    def action_payload(self) -> None:
        if self.table.cursor:
            self.app.push_screen(PayloadScreen(self.table.cursor))

    def action_copy_id(self) -> None:
        copy(self.app, "\n".join(self.chosen))

    def action_copy_command(self) -> None:
        if self.table.cursor:
            copy(self.app, f"pointsman task trace {self.table.cursor}")
