"""The page Explain: why a task is where it is, asked again while it waits."""

from textual.app import ComposeResult
from textual.binding import Binding

from pointsman.contracts.explain import Explanation
from pointsman.tui.asked import Asked
from pointsman.tui.copying import copy
from pointsman.tui.explain_lines import lines_of
from pointsman.tui.screens.asking import AskingScreen
from pointsman.tui.widgets.lines import Lines, line
from pointsman.tui.widgets.pager import Pager, as_lines

ASK_EVERY_S = 2.0


class ExplainScreen(AskingScreen):
    NAME = "tasks"
    DEFAULT_CSS = """
    ExplainScreen #said { height: 1; }
    """
    BINDINGS = [
        Binding("escape", "app.back", "Back", key_display="esc", id="explain.back"),
        Binding("e", "again", "Ask again", id="explain.again"),
        Binding("Y", "copy_command", "Copy the command", show=False, id="explain.copy_command"),
    ]

    def __init__(self, task_id: str) -> None:
        super().__init__()
        self.task_id = task_id
        self.asked: Asked[Explanation] = Asked("explain")

    def body(self) -> ComposeResult:
        yield Lines(id="said")
        yield Pager(id="explained")

    def on_mount(self) -> None:
        self.query_one(Pager).focus()
        self.action_again()
        self.set_interval(ASK_EVERY_S, self.action_again)

    def action_again(self) -> None:
        self.ask(self.asked, lambda client: client.tasks.explain(self.task_id))

    def draw(self) -> None:
        moment = self.cockpit.moment
        answer = self.asked.answer
        age = "" if self.asked.answered_at is None else f" {moment.now - self.asked.answered_at:.0f} s ago"
        said = self.asked.said(moment.now) or (f"why is it not running?   asked{age or ' …'}",)
        self.query_one("#said", Lines).show([line(" ", *((said,) if len(said) == 2 else said))])
        if answer is not None:
            now_ms = answer.as_of or round(moment.wall_ms)
            lines = lines_of(answer, now_ms=now_ms, width=self.size.width, zone=moment.zone)
            self.query_one(Pager).show(as_lines(lines))

    def action_copy_command(self) -> None:
        copy(self.app, f"pointsman task explain {self.task_id}")
