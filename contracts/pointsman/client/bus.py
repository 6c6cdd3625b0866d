"""What the rest of Pointsman needs of a message bus; `nats_bus` is the real one, tests have a fake of the same contract."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

Headers = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Message:
    subject: str
    data: bytes
    headers: Headers
    reply: str = ""


class BusError(Exception):
    """The bus could not carry a message."""


class NoResponders(BusError):
    """Nobody listens on the subject: certainly not executed."""


class BusTimeout(BusError):
    """No answer in time: the outcome is unknown."""


class BusDown(BusError):
    """Not connected: certainly not sent, or not known to be sent."""


class BusDenied(BusError):
    """The broker does not let us in, or not do this: certainly not executed."""


class Subscription(Protocol):
    async def unsubscribe(self) -> None:
        """Take no more messages; those already received are dropped."""

    async def drain(self) -> None:
        """Take no more messages; return when those already received were handed to the handler."""


Handler = Callable[[Message], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One request subject of a service; handlers must return at once (spawn bounded work)."""

    name: str
    subject: str
    handler: Handler


class Service(Protocol):
    async def drain(self) -> None:
        """Stop taking requests; return when received ones were handed to their handlers."""

    async def stop(self) -> None:
        """Leave discovery."""


class Bus(Protocol):
    @property
    def is_connected(self) -> bool: ...

    @property
    def round_trip_url(self) -> str:
        """The server this bus is connected to, without credentials."""

    async def publish(self, subject: str, data: bytes, headers: Headers | None = None, reply: str = "") -> None: ...

    async def request(
        self, subject: str, data: bytes, *, headers: Headers | None = None, timeout_s: float = 5.0
    ) -> Message:
        """Raises NoResponders, BusTimeout or BusDown."""

    async def subscribe(self, subject: str, handler: Handler, *, queue: str = "") -> Subscription: ...

    def new_inbox(self) -> str: ...

    async def barrier(self) -> None:
        """Return when everything sent before, subscriptions included, has reached the server."""

    def on_reconnect(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Call back after each reconnect; returns a function that removes the callback."""

    async def add_service(
        self, name: str, version: str, endpoints: Sequence[Endpoint], *, queue: str, metadata: Headers
    ) -> Service: ...

    async def close(self) -> None: ...
