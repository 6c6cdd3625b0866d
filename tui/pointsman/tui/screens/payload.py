"""The page Input and result of a task: JSON with sorted keys and exact numbers, and its errors in full."""

import msgspec
from textual.app import ComposeResult
from textual.binding import Binding

from pointsman.contracts.base import is_null
from pointsman.contracts.task import Task
from pointsman.tui.asked import Asked
from pointsman.tui.copying import copy
from pointsman.tui.format import size
from pointsman.tui.json_lines import lines_of_json
from pointsman.tui.looks import Role
from pointsman.tui.screens.asking import AskingScreen
from pointsman.tui.trace import one_line
from pointsman.tui.trace_lines import wrapped
from pointsman.tui.widgets.lines import Line, Lines, line
from pointsman.tui.widgets.pager import Pager

WRAP, WRAPPED_MAX = 76, 100


class PayloadScreen(AskingScreen):
    NAME = "tasks"
    DEFAULT_CSS = """
    PayloadScreen #said { height: 1; }
    """
    BINDINGS = [
        Binding("escape", "app.back", "Back", key_display="esc", id="payload.back"),
        Binding("i", "again", "Read again", id="payload.again"),
        Binding("y", "copy_all", "Copy", id="payload.copy"),
        Binding("Y", "copy_command", "Copy the command", show=False, id="payload.copy_command"),
    ]

    def __init__(self, task_id: str) -> None:
        super().__init__()
        self.task_id = task_id
        self.asked: Asked[Task] = Asked("task")
        self._lines: list[Line] = []

    def body(self) -> ComposeResult:
        yield Lines(id="said")
        yield Pager(id="json")

    def on_mount(self) -> None:
        self.query_one(Pager).focus()
        self.action_again()

    def action_again(self) -> None:
        self.ask(self.asked, lambda client: client.tasks.get(self.task_id), self._take)

    def _take(self, task: Task) -> None:
        self._lines = [
            *_part("input", task.payload),
            line(""),
            *_part("result", task.result),
            line(""),
            *_part("metadata", task.metadata),
            *(one for attempt in task.attempts if attempt.error for one in _error(attempt.number, attempt.error)),
        ]

    def draw(self) -> None:
        said = self.asked.said(self.cockpit.moment.now) or (f"task {self.task_id}", Role.STRONG)
        self.query_one("#said", Lines).show([line(" ", said)])
        self.query_one(Pager).show(self._lines)

    def action_copy_all(self) -> None:
        copy(self.app, self.query_one(Pager).whole_text)

    def action_copy_command(self) -> None:
        copy(self.app, f"pointsman task get {self.task_id}")


def _error(number: int, error: str) -> list[Line]:
    """In full, line by line."""
    told = [line(f" {part}") for text in error.splitlines() for part in wrapped(one_line(text), WRAP, WRAPPED_MAX)]
    return [line(""), line((f" error of attempt {number}", Role.DIM)), *told]


def _part(name: str, value: msgspec.Raw) -> list[Line]:
    if is_null(value):
        return [line((f" {name}   ", Role.DIM), "none")]
    data = bytes(value)
    return [line((f" {name}   {size(len(data))}", Role.DIM)), *(line(f" {text}") for text in lines_of_json(data))]
