"""What may be done to servers: the keys, and what exactly they are for when they are pressed."""

from typing import ClassVar

from textual.binding import Binding

from pointsman.contracts.bulk import SERVERS_MAX
from pointsman.tui.acts import Act, Thing, Verb, stepped
from pointsman.tui.model import Server
from pointsman.tui.screens.base import CockpitScreen

STEP = 10


class ServerVerbs(CockpitScreen):
    """For screens with `chosen`: the ids of the marked servers, or of the one under the cursor."""

    WRITES: ClassVar[frozenset[str]] = frozenset(
        {"drain", "activate", "maintenance", "heavier", "lighter", "register", "unregister"}
    )
    BINDINGS = [
        Binding("d", "drain", "Drain", id="servers.drain"),
        Binding("u", "activate", "Activate", id="servers.activate"),
        Binding("m", "maintenance", "Maint.", id="servers.maintenance"),
        Binding("plus", "heavier", "Weight up", key_display="+", show=False, id="servers.heavier"),
        Binding("minus", "lighter", "Weight down", key_display="-", show=False, id="servers.lighter"),
        Binding("R", "register", "Register", id="servers.register"),
        Binding("delete", "unregister", "Unregister", key_display="del", id="servers.unregister"),
        Binding("y", "copy_id", "Copy the id", show=False, id="servers.copy"),
        Binding("Y", "copy_command", "Copy the command", show=False, id="servers.copy_command"),
    ]

    @property
    def chosen(self) -> tuple[str, ...]:
        raise NotImplementedError

    def captured(self) -> list[Server]:
        """What the key is for: those that are chosen, as they are at this moment. Too many, or none, is said."""
        servers = [self.model.servers[name] for name in self.chosen if name in self.model.servers]
        if not servers:
            self.cockpit.tell("no server is chosen", is_good=False)
        if len(servers) > SERVERS_MAX:
            self.cockpit.tell(f"{len(servers):,} servers are marked, at most {SERVERS_MAX:,} at once", is_good=False)
            return []
        return servers

    def _begin(self, verb: Verb, weights: tuple[tuple[str, int], ...] = ()) -> None:
        servers = self.captured()
        if not servers:
            return
        running = sum(server.pulse.running or 0 for server in servers)
        things = tuple(_thing(server) for server in servers)
        self.cockpit.begin(Act(verb=verb, things=things, weights=weights), running=running)

    def action_drain(self) -> None:
        self._begin(Verb.DRAIN)

    def action_activate(self) -> None:
        self._begin(Verb.ACTIVATE)

    def action_maintenance(self) -> None:
        self._begin(Verb.MAINTENANCE)

    def action_unregister(self) -> None:
        self._begin(Verb.UNREGISTER)

    def action_heavier(self) -> None:
        self._weigh(STEP)

    def action_lighter(self) -> None:
        self._weigh(-STEP)

    def _weigh(self, step: int) -> None:
        weights = tuple((server.row.id, stepped(server.row.weight, step)) for server in self.captured())
        if weights:
            self._begin(Verb.WEIGHT, weights)

    def action_register(self) -> None:
        from pointsman.tui.dialogs.register import RegisterDialog

        if not self.cockpit.why_read_only:
            self.app.push_screen(RegisterDialog())

    def action_copy_id(self) -> None:
        if self.chosen:
            self.cockpit.copy("\n".join(self.chosen))

    def action_copy_command(self) -> None:
        """The command that shows it."""
        if self.chosen:
            from pointsman.tui.commands import command

            self.cockpit.copy("\n".join(command("server", "get", of=[name]) for name in self.chosen))


def _thing(server: Server) -> Thing:
    return Thing(server.row.id, server.row.revision or None)
