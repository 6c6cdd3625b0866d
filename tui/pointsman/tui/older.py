"""Pages of the archive for what is looked for, one after the other. Pure."""

from dataclasses import dataclass, field

from pointsman.contracts.search import SearchTasks, TaskPage
from pointsman.tui.asked import Asked
from pointsman.tui.format import number

PAGE = 100


@dataclass(slots=True)
class Older:
    asked: Asked[TaskPage] = field(default_factory=lambda: Asked("history"))
    pages: int = 0
    cursor: str | None = None
    first: TaskPage | None = None

    @property
    def is_more(self) -> bool:
        return self.cursor is not None

    def request(self, query: str) -> SearchTasks | None:
        """For the next page; None after the last."""
        if self.pages and not self.is_more:
            return None
        return SearchTasks(filters={"q": query} if query else {}, limit=PAGE, cursor=self.cursor)

    def took(self, page: TaskPage) -> None:
        self.pages += 1
        self.cursor = page.cursor
        self.first = self.first or page

    def forget(self) -> None:
        """Something else is looked for."""
        self.asked.forget()
        self.pages, self.cursor, self.first = 0, None, None

    def said(self) -> str:
        if self.first is None:
            return ""
        about = "about " if self.first.total_is_estimate else ""
        total = "" if self.first.total is None else f" of {about}{number(self.first.total)} found"
        return f"history, page {self.pages}{total}{', L for older' if self.is_more else ''}"
