"""Servers counted, ordered and drawn as cells, from the model. Pure."""

from collections import Counter
from collections.abc import Callable, Iterable

from pointsman.tui.format import block, number
from pointsman.tui.looks import ATTENTION, Concern, HeatCell, Role, concern_of, server_look
from pointsman.tui.model import Model, Server

COUNT_ORDER = (
    Concern.UP,
    Concern.DRAINING,
    Concern.DRAINED,
    Concern.MAINTENANCE,
    Concern.NEW,
    Concern.RECOVERING,
    Concern.SUSPECT,
    Concern.DOWN,
)
SORTS = ("attention", "id", "load", "p95", "errors")


def concern(server: Server) -> Concern:
    return concern_of(server.row, server.pulse)


def load(server: Server) -> float | None:
    """Running of what it may run at most; None when it may run nothing, or that is not known."""
    running = server.pulse.running
    return running / server.row.limit if server.row.limit and running is not None else None


def counts(servers: Iterable[Server]) -> Counter[Concern]:
    return Counter(concern(server) for server in servers)


def counts_text(model: Model) -> str:
    """servers 200: up 193  drained 3  maint 2  suspect 1  down 1"""
    if not model.is_known:
        return "servers --"
    counted = counts(model.servers.values())
    told = "  ".join(f"{which} {number(counted[which])}" for which in COUNT_ORDER if counted[which])
    return f"servers {number(len(model.servers))}" + (f": {told}" if told else "")


def cells(model: Model, room: int, *, ascii_only: bool) -> tuple[list[HeatCell], int]:
    """One cell a server, by id, and how many are left out: all that are up when not all have room."""
    servers = [model.servers[name] for name in sorted(model.servers)]
    shown = servers
    if len(servers) > room:
        shown = [server for server in servers if concern(server) is not Concern.UP][:room]
    return [_cell(server, ascii_only=ascii_only) for server in shown], len(servers) - len(shown)


def _cell(server: Server, *, ascii_only: bool) -> HeatCell:
    look = server_look(server.row, server.pulse)
    if look.role is Role.UP:
        return HeatCell(server.row.id, block(load(server), ascii_only=ascii_only), Role.UP)
    return HeatCell(server.row.id, look.glyph, look.role)


def _attention(server: Server) -> tuple[object, ...]:
    return (ATTENTION[concern(server)], server.row.id)


def _by_id(server: Server) -> tuple[object, ...]:
    return (server.row.id,)


def _by_load(server: Server) -> tuple[object, ...]:
    return (-(load(server) or 0.0), server.row.id)


def _by_p95(server: Server) -> tuple[object, ...]:
    return (-(server.pulse.run_p95 or 0), server.row.id)


def _by_errors(server: Server) -> tuple[object, ...]:
    return (-(server.pulse.error_rate or 0.0), server.row.id)


SORT_KEYS: dict[str, Callable[[Server], tuple[object, ...]]] = {
    "attention": _attention,
    "id": _by_id,
    "load": _by_load,
    "p95": _by_p95,
    "errors": _by_errors,
}
