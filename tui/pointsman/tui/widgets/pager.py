"""Lines that may be more than fit: they stay where the reader is, and what is beyond the edge is told."""

from collections.abc import Sequence

from textual import events
from textual.binding import Binding

from pointsman.tui.looks import Role
from pointsman.tui.widgets.lines import Line, Lines, Span, line


class Pager(Lines, can_focus=True):
    DEFAULT_CSS = """
    Pager { height: 1fr; width: 1fr; }
    """
    BINDINGS = [
        Binding("up,k", "scroll(-1)", "Up", show=False, id="pager.up"),
        Binding("down,j", "scroll(1)", "Down", show=False, id="pager.down"),
        Binding("pageup", "page(-1)", "Page up", show=False, id="pager.pageup"),
        Binding("pagedown,space", "page(1)", "Page down", show=False, id="pager.pagedown"),
        Binding("g,home", "jump(0)", "First", show=False, id="pager.first"),
        Binding("G,end", "jump(1000000000)", "Last", show=False, id="pager.last"),
    ]

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._all: Sequence[Line] = ()
        self.offset_lines = 0

    def show(self, lines: Sequence[Line]) -> None:
        self._all = lines
        self._window()

    @property
    def whole_text(self) -> str:
        return "\n".join("".join(span.text for span in spans).rstrip() for spans in self._all)

    def go_to_top(self) -> None:
        self.offset_lines = 0

    def _window(self) -> None:
        height = max(1, self.size.height)
        last = max(0, len(self._all) - height)
        self.offset_lines = min(max(0, self.offset_lines), last)
        end = self.offset_lines + height
        shown: list[Line] = [list(spans) for spans in self._all[self.offset_lines : end]]
        left = len(self._all) - end
        if left > 0:
            shown[-1] = line((f" ↓ {left + 1:,} more lines", Role.DIM))
        elif self.offset_lines and last:
            shown[0] = line((f" ↑ {self.offset_lines + 1:,} lines before", Role.DIM))
        super().show(shown)

    def on_resize(self) -> None:
        super().on_resize()
        self._window()

    def action_scroll(self, by: int) -> None:
        self.action_jump(self.offset_lines + by)

    def action_page(self, by: int) -> None:
        self.action_jump(self.offset_lines + by * max(1, self.size.height - 2))

    def action_jump(self, to: int) -> None:
        self.offset_lines = to
        self._window()

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        self.action_scroll(3)

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        self.action_scroll(-3)


def as_lines(pieces: Sequence[Sequence[tuple[str, Role]]]) -> list[list[Span]]:
    """From the pure layouts."""
    return [line(*part) for part in pieces]
