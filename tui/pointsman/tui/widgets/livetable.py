"""A table for rows that change all the time: the rows live outside, and only what changed is drawn.

`show(keys, version, cells)` says which rows there are, in order; `version(key)` is anything that differs when the row's cells
do, `cells(key)` is called for visible rows whose version is new. The cursor is a key, not a number: it follows its row. One
strip is kept per row and version, so that 200 changed rows cost what is visible of them.
"""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass

from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.binding import Binding
from textual.geometry import Region, Size
from textual.scroll_view import ScrollView
from textual.strip import Strip

from pointsman.tui.looks import Role, plain
from pointsman.tui.messages import MarksChanged, RowChosen, RowHighlighted
from pointsman.tui.showing import look_of
from pointsman.tui.widgets.lines import Line, finished

STRIPS_MAX = 250
Cell = str | tuple[str, Role]


@dataclass(frozen=True, slots=True)
class Column:
    """The higher its `priority`, the earlier it falls when there is no room; 0 never does. `grows` takes what is left."""

    title: str
    width: int
    right: bool = False
    priority: int = 0
    grows: bool = False


class LiveTable(ScrollView, can_focus=True):
    DEFAULT_CSS = """
    LiveTable { width: 1fr; height: 1fr; overflow-x: hidden; overflow-y: auto; scrollbar-size-vertical: 1; }
    """
    BINDINGS = [
        Binding("up,k", "move(-1)", "Up", show=False, id="table.up"),
        Binding("down,j", "move(1)", "Down", show=False, id="table.down"),
        Binding("pageup", "page(-1)", "Page up", show=False, id="table.pageup"),
        Binding("pagedown", "page(1)", "Page down", show=False, id="table.pagedown"),
        Binding("g,home", "first", "First", show=False, id="table.first"),
        Binding("G,end", "last", "Last", show=False, id="table.last"),
        Binding("enter", "choose", "Open", key_display="⏎", id="table.open"),
    ]
    MARK_BINDINGS = [
        Binding("space", "mark", "Mark", id="table.mark"),
        Binding("asterisk", "mark_all", "Mark all", show=False, id="table.mark_all"),
        Binding("backslash", "mark_none", "Mark none", show=False, id="table.mark_none"),
    ]

    def __init__(
        self, columns: Sequence[Column], *, id: str | None = None, markable: bool = False, header: bool = True
    ) -> None:
        super().__init__(id=id)
        self._fitted_width = -1
        self._top = 1 if header else 0
        self.empty: Sequence[Line] = ()
        self._empty_drawn: Sequence[Line] = ()
        self._columns = tuple(columns)
        self._fitting: list[tuple[int, Column, int]] = []
        self._keys: list[str] = []
        self._places: dict[str, int] = {}
        self._version: Callable[[str], Hashable] = lambda _: None
        self._cells: Callable[[str], Sequence[Cell]] = lambda _: ()
        self._strips: dict[tuple[str, Hashable, bool, bool], Strip] = {}
        self._drawn: dict[int, tuple[str, Hashable, bool, bool]] = {}
        self._markable = markable
        self.cursor: str | None = None
        self._place = 0
        self.marks: frozenset[str] = frozenset()
        if markable:
            for binding in self.MARK_BINDINGS:
                self._bindings.key_to_bindings.setdefault(binding.key, []).append(binding)

    def show(
        self, keys: Sequence[str], version: Callable[[str], Hashable], cells: Callable[[str], Sequence[Cell]]
    ) -> None:
        """The rows, in order. The cursor stays on its key; when that is gone, on the same line."""
        self._version, self._cells = version, cells
        self._take_keys(list(keys))
        if self._keys:
            self._refresh_changed()
        elif self.empty != self._empty_drawn:
            self._empty_drawn = list(self.empty)
            self.refresh()

    def set_columns(self, columns: Sequence[Column]) -> None:
        self._columns = tuple(columns)
        self.forget()

    def forget(self) -> None:
        """Draw everything anew: theme, size or columns changed."""
        self._strips.clear()
        self._drawn.clear()
        self._fit()
        self.refresh()

    @property
    def keys(self) -> Sequence[str]:
        return self._keys

    @property
    def chosen(self) -> tuple[str, ...]:
        """What a verb acts on, in the order of the rows: the marks, or the row under the cursor."""
        if self.marks:
            return tuple(key for key in self._keys if key in self.marks)
        return (self.cursor,) if self.cursor is not None else ()

    def _take_keys(self, keys: list[str]) -> None:
        if keys == self._keys:
            return
        at_top = self.cursor is not None and self._place == 0 and self.scroll_offset.y == 0
        self._keys = keys
        self._places = {key: place for place, key in enumerate(keys)}
        size = Size(self.size.width, len(keys) + self._top)
        if size != self.virtual_size:
            self.virtual_size = size
        gone = self.marks - self._places.keys()
        if gone:
            self._set_marks(self.marks - gone)
        self._follow(at_top)

    def _follow(self, at_top: bool) -> None:
        """Keep the cursor on its row, and its row on the screen."""
        if not self._keys:
            self._set_cursor(None)
        elif self.cursor in self._places:
            self._place = self._places[self.cursor]
            self._scroll_to_cursor()
        else:
            self._set_cursor(self._keys[min(self._place, len(self._keys) - 1)])

    def _set_cursor(self, key: str | None) -> None:
        before, self.cursor = self.cursor, key
        self._place = self._places.get(key, 0) if key is not None else 0
        if key is not None:
            self._scroll_to_cursor()
        if key != before:
            self._refresh_changed()
            self.post_message(RowHighlighted(self.id, key))

    def _scroll_to_cursor(self) -> None:
        rows = max(1, self.size.height - self._top)
        top = self.scroll_offset.y
        if self._place < top:
            self.scroll_to(y=self._place, animate=False, immediate=True)
        elif self._place >= top + rows:
            self.scroll_to(y=self._place - rows + 1, animate=False, immediate=True)

    def _refresh_changed(self) -> None:
        """Ask for the lines whose row or version is not the one drawn there."""
        top = self.scroll_offset.y
        for y in range(self._top, self.size.height):
            if self._drawn.get(y) != self._wanted(top + y - self._top):
                self.refresh(Region(0, y, self.size.width, 1))

    def _wanted(self, place: int) -> tuple[str, Hashable, bool, bool] | None:
        if place >= len(self._keys):
            return None
        key = self._keys[place]
        return (key, self._version(key), key == self.cursor, key in self.marks)

    @property
    def _width(self) -> int:
        """Without the scrollbar."""
        return self.scrollable_content_region.width

    def render_line(self, y: int) -> Strip:
        if self._fitted_width != self._width:
            self._strips.clear()
            self._fit()
        if y < self._top:
            return self._header()
        wanted = self._wanted(self.scroll_offset.y + y - self._top)
        if wanted is None:
            self._drawn.pop(y, None)
            return self._blank(y - self._top)
        self._drawn[y] = wanted
        strip = self._strips.get(wanted)
        if strip is None:
            if len(self._strips) >= STRIPS_MAX:
                self._strips.clear()
            strip = self._strips[wanted] = self._row(wanted)
        return strip

    def _blank(self, y: int) -> Strip:
        """Under the last row; of a table without rows, what it has to say instead."""
        spans = self.empty[y] if not self._keys and y < len(self.empty) else ()
        look = look_of(self)
        segments = [
            Segment(plain(span.text) if look.ascii_only else span.text, look.style(span.role)) for span in spans
        ]
        return finished(segments, self._width, self.rich_style)

    def _row(self, wanted: tuple[str, Hashable, bool, bool]) -> Strip:
        key, _, is_cursor, is_marked = wanted
        look = look_of(self)
        cells = self._cells(key)
        segments = [
            Segment("▌" if is_marked and not look.ascii_only else ">" if is_marked else " ", look.style(Role.ACCENT))
        ]
        for index, column, width in self._fitting:
            cell = cells[index] if index < len(cells) else ""
            text, role = (cell, Role.PLAIN) if isinstance(cell, str) else cell
            segments.append(Segment(_shown(text, width, column.right, ascii_only=look.ascii_only), look.style(role)))
        return finished(segments, self._width, self._ground(is_cursor))

    def _ground(self, is_cursor: bool) -> Style:
        if not is_cursor:
            return self.rich_style
        if self.app.no_color:
            return self.rich_style + Style(reverse=True)
        return self.rich_style + Style(bgcolor=self.app.theme_variables["panel"], bold=self.has_focus)

    def _header(self) -> Strip:
        style = look_of(self).style(Role.STRONG)
        segments = [Segment(" ", style)]
        segments += [Segment(_padded(column.title, width, column.right), style) for _, column, width in self._fitting]
        return finished(segments, self._width, self.rich_style)

    def _fit(self) -> None:
        """Columns fall by priority until the rest has room; a growing one takes what is left."""
        columns = list(enumerate(self._columns))
        self._fitted_width = self._width
        room = self._width - 1
        while columns and sum(column.width + 1 for _, column in columns) > room + 1:
            weakest = max(columns, key=lambda entry: (entry[1].priority, entry[0]))
            if weakest[1].priority == 0:
                break
            columns.remove(weakest)
        left = max(0, room + 1 - sum(column.width + 1 for _, column in columns))
        self._fitting = []
        for index, column in columns:
            extra, left = (left, 0) if column.grows else (0, left)
            self._fitting.append((index, column, column.width + extra))

    def on_resize(self) -> None:
        self.virtual_size = Size(self.size.width, len(self._keys) + self._top)
        self.forget()
        if self.cursor is not None:
            self._scroll_to_cursor()

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        super().watch_scroll_y(old_value, new_value)
        self._drawn.clear()
        self.refresh()

    def on_focus(self) -> None:
        self.forget()

    def on_blur(self) -> None:
        self.forget()

    def notify_style_update(self) -> None:
        self._strips.clear()
        self._drawn.clear()
        super().notify_style_update()

    def action_move(self, by: int) -> None:
        self._go(self._place + by)

    def action_page(self, by: int) -> None:
        self._go(self._place + by * max(1, self.size.height - self._top - 1))

    def action_first(self) -> None:
        self._go(0)

    def action_last(self) -> None:
        self._go(len(self._keys) - 1)

    def _go(self, place: int) -> None:
        if self._keys:
            self._set_cursor(self._keys[min(max(0, place), len(self._keys) - 1)])

    def go_to(self, key: str) -> bool:
        """Put the cursor on this row, if there is one."""
        if key not in self._places:
            return False
        self._set_cursor(key)
        return True

    def action_choose(self) -> None:
        if self.cursor is not None:
            self.post_message(RowChosen(self.id, self.cursor))

    def action_mark(self) -> None:
        if self.cursor is not None:
            self._set_marks(self.marks ^ {self.cursor})
            self.action_move(1)

    def action_mark_all(self) -> None:
        self._set_marks(frozenset(self._keys))

    def action_mark_none(self) -> None:
        self._set_marks(frozenset())

    def _set_marks(self, marks: frozenset[str]) -> None:
        if marks != self.marks:
            self.marks = marks
            self._refresh_changed()
            self.post_message(MarksChanged(self.id, marks))

    def on_click(self, event: events.Click) -> None:
        offset = event.get_content_offset(self)
        if offset is None or offset.y < self._top:
            return
        place = self.scroll_offset.y + offset.y - self._top
        if place < len(self._keys):
            was = self.cursor
            self._set_cursor(self._keys[place])
            if was == self.cursor:
                self.action_choose()


def _padded(text: str, width: int, right: bool) -> str:
    cut = text if len(text) <= width else text[: width - 1] + "…"
    return f"{cut:>{width}} " if right else f"{cut:<{width}} "


def _shown(text: str, width: int, right: bool, *, ascii_only: bool) -> str:
    padded = _padded(text, width, right)
    return plain(padded) if ascii_only else padded
