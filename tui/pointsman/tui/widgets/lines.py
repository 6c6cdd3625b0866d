"""Widgets that draw their own lines: texts of a fixed size that are put on the screen without a layout.

A line is a sequence of `Span`. What has not changed is not drawn again.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.geometry import Region
from textual.strip import Strip
from textual.widget import Widget

from pointsman.tui.looks import Role, plain
from pointsman.tui.showing import look_of


class Span(NamedTuple):
    """A piece of a line; a click on it runs `action`."""

    text: str
    role: Role = Role.PLAIN
    action: str = ""


Line = Sequence[Span]


def line(*parts: str | Span | tuple[str, Role]) -> list[Span]:
    """A line of plain texts, (text, role) pairs and spans."""
    return [Span(part) if isinstance(part, str) else Span(*part) for part in parts]


def width_of(spans: Iterable[Span]) -> int:
    return sum(len(span.text) for span in spans)


class Lines(Widget):
    """`show` puts lines on the screen and draws only those that differ from what is there."""

    DEFAULT_CSS = """
    Lines { height: 1; width: 1fr; }
    """

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes)
        self._shown: list[list[Span]] = []
        self._strips: dict[int, Strip] = {}

    def show(self, lines: Sequence[Line]) -> None:
        new = [list(spans) for spans in lines]
        if len(new) != len(self._shown):
            self._shown = new
            self.forget()
            return
        for y, spans in enumerate(new):
            if spans != self._shown[y]:
                self._shown[y] = spans
                self._strips.pop(y, None)
                self.refresh(Region(0, y, self.size.width, 1))

    def forget(self) -> None:
        """Draw everything anew: the theme or the size changed."""
        self._strips.clear()
        self.refresh()

    def notify_style_update(self) -> None:
        self._strips.clear()
        super().notify_style_update()

    def on_resize(self) -> None:
        self._strips.clear()

    @property
    def shown_text(self) -> str:
        """What stands there, as text."""
        return "\n".join("".join(span.text for span in spans).rstrip() for spans in self._shown)

    def render_line(self, y: int) -> Strip:
        strip = self._strips.get(y)
        if strip is None:
            strip = self._strips[y] = self._drawn(self._shown[y] if y < len(self._shown) else [])
        return strip

    def style_of(self, role: Role) -> Style:
        return look_of(self).style(role)

    def _drawn(self, spans: Line) -> Strip:
        ascii_only = look_of(self).ascii_only
        segments = [Segment(plain(span.text) if ascii_only else span.text, self.style_of(span.role)) for span in spans]
        return finished(segments, self.size.width, self.rich_style)

    def on_click(self, event: events.Click) -> None:
        offset = event.get_content_offset(self)
        if offset is None or offset.y >= len(self._shown):
            return
        x = offset.x
        for span in self._shown[offset.y]:
            if x < len(span.text):
                if span.action:
                    self.call_later(self.screen.run_action, span.action)
                return
            x -= len(span.text)


def finished(segments: Sequence[Segment], width: int, base: Style) -> Strip:
    """One line of exactly this width on the widget's own ground, with equal neighbours merged."""
    return Strip(segments).adjust_cell_length(width).apply_style(base).simplify()
