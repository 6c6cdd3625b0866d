"""What the cockpit is started with."""

from collections.abc import Callable
from dataclasses import dataclass, field
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
    """

    locate: Callable[[], Address]
    name: str = "local"
    color: str = ""
    protected: bool = False
    read_only: bool = False
    recording: "Recording | None" = None


@dataclass(frozen=True, slots=True)
class Options:
    system: System
    actor: str = "local:operator"
    ascii_only: bool = False
    no_color: bool = False
    hz: float = 10.0
    screen: str = "overview"
    theme: str = "pointsman-dark"
    at: str | None = None
    keys: dict[str, str] = field(default_factory=dict)
