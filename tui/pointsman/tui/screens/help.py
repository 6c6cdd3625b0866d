"""Every key of the screen below, with what it does: a list that is searched and run."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical
from textual.dom import DOMNode
from textual.screen import ModalScreen, Screen
from textual.widgets import Input

from pointsman.tui.looks import Role
from pointsman.tui.messages import RowChosen
from pointsman.tui.widgets.livetable import Cell, Column, LiveTable

COLUMNS = (Column("KEY", 12), Column("WHAT IT DOES", 30, grows=True), Column("ID", 20, priority=1))


@dataclass(frozen=True, slots=True)
class Entry:
    keys: str
    words: str
    binding_id: str
    action: str
    node: DOMNode


class HelpScreen(ModalScreen[Entry | None]):
    """Gives the entry whose action is to be run, or None."""

    BINDINGS = [
        Binding("escape,question_mark", "cancel", "Back", id="help.back"),
        Binding("down", "cursor(1)", "Down", show=False, id="help.down"),
        Binding("up", "cursor(-1)", "Up", show=False, id="help.up"),
    ]

    def __init__(self, entries: Sequence[Entry], title: str) -> None:
        super().__init__()
        self._entries = {str(place): entry for place, entry in enumerate(entries)}
        self._title = title
        self._wanted = ""

    def compose(self) -> ComposeResult:
        with Vertical(id="help") as box:
            box.border_title = f"keys of {self._title}: enter runs one, esc goes back"
            yield Input(placeholder="type to search", compact=True)
            yield LiveTable(COLUMNS, id="entries")

    def on_mount(self) -> None:
        self.query_one(Input).focus()
        self._show()

    def _show(self) -> None:
        words = self._wanted.lower().split()
        shown = [key for key, entry in self._entries.items() if all(word in _searched(entry) for word in words)]
        self.query_one(LiveTable).show(shown, lambda _: None, self._cells)

    def _cells(self, key: str) -> Sequence[Cell]:
        entry = self._entries[key]
        return ((entry.keys, Role.ACCENT), entry.words, (entry.binding_id, Role.DIM))

    def on_input_changed(self, message: Input.Changed) -> None:
        self._wanted = message.value
        self._show()

    def on_input_submitted(self, message: Input.Submitted) -> None:
        self.query_one(LiveTable).action_choose()

    def on_row_chosen(self, message: RowChosen) -> None:
        self.dismiss(self._entries[message.key])

    def action_cursor(self, by: int) -> None:
        self.query_one(LiveTable).action_move(by)

    def action_cancel(self) -> None:
        self.dismiss(None)


def entries_of(screen: Screen[Any]) -> list[Entry]:
    """What each key does there now: the screen's own first, then what holds everywhere."""
    own: list[Entry] = []
    common: list[Entry] = []
    keys_of: dict[str, list[str]] = {}
    bound = screen.active_bindings
    for active in bound.values():
        keys_of.setdefault(active.binding.action, []).append(screen.app.get_key_display(active.binding))
    for active in bound.values():
        binding = active.binding
        if not active.enabled or not binding.description or binding.action not in keys_of or _is_untold(binding):
            continue
        entry = Entry(
            " ".join(keys_of.pop(binding.action)), binding.description, binding.id or "", binding.action, active.node
        )
        (common if active.node is screen.app else own).append(entry)
    return own + common


def _is_untold(binding: Binding) -> bool:
    """What widgets of the library bind by themselves has no id."""
    return not binding.id or binding.system


def _searched(entry: Entry) -> str:
    return f"{entry.keys} {entry.words} {entry.binding_id}".lower()
