"""A chart of one series over time: filled, zero-based, in braille or, with ASCII, in bars."""

import math
from collections.abc import Sequence

from rich.segment import Segment
from textual.geometry import Region
from textual.strip import Strip
from textual.widget import Widget

from pointsman.tui.format import short
from pointsman.tui.looks import Role
from pointsman.tui.showing import look_of
from pointsman.tui.widgets.lines import finished

LABEL = 7
_LEFT = (0x40, 0x04, 0x02, 0x01)
_RIGHT = (0x80, 0x20, 0x10, 0x08)


class Area(Widget):
    """`show` takes values, oldest first, None where nothing is known; as many as fit are drawn, the newest at the right."""

    DEFAULT_CSS = """
    Area { width: 1fr; height: 1fr; }
    """

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._values: tuple[float | None, ...] = ()
        self._lines: list[tuple[str, str]] = []

    def show(self, values: Sequence[float | None]) -> None:
        """Only what looks different is drawn."""
        if (new := tuple(values)) == self._values:
            return
        self._values = new
        before, self._lines = self._lines, self._plotted()
        if len(before) != len(self._lines):
            self.refresh()
            return
        for y, now in enumerate(self._lines):
            if now != before[y]:
                self.refresh(Region(0, y, self.size.width, 1))

    def forget(self) -> None:
        """Draw everything anew: theme or size changed."""
        self._lines = []
        self.refresh()

    def on_resize(self) -> None:
        self._lines = []

    @property
    def columns(self) -> int:
        """Of the plot; each shows two values in braille."""
        return max(0, self.size.width - LABEL)

    def render_line(self, y: int) -> Strip:
        if not self._lines:
            self._lines = self._plotted()
        look = look_of(self)
        label, plot = self._lines[y] if y < len(self._lines) else ("", "")
        segments = [Segment(f"{label:>{LABEL - 1}} ", look.style(Role.DIM)), Segment(plot, look.style(Role.BAR))]
        return finished(segments, self.size.width, self.rich_style)

    def _plotted(self) -> list[tuple[str, str]]:
        height, width = self.size.height, self.columns
        dots = not look_of(self).ascii_only
        points = fitted(self._values, 2 * width if dots else width)
        top = ceiling(max((value for value in points if value is not None), default=0.0))
        steps = [None if value is None else value / top for value in points]
        rows = braille(steps, width, height) if dots else bars(steps, width, height)
        return list(zip(labels(top, height, is_known=any(value is not None for value in points)), rows, strict=True))


def fitted(values: Sequence[float | None], points: int) -> list[float | None]:
    """Exactly so many values: the mean of neighbours when there are more, unknown at the left when there are fewer."""
    if points <= 0:
        return []
    if len(values) <= points:
        return [None] * (points - len(values)) + list(values)
    result: list[float | None] = []
    for point in range(points):
        begin, end = point * len(values) // points, (point + 1) * len(values) // points
        known = [value for value in values[begin:end] if value is not None]
        result.append(sum(known) / len(known) if known else None)
    return result


def ceiling(value: float) -> float:
    """The round number at or above it that heads the axis."""
    if value <= 0:
        return 1.0
    size = 10.0 ** math.floor(math.log10(value))
    return next(step * size for step in (1, 1.5, 2, 2.5, 3, 4, 5, 6, 7.5, 10) if step * size >= value * 0.999_999)


def labels(top: float, height: int, *, is_known: bool) -> list[str]:
    marks = [""] * height
    if height:
        marks[-1] = "0" if is_known else "--"
    if height > 1 and is_known:
        marks[0] = short(top)
    if height > 3 and is_known:
        marks[height // 2] = short(top * (height - height // 2) / height)
    return marks


def braille(parts: Sequence[float | None], width: int, height: int) -> list[str]:
    """Two parts a cell, four steps a line."""
    heights = [0 if part is None else max(1, round(part * height * 4)) if part > 0 else 0 for part in parts]
    rows = []
    for line in range(height - 1, -1, -1):
        floor = line * 4
        cells = []
        for column in range(width):
            code = 0
            for dots, value in ((_LEFT, heights[2 * column]), (_RIGHT, heights[2 * column + 1])):
                for step in range(min(4, max(0, value - floor))):
                    code |= dots[step]
            cells.append(chr(0x2800 + code) if code else " ")
        rows.append("".join(cells))
    return rows


def bars(parts: Sequence[float | None], width: int, height: int) -> list[str]:
    """One part a cell, in ASCII."""
    heights = [0 if part is None else max(1, round(part * height)) if part > 0 else 0 for part in parts]
    return [
        "".join("#" if heights[column] > line else " " for column in range(width)) for line in range(height - 1, -1, -1)
    ]
