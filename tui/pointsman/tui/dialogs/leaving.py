"""Before the cockpit is closed while acts of its operator still run: they go on without it."""

from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Horizontal, Vertical
from textual.screen import ModalScreen
from textual.widgets import Button, Label


class LeaveDialog(ModalScreen[bool]):
    """`running` says what runs, line by line. True: leave."""

    DEFAULT_CSS = """
    LeaveDialog { align: center middle; }
    LeaveDialog #box {
        width: 78; max-width: 100%; height: auto; padding: 0 1; background: $background; border: round $primary;
    }
    LeaveDialog Label { margin: 0 0 1 0; }
    LeaveDialog #buttons { height: 1; align-horizontal: right; }
    LeaveDialog Button { height: 1; border: none; min-width: 16; margin: 0 0 0 2; background: $panel; }
    LeaveDialog Button:focus { background: $primary; color: $background; text-style: bold reverse; }
    """
    BINDINGS = [
        Binding("y", "answer(True)", "Leave", show=False, id="leave.yes"),
        Binding("n,escape", "answer(False)", "Stay", show=False, id="leave.no"),
        Binding("left", "app.focus_previous", show=False),
        Binding("right", "app.focus_next", show=False),
    ]

    def __init__(self, running: list[str]) -> None:
        super().__init__()
        self._running_acts = running

    def compose(self) -> ComposeResult:
        with Vertical(id="box") as box:
            box.border_title = " Leave? "
            text = "\n".join(self._running_acts)
            yield Label(f"{text}\n\nIt goes on in the cluster; how it ends stands on Events.", markup=False)
            with Horizontal(id="buttons"):
                yield Button("No, stay", id="no", compact=True)
                yield Button("Leave", id="yes", compact=True)

    def on_mount(self) -> None:
        self.query_one("#no", Button).focus()

    def on_button_pressed(self, message: Button.Pressed) -> None:
        self.dismiss(message.button.id == "yes")

    def action_answer(self, is_yes: bool) -> None:
        self.dismiss(is_yes)
