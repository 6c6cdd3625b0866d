"""Every reason why a server takes no task of a requirement class now, in short words for `explain`. Pure."""

from collections.abc import Iterator
from datetime import UTC, datetime

from pointsman.contracts.server import HealthState, Wanted
from pointsman.services.balancer.entry import Requirement
from pointsman.services.balancer.server_state import ServerState

NOT_WANTED = {Wanted.DRAINING: "draining", Wanted.MAINTENANCE: "maintenance", Wanted.REMOVED: "removed"}


def refusals(server: ServerState, requirement: Requirement) -> tuple[str, ...]:
    """Empty when it could take one; the server must be settled."""
    return (*_mismatches(server, requirement), *_closed(server), *_full(server))


def _mismatches(server: ServerState, requirement: Requirement) -> Iterator[str]:
    pool, capabilities = requirement
    if server.config.pool != pool:
        yield f"in pool {server.config.pool}"
    for missing in sorted(capabilities - server.capabilities):
        yield f"lacks capability {missing}"


def _closed(server: ServerState) -> Iterator[str]:
    if not server.standing.is_wanted:
        yield NOT_WANTED[server.admin.wanted]
    if not server.is_healthy:
        state = server.standing.state
        yield "not probed yet" if state is HealthState.NEW else state.value.lower()


def _full(server: ServerState) -> Iterator[str]:
    if server.is_held:
        yield f"held until {_moment(server.effective.held_until)} after {server.effective.held_after}"
    if server.active < server.limit:
        return
    words = {HealthState.WARMING: "slow start", HealthState.RECOVERING: "half open"}
    is_health_s = server.limit < server.effective.value
    word = words.get(server.standing.state, "limit") if is_health_s else "limit"
    yield f"{word} reached {server.active}/{server.limit}"


def _moment(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
