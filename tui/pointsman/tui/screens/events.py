"""The screen Events: what happened, to whom, why and by whom; as it happens, and from the audit trail before that."""

from collections.abc import Sequence
from datetime import UTC, datetime

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding

from pointsman.contracts.ids import is_task_id
from pointsman.contracts.search import AuditPage, AuditQuery
from pointsman.tui.asked import Asked
from pointsman.tui.chronicle import (
    FIELDS,
    KINDS,
    Chronicle,
    Happening,
    command_of,
    of_entry,
    of_news,
    place_of,
)
from pointsman.tui.copying import copy
from pointsman.tui.format import clock, number
from pointsman.tui.looks import Role
from pointsman.tui.messages import RowChosen, RowHighlighted
from pointsman.tui.screens.filtering import FilteringScreen
from pointsman.tui.screens.trace import TraceScreen
from pointsman.tui.trace import one_line
from pointsman.tui.widgets.filter_input import FilterInput
from pointsman.tui.widgets.lines import Lines, Span, line
from pointsman.tui.widgets.livetable import Cell, Column, LiveTable

PAGE = 100
COLUMNS = (
    Column("TIME", 11),
    Column("KIND", 6, priority=2),
    Column("SUBJECT", 16),
    Column("WHAT", 26),
    Column("WHY / RESULT", 20, grows=True, priority=1),
    Column("BY", 16, priority=3),
)
DAY_MS = 86_400_000


class EventsScreen(FilteringScreen):
    NAME = "events"
    BINDINGS = [
        Binding("slash", "edit_filter", "Filter", key_display="/", id="events.filter"),
        Binding("o", "as_it_was", "As it was", id="events.replay"),
        Binding("Y", "copy_command", "Copy the command", id="events.copy_command"),
        Binding("y", "copy_subject", "Copy the subject", show=False, id="events.copy"),
        Binding("L", "older", "Older", show=False, id="events.older"),
    ]

    def __init__(self) -> None:
        super().__init__()
        self.chronicle = Chronicle()
        self.page: Asked[AuditPage] = Asked("audit trail")
        self._cursor: str | None = None
        self._is_complete = False
        self._keys: list[str] = []
        self._keys_of: tuple[object, ...] = ()

    def body(self) -> ComposeResult:
        yield Lines(id="said")
        yield FilterInput(_suggestion, placeholder="ana kind:act subject:srv-01* -ok:yes by:prober")
        yield LiveTable(COLUMNS, id="events")

    def draw(self) -> None:
        self.chronicle.take(of_news(news) for news in self.model.news)
        if self.is_current and self.may_ask and not self.page.asks:
            self.action_older()
        of = (self.text, self.chronicle.version)
        if of != self._keys_of:
            self._keys, self._keys_of = self.chronicle.matching(self.text), of
        table = self.table
        was_on_top = table.cursor is None or (bool(table.keys) and table.cursor == table.keys[0])
        table.empty = self._empty()
        table.show(self._keys, lambda key: (self.chronicle.get(key), self._today, self.cockpit.zone), self._cells)
        if was_on_top and self._keys:
            table.go_to(self._keys[0])
        self.query_one("#said", Lines).show([self._said()])

    @property
    def _today(self) -> int:
        return (self.model.at or round(self.cockpit.moment.wall_ms)) // DAY_MS

    def _cells(self, key: str) -> Sequence[Cell]:
        one = self.chronicle.get(key)
        if one is None:
            return ()
        role = _role(one)
        status = f"refused ({one.status}): " if one.status is not None else "" if one.ok else "refused: "
        at = clock(one.at, self.cockpit.zone) if one.at // DAY_MS == self._today else _day(one.at)
        return (
            at,
            (one.kind, Role.DIM),
            (one.subject, Role.STRONG),
            (one_line(one.what), role),
            (one_line(status + one.why) if status or one.why else ("done" if one.kind == "act" else ""), role),
            (one.by, Role.DIM),
        )

    def _said(self) -> list[Span]:
        if said := self.page.said(self.cockpit.moment.now):
            return line(" ", said)
        parts = (
            f"filter {self.text or 'none (/)'}",
            f"{number(len(self._keys))} of {number(len(self.chronicle))} shown, newest first",
            "all of the audit trail" if self._is_complete else "L for older" if self._cursor else "",
        )
        return line((" " + "   ".join(part for part in parts if part), Role.DIM))

    def _empty(self) -> list[list[Span]]:
        if not self.model.is_known and not self.page.answer:
            return [[], line("   … nothing is known yet")]
        if self.text:
            return [[], line("   nothing that was told matches"), line("   esc clears the filter, L asks for older")]
        return [[], line("   nothing has happened yet: no act, no change of a server, no setting")]

    def filter_by(self, text: str) -> None:
        self.text = text

    def filter_entered(self) -> None:
        self.action_older()

    def action_older(self) -> None:
        """The next page of the audit trail."""
        if self._is_complete:
            return
        query = AuditQuery(limit=PAGE, cursor=self._cursor)
        self.ask(self.page, lambda client: client.history.audit(query), self._take)

    def _take(self, page: AuditPage) -> None:
        self._cursor, self._is_complete = page.cursor, page.cursor is None
        self.chronicle.take(of_entry(entry) for entry in page.entries)

    @on(RowHighlighted)
    def _at_the_end(self, event: RowHighlighted) -> None:
        keys = self.table.keys
        if self._cursor is not None and len(keys) > 1 and event.key == keys[-1]:
            self.action_older()

    @on(RowChosen)
    async def _open(self, event: RowChosen) -> None:
        if one := self.chronicle.get(event.key):
            await self._show(one)

    async def _show(self, one: Happening) -> None:
        if is_task_id(one.subject):
            self.app.push_screen(TraceScreen(one.subject))
        else:
            await self.cockpit.open_object(place_of(one), one.subject)

    @property
    def _under_cursor(self) -> Happening | None:
        return self.chronicle.get(self.table.cursor) if self.table.cursor else None

    async def action_as_it_was(self) -> None:
        """The subject at that time."""
        if one := self._under_cursor:
            self.cockpit.replay_at(one.at)
            if not is_task_id(one.subject):
                await self.cockpit.open_object(place_of(one), one.subject)

    def action_copy_command(self) -> None:
        one = self._under_cursor
        command = command_of(one) if one else None
        if command is None:
            self.notify("no command does this again", title="Not copied", severity="warning")
        else:
            copy(self.app, command)

    def action_copy_subject(self) -> None:
        if one := self._under_cursor:
            copy(self.app, one.subject)


def _role(one: Happening) -> Role:
    if not one.ok:
        return Role.WARN
    return Role.DOWN if "UNHEALTHY" in one.what.rpartition("->")[2] else Role.PLAIN


def _day(at: int) -> str:
    return datetime.fromtimestamp(at / 1000, UTC).strftime("%m-%d %H:%M")


def _suggestion(text: str) -> str | None:
    word = text.rpartition(" ")[2].lstrip("-!")
    if not word:
        return None
    among = [f"{name}:" for name in FIELDS] + [f"kind:{kind}" for kind in KINDS] + ["ok:no"]
    found = next((one for one in among if one.startswith(word) and one != word), None)
    return None if found is None else text[: len(text) - len(word)] + found
