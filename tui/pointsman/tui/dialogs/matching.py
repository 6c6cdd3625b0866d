"""All that match a filter: cancel them or retry them? How many they are is asked next."""

from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Horizontal, Vertical
from textual.screen import ModalScreen
from textual.widgets import Button, Label

from pointsman.tui.acts import Verb


class MatchingDialog(ModalScreen[Verb | None]):
    DEFAULT_CSS = """
    MatchingDialog { align: center middle; }
    MatchingDialog #box {
        width: 78; max-width: 100%; height: auto; padding: 0 1; background: $background; border: round $primary;
    }
    MatchingDialog Label { margin: 0 0 1 0; }
    MatchingDialog #buttons { height: 1; align-horizontal: right; }
    MatchingDialog Button { height: 1; border: none; min-width: 16; margin: 0 0 0 2; background: $panel; }
    MatchingDialog Button:focus { background: $primary; color: $background; text-style: bold reverse; }
    """
    BINDINGS = [
        Binding("escape,n", "choose('')", "No, go back", show=False, id="matching.leave"),
        Binding("c", "choose('cancel')", "Cancel them", show=False, id="matching.cancel"),
        Binding("r", "choose('retry')", "Retry them", show=False, id="matching.retry"),
        Binding("left", "app.focus_previous", show=False),
        Binding("right", "app.focus_next", show=False),
    ]

    def __init__(self, matching: str) -> None:
        super().__init__()
        self._matching = matching

    def compose(self) -> ComposeResult:
        with Vertical(id="box") as box:
            box.border_title = " All tasks that match "
            yield Label(f"{self._matching}\n\nThey are counted before anything is done.", markup=False)
            with Horizontal(id="buttons"):
                yield Button("No, go back", id="none", compact=True)
                yield Button("c  Cancel them", id="cancel", compact=True)
                yield Button("r  Retry them", id="retry", compact=True)

    def on_mount(self) -> None:
        self.query_one("#none", Button).focus()

    def on_button_pressed(self, message: Button.Pressed) -> None:
        self.action_choose("" if message.button.id == "none" else message.button.id or "")

    def action_choose(self, verb: str) -> None:
        self.dismiss(Verb(verb) if verb else None)
