"""What may be done to tasks: the keys, and what exactly they are for when they are pressed."""

from typing import ClassVar

from textual.binding import Binding

from pointsman.client.bus import BusError
from pointsman.contracts.errors import PointsmanError
from pointsman.contracts.search import MARKED_MAX
from pointsman.tui.acts import Act, Thing, Verb
from pointsman.tui.screens.base import CockpitScreen


class TaskVerbs(CockpitScreen):
    """For screens with `chosen`: the ids of the marked tasks, or of the one under the cursor."""

    WRITES: ClassVar[frozenset[str]] = frozenset({"cancel", "retry", "retry_changed", "all_matching", "new_task"})
    BINDINGS = [
        Binding("c", "cancel", "Cancel", id="tasks.cancel"),
        Binding("r", "retry", "Retry", id="tasks.retry"),
        Binding("R", "retry_changed", "Submit again, changed", show=False, id="tasks.retry_changed"),
        Binding("a", "all_matching", "All matching", show=False, id="tasks.all"),
        Binding("n", "new_task", "New", id="tasks.new"),
    ]

    @property
    def chosen(self) -> tuple[str, ...]:
        raise NotImplementedError

    def generation_of(self, task_id: str) -> int | None:
        """As shown; None when that does not tell."""
        return None

    @property
    def matching(self) -> str:
        """The filter, and the tab, that the list shows: in the filter language."""
        return ""

    def resumed(self) -> bool:
        """Whether the list was paused, and goes on now: what it showed may be long gone, so the key has to be pressed anew."""
        return False

    def _begin(self, verb: Verb) -> None:
        if self.resumed():
            self.cockpit.tell("the list was paused and goes on: look, then press again", is_good=False)
            self.cockpit.wake()
            return
        ids = self.chosen
        if not ids:
            self.cockpit.tell("no task is chosen", is_good=False)
        elif len(ids) > MARKED_MAX:
            text = f"{len(ids):,} tasks are marked, at most {MARKED_MAX:,} at once; a acts on all that match a filter"
            self.cockpit.tell(text, is_good=False)
        else:
            things = tuple(Thing(task_id, self.generation_of(task_id)) for task_id in ids)
            self.cockpit.begin(Act(verb=verb, things=things))

    def action_cancel(self) -> None:
        self._begin(Verb.CANCEL)

    def action_retry(self) -> None:
        self._begin(Verb.RETRY)

    def action_all_matching(self) -> None:
        """Which of the two is asked first, then how many match."""
        if self.resumed():
            self.cockpit.tell("the list was paused and goes on: look, then press again", is_good=False)
            return
        matching = self.matching
        if not matching:
            self.cockpit.tell("no filter is set: all tasks there are would match; / sets one", is_good=False)
            return

        def chosen(verb: Verb | None) -> None:
            if verb is not None:
                self.cockpit.begin(Act(verb=verb, matching=matching))

        from pointsman.tui.dialogs.matching import MatchingDialog

        self.app.push_screen(MatchingDialog(matching), chosen)

    def action_new_task(self) -> None:
        from pointsman.tui.dialogs.submit import SubmitDialog

        self.app.push_screen(SubmitDialog())

    async def action_retry_changed(self) -> None:
        """A new task like this one, to be changed before it is submitted."""
        from pointsman.tui.dialogs.submit import SubmitDialog

        client, ids = self.cockpit.client, self.chosen
        if client is None or len(ids) != 1:
            self.cockpit.tell("choose one task", is_good=False)
            return
        try:
            task = await client.tasks.get(ids[0])
        except (PointsmanError, BusError) as error:
            self.cockpit.tell(f"{ids[0]}: {error}", is_good=False)
            return
        self.app.push_screen(SubmitDialog(task))
