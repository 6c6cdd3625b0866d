"""Who gets what part of a pool's tasks, against what would be fair, and how even that is. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import tzinfo

from pointsman.contracts.balancer import Algorithm, ClassStatus, GateStatus
from pointsman.contracts.frames import PoolRow
from pointsman.tui.fleet import concern
from pointsman.tui.format import UNKNOWN, clock, number
from pointsman.tui.looks import Concern, Role
from pointsman.tui.model import Model, Server

SHARE_MIN = 1e-12
WORDS = {
    Algorithm.ROUND_ROBIN: "in turn, ignores load",
    Algorithm.WEIGHTED_ROUND_ROBIN: "in turn, by weight",
    Algorithm.LEAST_CONNECTIONS: "fewest running",
    Algorithm.WEIGHTED_LEAST_CONNECTIONS: "fewest by weight",
    Algorithm.RESPONSE_TIME: "fastest that is free",
    Algorithm.P2C: "best of 2 drawn",
    Algorithm.FIRST: "fills one before the next",
    Algorithm.CONSISTENT_HASH: "same key, same server",
    Algorithm.RANDOM: "drawn by weight and slots",
}
READY = (Concern.UP, Concern.SUSPECT, Concern.RECOVERING)


@dataclass(frozen=True, slots=True)
class Evenness:
    """Over servers that may take tasks; None where fewer than two tell their share, or nobody got any."""

    max_to_mean: float | None
    gini: float | None


def furthest_first(model: Model, pool: str) -> list[str]:
    """The servers of a pool, those furthest from their fair share first; those that do not tell last."""
    servers = [server for server in model.servers.values() if server.row.pool == pool]
    return [server.row.id for server in sorted(servers, key=_distance)]


def _distance(server: Server) -> tuple[float, str]:
    by = off_by(server)
    return (0.0 if by is None else -abs(round(by, 4)) - 1.0, server.row.id)


def off_by(server: Server) -> float | None:
    """Got minus fair, in 0-1; None when either is not known."""
    share, fair = server.pulse.share, server.pulse.fair
    return None if share is None or fair is None else share - fair


def evenness(model: Model, pool: str) -> Evenness:
    ready = (server for server in model.servers.values() if server.row.pool == pool and concern(server) in READY)
    return evenness_of([server.pulse.share for server in ready if server.pulse.share is not None])


def evenness_of(shares: Sequence[float]) -> Evenness:
    """max/mean is 1 and the Gini coefficient 0 when all get the same; Gini is 1 - 1/n when one gets all."""
    total = sum(shares)
    mean = total / len(shares) if len(shares) > 1 else 0.0
    if mean < SHARE_MIN:
        return Evenness(None, None)
    ranked = sum(rank * share for rank, share in enumerate(sorted(shares), 1))
    gini = 2 * ranked / (len(shares) * total) - (len(shares) + 1) / len(shares)
    return Evenness(max(shares) / mean, max(0.0, gini))


def in_use_text(pool: PoolRow | None, zone: tzinfo | None) -> str:
    """response-time since 14:22:03 by li@ops, rev 41"""
    if pool is None:
        return f"algorithm {UNKNOWN}"
    since = f" since {clock(pool.changed_at, zone)}" if pool.changed_at else ""
    by = f" by {pool.changed_by}" if pool.changed_by else ""
    revision = f", rev {pool.revision}" if pool.revision else ", the default"
    return f"{pool.algorithm}{since}{by}{revision}"


def evenness_text(even: Evenness) -> str:
    ratio = UNKNOWN if even.max_to_mean is None else f"{even.max_to_mean:.2f}"
    gini = UNKNOWN if even.gini is None else f"{even.gini:.2f}"
    return f"max/mean {ratio}   Gini {gini}   furthest from fair first"


Piece = tuple[str, Role]


def gate_line(gate: GateStatus, zone: tzinfo | None) -> list[Piece]:
    """A limit in force, or a key that was sent away."""
    parts = []
    is_full = gate.max_concurrent is not None and gate.running >= gate.max_concurrent
    if gate.max_concurrent is not None:
        parts.append(f"{number(gate.running)}/{number(gate.max_concurrent)} at once")
    if gate.per_second is not None:
        left = "" if gate.tokens is None else f", {gate.tokens:.1f} of {gate.burst or 1} left"
        parts.append(f"{gate.per_second:g}/s{left}")
    if gate.blocked_until is not None:
        parts.append(f"sent away until {clock(gate.blocked_until, zone)}")
    role = Role.WARN if is_full or gate.blocked_until is not None else Role.PLAIN
    told = "   ".join(parts)
    return [(f" {told:<14} ", role), (f"{gate.scope} {gate.name}", Role.STRONG)]


def class_line(waiting: ClassStatus) -> list[Piece]:
    """Tasks that need the same."""
    needs = ", ".join(waiting.capabilities) or "nothing special"
    role = Role.WARN if waiting.servers == 0 else Role.PLAIN
    told = f"{number(waiting.pending)} due, {number(waiting.free)} of {number(waiting.servers)} free"
    return [(f" {told} ", role), (f"  {needs}", Role.STRONG), (f"  pool {waiting.pool}", Role.DIM)]


def pools_in_order(model: Model) -> list[str]:
    """The default first, then by name."""
    return sorted(model.pools, key=lambda name: (name != "default", name))
