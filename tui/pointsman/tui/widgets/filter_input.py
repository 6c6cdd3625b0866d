"""Where a filter is typed: one line, hidden until it is needed, with suggestions of what has been seen."""

from collections.abc import Callable, Iterable, Mapping

from textual.binding import Binding
from textual.suggester import Suggester
from textual.widgets import Input

from pointsman.tui.suggesting import suggestion

type Seen = Callable[[], Mapping[str, Iterable[str]]]


class FilterInput(Input):
    BINDINGS = [Binding("escape", "screen.leave_filter", "Leave the filter", show=False)]
    DEFAULT_CSS = """
    FilterInput { height: 1; border: none; padding: 0 1; background: $panel; display: none; }
    FilterInput:focus { border: none; }
    """

    def __init__(self, seen: Seen, *, placeholder: str) -> None:
        super().__init__(suggester=SeenSuggester(seen), placeholder=placeholder, id="filter-input")

    def open(self, text: str) -> None:
        self.value = text
        self.display = True
        self.focus()

    def close(self) -> None:
        self.display = False


class SeenSuggester(Suggester):
    def __init__(self, seen: Seen) -> None:
        super().__init__(use_cache=False, case_sensitive=True)
        self._seen = seen

    async def get_suggestion(self, value: str) -> str | None:
        return suggestion(value, self._seen())
