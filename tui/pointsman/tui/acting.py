"""The part of the app that acts go through: who asks, who is told, and what is copied. Loaded when the first act begins."""

from collections.abc import Coroutine
from functools import cached_property
from typing import TYPE_CHECKING

from pointsman.tui.options import Options
from pointsman.tui.showing import ShowingApp

if TYPE_CHECKING:
    from textual.command import Provider

    from pointsman.client.client import Client
    from pointsman.tui.acts import Act
    from pointsman.tui.cases import Acts, Case


def commands() -> "type[Provider]":
    """What the palette finds."""
    from pointsman.tui.palette import CockpitCommands

    return CockpitCommands


class ActingApp(ShowingApp):
    options: Options

    @cached_property
    def acts(self) -> "Acts":
        from pointsman.tui.cases import Acts

        return Acts(self)

    @property
    def client(self) -> "Client | None":
        raise NotImplementedError

    @property
    def why_read_only(self) -> str | None:
        raise NotImplementedError

    @property
    def actor(self) -> str:
        return self.options.actor

    @property
    def is_protected(self) -> bool:
        return self.options.system.protected

    def work(self, work: Coroutine[None, None, None]) -> None:
        self.run_worker(self._worked(work), group="acts", exit_on_error=False)

    async def _worked(self, work: Coroutine[None, None, None]) -> None:
        """A mistake of ours must not end the app, nor be silent."""
        try:
            await work
        except Exception as error:  # noqa: BLE001 - the edge of what runs beside the app
            self.log.error(error)
            self.tell(f"internal error: {error!r}; see Events for what was done", is_good=False)

    async def action_quit(self) -> None:
        self.leave()

    def leave(self, going_to: Options | None = None) -> None:
        """Asks only while something of the operator's own runs; asked again while it asks, it leaves."""
        from pointsman.tui.dialogs.leaving import LeaveDialog

        running = self.acts.running if "acts" in vars(self) else []
        if not running or isinstance(self.screen, LeaveDialog):
            self.exit(going_to)
            return

        def answered(is_yes: bool | None) -> None:
            if is_yes:
                self.exit(going_to)

        self.push_screen(LeaveDialog([case.said for case in running]), answered)

    def confirm(self, case: "Case") -> None:
        from pointsman.tui.dialogs.confirm import ConfirmDialog

        self.push_screen(ConfirmDialog(case, self.acts))

    def tell(self, text: str, *, is_good: bool) -> None:
        self.notify(text, severity="information" if is_good else "warning", markup=False)

    def begin(self, act: "Act", *, running: int = 0) -> "Case | None":
        """On exactly those things that it names, as they are on the screen at this moment."""
        return self.acts.begin(act, self.acts.facts(act.count, running))

    def copy(self, text: str) -> None:
        from pointsman.tui.copying import copy

        copy(self.screen.app, text)
