"""A dialog that asks for one line of text."""

from collections.abc import Callable

from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Input, Label


class OneLineScreen(ModalScreen[str | None]):
    """`refusal` says why a text will not do, or None when it will. Escape gives None."""

    BINDINGS = [Binding("escape", "cancel", "Back", id="ask.cancel")]

    def __init__(self, title: str, hint: str, refusal: Callable[[str], str | None]) -> None:
        super().__init__()
        self._title = title
        self._hint = hint
        self._refusal = refusal

    def compose(self) -> ComposeResult:
        with Vertical(id="ask") as box:
            box.border_title = self._title
            yield Input(placeholder=self._hint, id="answer", compact=True)
            yield Label("", id="refusal")

    def on_mount(self) -> None:
        self.query_one(Input).focus()

    def on_input_submitted(self, message: Input.Submitted) -> None:
        refusal = self._refusal(message.value)
        if refusal is None:
            self.dismiss(message.value)
        else:
            self.query_one("#refusal", Label).update(refusal)

    def action_cancel(self) -> None:
        self.dismiss(None)
