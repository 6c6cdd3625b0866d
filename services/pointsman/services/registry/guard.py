"""What a caller has seen of a server before it gives an order, and the name by which its order is known again. Pure."""

from dataclasses import dataclass

from pointsman.contracts.errors import PointsmanError, precondition_failed
from pointsman.contracts.server import ServerAdmin, ServerConfig, Wanted
from pointsman.services.registry.store import Stored
from pointsman.services.runtime.clock import clock_time

WORDS = {
    Wanted.ACTIVE: "activated",
    Wanted.DRAINING: "set to drain",
    Wanted.MAINTENANCE: "put in maintenance",
    Wanted.REMOVED: "unregistered",
}


@dataclass(frozen=True, slots=True)
class Guard:
    """`seen` is the server's revision, None: whatever it is. `operation` is stored with what the order wrote."""

    seen: int | None = None
    operation: str = ""

    def repeats(self, stored: Stored[ServerAdmin] | Stored[ServerConfig]) -> bool:
        """Whether the record was last written by this very order, of which the answer was lost."""
        return bool(self.operation) and stored.operation == self.operation

    def check(self, server_id: str, config: Stored[ServerConfig], admin: Stored[ServerAdmin]) -> None:
        """412 that says who changed what, if the server is no longer as the caller has seen it."""
        if self.seen is not None and (config.value is None or self.seen != revision_of(config, admin)):
            raise moved(server_id, self.seen, config, admin)


ANY = Guard()


def revision_of(config: Stored[ServerConfig], admin: Stored[ServerAdmin]) -> int:
    """Of a server: the later of its configuration and its order. Both are sequences of one stream."""
    return max(config.revision, admin.revision if admin.value is not None else 0)


def moved(server_id: str, seen: int, config: Stored[ServerConfig], admin: Stored[ServerAdmin]) -> PointsmanError:
    now = revision_of(config, admin)
    return precondition_failed(f"server {server_id} has revision {now}, not {seen}: {what_changed(config, admin)}")


def what_changed(config: Stored[ServerConfig], admin: Stored[ServerAdmin]) -> str:
    """The later of the two records, in words."""
    if config.value is None:
        return "it is not registered any more"
    if admin.value is None or config.revision > admin.revision:
        return f"its configuration was changed{_by(config.value.by)}"
    order = admin.value
    word = "being unregistered" if order.remove else WORDS[order.wanted]
    why = f" ({order.reason})" if order.reason else ""
    return f"{word}{_by(order.by)} at {clock_time(order.since)}{why}"


def _by(who: str) -> str:
    return f" by {who}" if who else ""
