"""What `:` finds: screens, contexts, what may be done on the screen that is shown, servers and pools by name, themes.

Found by words that all have to occur, before anything is rated: among a thousand servers that has to cost little.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any, cast

from textual.command import DiscoveryHit, Hit, Hits, Provider
from textual.screen import Screen

from pointsman.tui import themes
from pointsman.tui.screens.help import entries_of
from pointsman.tui.topbar import SCREENS

if TYPE_CHECKING:
    from pointsman.tui.app import Cockpit

HITS_MAX = 50


@dataclass(frozen=True, slots=True)
class Command:
    """`also` is found like the text, and not shown."""

    text: str
    about: str
    run: Callable[[], Any]
    also: str = ""

    @property
    def searched(self) -> str:
        return f"{self.text} {self.also}".lower()


def matching(commands: Iterator[Command], query: str) -> list[Command]:
    """At most 50: those whose beginning matches come first, then those whose name is just that, else in the order given."""
    words = query.lower().split()

    def rank(one: Command) -> tuple[bool, bool]:
        text = one.text.lower()
        return not text.startswith(query.lower()), text.split()[-1:] != words[-1:]

    found = islice((one for one in commands if all(word in one.searched for word in words)), HITS_MAX)
    return sorted(found, key=rank)


def commands_of(cockpit: "Cockpit", screen: Screen[Any]) -> Iterator[Command]:
    """Cheap ones first: a search stops at the fiftieth that matches."""
    for name, title in SCREENS.items():
        yield Command(f"go to {title}", "screen", partial(cockpit.action_go, name))
    yield from contexts_of(cockpit)
    for entry in entries_of(screen):
        yield Command(
            f"{entry.words}  ({entry.keys})", entry.binding_id, partial(cockpit.run_action, entry.action, entry.node)
        )
    for colours in themes.ALL:
        yield Command(f"theme {colours.name}", "theme", partial(setattr, cockpit, "theme", colours.name))
    for pool in cockpit.shown.pools:
        yield Command(f"pool {pool}", "open", partial(cockpit.open_object, "balancer", pool))
    for server in cockpit.shown.servers:
        yield Command(f"server {server}", "open", partial(cockpit.open_object, "servers", server))


def contexts_of(cockpit: "Cockpit") -> Iterator[Command]:
    """Where else one can look; `:ctx -` is the one before."""
    try:
        others = cockpit.options.others()
    except ValueError as error:
        yield Command("context", str(error), partial(cockpit.tell, str(error), is_good=False), "ctx")
        return
    for system in others:
        is_previous = system is cockpit.options.previous
        about = ", ".join(["context", *["protected"] * system.protected, *["previous"] * is_previous])
        also = "ctx previous -" if is_previous else "ctx"
        yield Command(f"context {system.name}", about, partial(cockpit.go_to, system), also)


class CockpitCommands(Provider):
    @property
    def _cockpit(self) -> "Cockpit":
        return cast("Cockpit", self.app)

    async def discover(self) -> Hits:
        for one in islice(commands_of(self._cockpit, self.screen), HITS_MAX):
            yield DiscoveryHit(one.text, one.run, help=one.about)

    async def search(self, query: str) -> Hits:
        found = matching(commands_of(self._cockpit, self.screen), query)
        for place, one in enumerate(found):
            yield Hit(1 - place / (2 * HITS_MAX), one.text, one.run, help=one.about)
