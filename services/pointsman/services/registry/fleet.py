"""The fleet as this replica knows it: records folded from the bucket, heartbeats, checks and load from messages."""

from dataclasses import dataclass, field, replace

import msgspec
import structlog

from pointsman.contracts.balancer import LoadFrame
from pointsman.contracts.server import (
    Heartbeat,
    ServerAdmin,
    ServerConfig,
    ServerHealth,
    ServerSecret,
)
from pointsman.contracts.subjects import from_token, key_name
from pointsman.services.runtime.follow import Followed

log = structlog.get_logger()

_CONFIG = msgspec.json.Decoder(ServerConfig)
_SECRET = msgspec.json.Decoder(ServerSecret)
_ADMIN = msgspec.json.Decoder(ServerAdmin)
_HEALTH = msgspec.json.Decoder(ServerHealth)
NO_LOAD = LoadFrame(epoch=0, active={}, limits={}, cancel={}, pending=0, as_of=0)


@dataclass(frozen=True, slots=True)
class Member:
    """The records of one server. Both revisions are sequences of one stream, so that the later names the state of both."""

    config: ServerConfig | None = None
    config_revision: int = 0
    admin_revision: int = 0
    secret: ServerSecret | None = None
    admin: ServerAdmin = field(default_factory=ServerAdmin)
    health: ServerHealth | None = None

    @property
    def revision(self) -> int:
        return max(self.config_revision, self.admin_revision)


class Fleet:
    def __init__(self) -> None:
        self._members: dict[str, Member] = {}
        self._beats: dict[str, Heartbeat] = {}
        self._checks: dict[str, ServerHealth] = {}
        self._load = NO_LOAD

    def member(self, server_id: str) -> Member | None:
        """The server if it is registered."""
        member = self._members.get(server_id)
        return member if member is not None and member.config is not None else None

    def members(self) -> list[tuple[ServerConfig, Member]]:
        """The registered servers by id."""
        found = [(member.config, member) for member in self._members.values() if member.config is not None]
        return sorted(found, key=lambda pair: pair[0].id)

    def beat(self, server_id: str) -> Heartbeat | None:
        return self._beats.get(server_id)

    def health(self, server_id: str) -> ServerHealth:
        """The last check if it is newer than the stored state, both only of this registration."""
        member = self._members.get(server_id)
        registered_at = member.config.registered_at if member and member.config else 0
        latest: ServerHealth | None = None
        for health in (member.health if member else None, self._checks.get(server_id)):
            if health is None or health.registered_at != registered_at or health.since < registered_at:
                continue
            if latest is None or _is_newer(health, latest):
                latest = health
        return latest or ServerHealth(registered_at=registered_at, since=registered_at)

    def running(self, server_id: str) -> int:
        return self._load.active.get(server_id, 0)

    def limit(self, server_id: str) -> int | None:
        return self._load.limits.get(server_id)

    def cancelled(self, server_id: str) -> tuple[str, ...]:
        return self._load.cancel.get(server_id, ())

    def fold(self, entry: Followed) -> None:
        kind, _, token = key_name(entry.subject).partition(".")
        server_id = from_token(token)
        member = self._members.get(server_id, Member())
        try:
            member = _with(member, kind, b"" if entry.deleted else entry.data, entry.sequence)
        except msgspec.MsgspecError as error:
            log.error("server record not understood", server=server_id, kind=kind, error=str(error))
            return
        self._members[server_id] = member
        if member.config is None:
            self._forget(server_id, member)

    def fold_beat(self, beat: Heartbeat) -> None:
        """Replicas hear each other out of order, and of servers that are gone: neither counts. Nobody asks what runs."""
        if self.member(beat.server_id) is not None and not is_older(beat, self._beats.get(beat.server_id)):
            self._beats[beat.server_id] = msgspec.structs.replace(beat, running=None)

    def fold_checks(self, checks: dict[str, ServerHealth]) -> None:
        self._checks |= {name: check for name, check in checks.items() if name in self._members}

    def fold_load(self, load: LoadFrame) -> None:
        """Frames of an older leader that still turn up are left out."""
        if load.epoch >= self._load.epoch:
            self._load = load

    def _forget(self, server_id: str, member: Member) -> None:
        self._beats.pop(server_id, None)
        self._checks.pop(server_id, None)
        if replace(member, config_revision=0) == Member():
            del self._members[server_id]


def is_older(beat: Heartbeat, last: Heartbeat | None) -> bool:
    if last is None or beat.seq is None or last.seq is None:
        return False
    return beat.boot_id == last.boot_id and beat.seq < last.seq


def _is_newer(health: ServerHealth, than: ServerHealth) -> bool:
    """As new will do: what is told later than it was stored has the same check and another score."""
    return (health.since, health.last_check or 0) >= (than.since, than.last_check or 0)


def _with(member: Member, kind: str, data: bytes, sequence: int) -> Member:
    match kind:
        case "config":
            return replace(member, config=_CONFIG.decode(data) if data else None, config_revision=sequence)
        case "secret":
            return replace(member, secret=_SECRET.decode(data) if data else None)
        case "admin":
            admin = _ADMIN.decode(data) if data else ServerAdmin()
            return replace(member, admin=admin, admin_revision=sequence if data else 0)
        case "health":
            return replace(member, health=_HEALTH.decode(data) if data else None)
        case _:
            return member
