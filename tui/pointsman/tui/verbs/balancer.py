"""Switching the algorithm of a pool, and taking that back."""

from time import monotonic
from typing import ClassVar

from textual.binding import Binding

from pointsman.tui.acts import Act, Thing, Verb
from pointsman.tui.screens.base import CockpitScreen


class BalancerVerbs(CockpitScreen):
    WRITES: ClassVar[frozenset[str]] = frozenset({"undo"})
    BINDINGS = [Binding("u", "undo", "Undo the switch", id="balancer.undo")]

    def switch(self, pool: str, algorithm: str) -> None:
        """Ask first: the plan tells what would change."""
        row = self.model.pools.get(pool)
        things = (Thing(pool, row.revision if row is not None else None),)
        self.cockpit.begin(Act(verb=Verb.SWITCH, things=things, algorithm=algorithm))

    def action_undo(self) -> None:
        undoable = self.cockpit.acts.undoable
        if undoable is None or monotonic() > undoable.until:
            self.cockpit.tell("nothing to undo: a switch from here can be taken back for 60 s", is_good=False)
            return
        self.cockpit.acts.undoable = None
        self.cockpit.begin(Act(verb=Verb.UNDO, things=(Thing(undoable.pool, undoable.revision),)))
