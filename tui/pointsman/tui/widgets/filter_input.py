"""Where a filter is typed: one line, hidden until it is needed, with suggestions."""

from collections.abc import Callable

from textual.suggester import Suggester
from textual.widgets import Input

type Suggest = Callable[[str], str | None]


class FilterInput(Input):
    DEFAULT_CSS = """
    FilterInput { height: 1; border: none; padding: 0 1; background: $panel; display: none; }
    FilterInput:focus { border: none; }
    """

    def __init__(self, suggest: Suggest, *, placeholder: str) -> None:
        super().__init__(suggester=Suggesting(suggest), placeholder=placeholder, id="filter-input")

    def open(self, text: str) -> None:
        self.value = text
        self.display = True
        self.screen.set_focus(self)

    def close(self) -> None:
        self.display = False


class Suggesting(Suggester):
    def __init__(self, suggest: Suggest) -> None:
        super().__init__(use_cache=False, case_sensitive=True)
        self._suggest = suggest

    async def get_suggestion(self, value: str) -> str | None:
        return self._suggest(value)
