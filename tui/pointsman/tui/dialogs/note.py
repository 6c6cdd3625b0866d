"""One line of text about something: a note with an acknowledgement."""

from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Input, Label

NOTE_LENGTH_MAX = 256


class NoteDialog(ModalScreen[str | None]):
    """Enter gives the text, which may be empty; escape gives None."""

    DEFAULT_CSS = """
    NoteDialog { align: center middle; }
    NoteDialog #box {
        width: 78; max-width: 100%; height: auto; padding: 0 1; background: $background; border: round $primary;
    }
    NoteDialog Input { border: none; height: 1; padding: 0 1; background: $panel; }
    """
    BINDINGS = [Binding("escape", "leave", "No, go back", show=False, id="note.leave")]

    def __init__(self, title: str, about: str) -> None:
        super().__init__()
        self._title = title
        self._about = about

    def compose(self) -> ComposeResult:
        with Vertical(id="box") as box:
            box.border_title = f" {self._title} "
            yield Label(self._about, markup=False)
            yield Input(placeholder="a note, or nothing", max_length=NOTE_LENGTH_MAX, compact=True)
            yield Label("enter acknowledges, esc goes back")

    def on_mount(self) -> None:
        self.query_one(Input).focus()

    def on_input_submitted(self, message: Input.Submitted) -> None:
        self.dismiss(message.value)

    def action_leave(self) -> None:
        self.dismiss(None)
