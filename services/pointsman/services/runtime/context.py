"""What a service is given: the bus, the settings, the clock and its own name."""

from dataclasses import dataclass
from typing import Protocol

from pointsman.client.bus import Bus
from pointsman.services.runtime.clock import Clock
from pointsman.services.runtime.settings import Settings


@dataclass(frozen=True, slots=True)
class Context:
    """`instance` names this process among the replicas, e.g. `host-4711-a1b2`."""

    bus: Bus
    settings: Settings
    clock: Clock
    instance: str


class RunningService(Protocol):
    """Each service package offers `service.build(context) -> RunningService`."""

    async def start(self) -> None:
        """Connect what it needs, begin to serve; returns when it is ready."""

    async def stop(self) -> None:
        """Stop taking, finish or hand back, then return; bounded in time."""
