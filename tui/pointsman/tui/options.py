"""What the cockpit is started with."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from datetime import UTC, tzinfo
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pointsman.tui.recording import Recording


@dataclass(frozen=True, slots=True)
class Address:
    """Where the bus is, and who we are there. Raise from whatever makes one when it is not known: it is asked again."""

    url: str
    user: str = field(default="", repr=False)
    password: str = field(default="", repr=False)
    credentials_file: str = ""

    @property
    def shown(self) -> str:
        """Without credentials."""
        scheme, _, rest = self.url.rpartition("://")
        return f"{scheme or 'nats'}://{rest.rpartition('@')[2]}"


@dataclass(frozen=True, slots=True)
class System:
    """What a cockpit shows and acts on.

    `locate` is called before each connection: an embedded system may be elsewhere after its restart. It may take its time, and
    runs beside the event loop. `name` is shown first on every screen, in the colour `color` (a name or #rrggbb), or violet when
    `protected`. Of a `recording` only the past is shown, and nothing is connected to.
    `refusal` says why a cockpit cannot show it.
    """

    locate: Callable[[], Address]
    name: str = "local"
    color: str = ""
    protected: bool = False
    read_only: bool = False
    recording: "Recording | None" = None
    refusal: str = ""


@dataclass(frozen=True, slots=True)
class Options:
    """`previous` is what was shown before. `systems` names what else there is, read anew at each call; raises ValueError."""

    system: System
    previous: System | None = None
    systems: Callable[[], Iterable[System]] = tuple
    actor: str = "local:operator"
    ascii_only: bool = False
    no_color: bool = False
    hz: float = 10.0
    screen: str = "overview"
    theme: str = "pointsman-dark"
    at: str | None = None
    zone: tzinfo | None = UTC
    keys: dict[str, str] = field(default_factory=dict)

    def elsewhere(self, system: System, *, screen: str, theme: str, zone: tzinfo | None) -> "Options":
        """The same cockpit on another system, as it looks by now; nothing of what it knows of this one."""
        return replace(self, system=system, previous=self.system, screen=screen, theme=theme, zone=zone, at=None)

    def others(self) -> list[System]:
        """Where one can go from here, the previous one first. Raises ValueError."""
        seen = {self.system.name} | ({self.previous.name} if self.previous else set())
        rest = [system for system in self.systems() if system.name not in seen]
        return [self.previous, *rest] if self.previous else rest
