"""What the screen of events says: changes of servers, acts and their refusals, recoveries, settings. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import msgspec

from pointsman.contracts.flow import FlowFrame
from pointsman.contracts.frames import News
from pointsman.contracts.search import AuditEntry
from pointsman.contracts.server import HealthState, ServerAdmin, ServerHealth, Wanted
from pointsman.contracts.subjects import from_token, key_name
from pointsman.contracts.why import why
from pointsman.services.runtime.follow import Followed

AUDITED_KEPT_MAX = 500
TEXT_MAX = 200

_ADMIN = msgspec.json.Decoder(ServerAdmin)
_HEALTH = msgspec.json.Decoder(ServerHealth)


@dataclass(slots=True)
class Known:
    is_registered: bool = False
    wanted: Wanted = Wanted.ACTIVE
    state: HealthState = HealthState.NEW


@dataclass(slots=True)
class NewsDesk:
    """Knows how things were, so that it can say what changed. Everything it is given comes in order."""

    _servers: dict[str, Known] = field(default_factory=dict)
    _audited: dict[str, None] = field(default_factory=dict)
    _lost: dict[str, int] = field(default_factory=dict)
    _leader: str = ""

    def record(self, entry: Followed, now: int) -> Iterator[News]:
        """Of a record of the bucket `servers`."""
        kind, _, token = key_name(entry.subject).partition(".")
        server_id, data = from_token(token), b"" if entry.deleted else entry.data
        known = self._servers.setdefault(server_id, Known())
        match kind:
            case "config":
                yield from _registered(server_id, known, is_there=bool(data), now=now)
            case "admin":
                yield from _wanted(server_id, known, _ADMIN.decode(data) if data else ServerAdmin(), now)
            case "health":
                yield from _seen(server_id, known, _HEALTH.decode(data) if data else ServerHealth(), now)
            case _:
                pass
        if known == Known():
            del self._servers[server_id]

    def audited(self, entry: AuditEntry) -> Iterator[News]:
        """An entry that is told twice is one."""
        if entry.id in self._audited:
            return
        self._audited[entry.id] = None
        if len(self._audited) > AUDITED_KEPT_MAX:
            del self._audited[next(iter(self._audited))]
        service, _, verb = entry.what.partition(".")
        yield News(
            at=entry.at,
            kind="config" if service == "balancer" else "act",
            subject=entry.target,
            what=verb or entry.what,
            why=_shortened(why(entry)) or None,
            by=entry.who,
            ok=entry.outcome == "done",
            request_id=entry.request_id or None,
        )

    def flowed(self, told: FlowFrame) -> Iterator[News]:
        """Lost attempts are counted up for a second."""
        for one in told.servers:
            if one.lost:
                self._lost[one.id] = self._lost.get(one.id, 0) + one.lost
        if told.leader != self._leader:
            if self._leader:
                yield News(at=told.at, kind="config", subject="balancer", what="another leads", why=told.leader)
            self._leader = told.leader
        if told.whole:
            lost, self._lost = self._lost, {}
            for server_id, count in lost.items():
                what = f"{count} attempts lost" if count > 1 else "1 attempt lost"
                yield News(at=told.at, kind="tasks", subject=server_id, what=what, why="run again", by="balancer")


def _registered(server_id: str, known: Known, *, is_there: bool, now: int) -> Iterator[News]:
    if is_there != known.is_registered:
        known.is_registered = is_there
        yield News(at=now, kind="server", subject=server_id, what="registered" if is_there else "unregistered")


def _wanted(server_id: str, known: Known, admin: ServerAdmin, now: int) -> Iterator[News]:
    before, known.wanted = known.wanted, admin.wanted
    if admin.wanted is not before:
        by = server_id if admin.declared else admin.by or None
        what = f"{before} -> {admin.wanted}"
        yield News(at=admin.since or now, kind="server", subject=server_id, what=what, why=admin.reason, by=by)


def _seen(server_id: str, known: Known, health: ServerHealth, now: int) -> Iterator[News]:
    before, known.state = known.state, health.state
    if health.state is not before and known.is_registered:
        what, error = f"{before} -> {health.state}", _shortened(health.error or "") or None
        yield News(at=health.since or now, kind="server", subject=server_id, what=what, why=error, by="prober")


def _shortened(text: str) -> str:
    return text if len(text) <= TEXT_MAX else text[: TEXT_MAX - 1] + "…"
