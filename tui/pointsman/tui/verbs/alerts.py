"""Acknowledging what needs attention, with a note."""

from typing import ClassVar

from textual.binding import Binding

from pointsman.contracts.frames import AlertRow
from pointsman.tui.acts import Act, Thing, Verb
from pointsman.tui.screens.base import CockpitScreen


class AlertVerbs(CockpitScreen):
    WRITES: ClassVar[frozenset[str]] = frozenset({"acknowledge"})
    BINDINGS = [Binding("A", "acknowledge", "Acknowledge", id="alerts.acknowledge")]

    @property
    def chosen_alert(self) -> AlertRow | None:
        raise NotImplementedError

    def action_acknowledge(self) -> None:
        """The alert that is under the cursor now, whatever comes to stand there while the note is written."""
        alert = self.chosen_alert
        if alert is None:
            self.cockpit.tell("no alert is chosen", is_good=False)
            return
        things = (Thing(alert.kind), Thing(alert.subject))

        def noted(note: str | None) -> None:
            if note is not None:
                self.cockpit.begin(Act(verb=Verb.ACKNOWLEDGE, things=things, reason=note.strip()))

        from pointsman.tui.dialogs.note import NoteDialog

        self.app.push_screen(NoteDialog(f"acknowledge {alert.subject}", alert.detail), noted)
