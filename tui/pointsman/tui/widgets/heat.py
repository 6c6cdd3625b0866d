"""One cell per thing at a fixed place: its height is a load, a glyph replaces it when something is the matter."""

from collections.abc import Sequence

from rich.segment import Segment
from textual import events
from textual.geometry import Region
from textual.strip import Strip
from textual.widget import Widget

from pointsman.tui.looks import HeatCell, plain
from pointsman.tui.messages import CellChosen
from pointsman.tui.showing import look_of
from pointsman.tui.widgets.lines import finished


class Heat(Widget):
    DEFAULT_CSS = """
    Heat { width: 1fr; height: 1fr; }
    """

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._cells: list[HeatCell] = []

    def show(self, cells: Sequence[HeatCell]) -> None:
        """Lines with a changed cell are drawn anew."""
        new, width = list(cells), self.size.width
        if len(new) != len(self._cells) or not width:
            self._cells = new
            self.refresh()
            return
        changed = {place // width for place, cell in enumerate(new) if cell != self._cells[place]}
        self._cells = new
        for y in changed:
            self.refresh(Region(0, y, width, 1))

    @property
    def room(self) -> int:
        """How many cells fit."""
        return self.size.width * self.size.height

    def render_line(self, y: int) -> Strip:
        width, look = self.size.width, look_of(self)
        segments = [
            Segment(plain(cell.glyph) if look.ascii_only else cell.glyph, look.style(cell.role))
            for cell in self._cells[y * width : (y + 1) * width]
        ]
        return finished(segments, width, self.rich_style)

    def on_click(self, event: events.Click) -> None:
        offset = event.get_content_offset(self)
        if offset is None:
            return
        place = offset.y * self.size.width + offset.x
        if place < len(self._cells):
            self.post_message(CellChosen(self._cells[place].key))
