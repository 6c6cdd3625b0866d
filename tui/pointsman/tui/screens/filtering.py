"""Screens with a list and a filter: it narrows while it is typed, enter asks for more, escape takes it back."""

from textual import on
from textual.widgets import Input

from pointsman.contracts.filters import FilterError
from pointsman.tui.screens.asking import AskingScreen
from pointsman.tui.widgets.filter_input import FilterInput
from pointsman.tui.widgets.livetable import LiveTable


class FilteringScreen(AskingScreen):
    AUTO_FOCUS = "LiveTable"

    def __init__(self) -> None:
        super().__init__()
        self.text = ""
        self.complaint = ""
        self._text_before = ""

    def filter_by(self, text: str) -> None:
        """Show what matches; raises FilterError."""
        raise NotImplementedError

    def filter_entered(self) -> None:
        """The filter stays: ask for what is not here yet."""

    @property
    def table(self) -> LiveTable:
        return self.query_one(LiveTable)

    @property
    def chosen(self) -> tuple[str, ...]:
        """The keys that a verb acts on: what is marked, or what the cursor is on."""
        return self.table.chosen

    def action_edit_filter(self) -> None:
        self._text_before = self.text
        self.query_one(FilterInput).open(self.text)

    @on(Input.Changed)
    def _typed(self, event: Input.Changed) -> None:
        if event.input.display:
            self._try(event.value.strip())

    def _try(self, text: str) -> None:
        try:
            self.filter_by(text)
            self.complaint = ""
        except FilterError as error:
            self.complaint = error.detail
        self.cockpit.wake()

    @on(Input.Submitted)
    def _entered(self) -> None:
        if not self.complaint:
            self._close()
            self.filter_entered()

    def go_back(self) -> bool:
        """Escape takes back what was typed, then clears the filter."""
        if self.query_one(FilterInput).display:
            self._close()
            self._try(self._text_before)
        elif self.text:
            self._try("")
        else:
            return False
        return True

    def _close(self) -> None:
        self.query_one(FilterInput).close()
        self.table.focus()
