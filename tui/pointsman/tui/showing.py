"""How things look here and now: the palette of the theme, ASCII or not, dimmed or not. Widgets that draw lines ask it."""

from dataclasses import dataclass, field

from rich.style import Style
from textual.app import App
from textual.widget import Widget

from pointsman.tui.looks import Role
from pointsman.tui.options import Options
from pointsman.tui.themes import NO_COLOR


@dataclass(frozen=True, slots=True)
class Look:
    """`dimmed`: what is shown is not of now."""

    palette: dict[Role, Style] = field(default_factory=lambda: NO_COLOR)
    ascii_only: bool = False
    dimmed: bool = False

    def style(self, role: Role) -> Style:
        return self.palette[Role.DIM if self.dimmed else role]


class ShowingApp(App[Options]):
    """An app that says how its widgets look. It ends with what is to be shown next, or None."""

    look: Look = Look()


def look_of(widget: Widget) -> Look:
    app = widget.app
    return app.look if isinstance(app, ShowingApp) else Look()
