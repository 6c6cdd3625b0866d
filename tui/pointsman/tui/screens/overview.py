"""The screen Overview."""

from textual.app import ComposeResult

from pointsman.tui.screens.base import CockpitScreen
from pointsman.tui.topbar import alerts_text
from pointsman.tui.widgets.lines import Lines, line


class OverviewScreen(CockpitScreen):
    NAME = "overview"
    DEFAULT_CSS = """
    OverviewScreen #body { height: 1fr; }
    """

    def body(self) -> ComposeResult:
        yield Lines(id="body")

    def draw(self) -> None:
        self.query_one("#body", Lines).show([line(""), line(f"  {alerts_text(self.model)}")])
