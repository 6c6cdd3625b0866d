"""The registered servers as this process knows them, folded from the `servers` bucket."""

import base64
import binascii
from collections.abc import Callable, Collection
from dataclasses import dataclass
from dataclasses import field as dataclass_field
from urllib.parse import urlsplit, urlunsplit

import msgspec
import structlog
from yarl import URL

from pointsman.contracts.server import ServerAdmin, ServerConfig, ServerHealth, ServerSecret, Tls, Wanted
from pointsman.contracts.subjects import from_token, key_name
from pointsman.services.runtime.follow import Followed

log = structlog.get_logger()

SECRET_PREFIX = "whsec_"  # noqa: S105 - a prefix

_CONFIG = msgspec.json.Decoder(ServerConfig)
_SECRET = msgspec.json.Decoder(ServerSecret)
_ADMIN = msgspec.json.Decoder(ServerAdmin)
_HEALTH = msgspec.json.Decoder(ServerHealth)


@dataclass(frozen=True, slots=True)
class Known:
    """The records of one server; `health_revision` is that of its key, 0 when it has none."""

    config: ServerConfig | None = None
    secret: ServerSecret | None = None
    admin: ServerAdmin = dataclass_field(default_factory=ServerAdmin)
    health: ServerHealth | None = None
    health_revision: int = 0


@dataclass(frozen=True, slots=True)
class Target:
    """A server ready to be called."""

    config: ServerConfig
    predict: URL
    health: URL
    key: bytes
    authorization: str | None
    previous_key: bytes = b""
    previous_until: int = 0
    tls: Tls | None = None

    def keys(self, now: int) -> tuple[bytes, ...]:
        """What requests are signed with at `now` (ms since the epoch), the current key first."""
        return (self.key, self.previous_key) if self.previous_key and now < self.previous_until else (self.key,)

    def task_url(self, task_id: str) -> URL:
        return URL(with_segment(self.config.predict, task_id), encoded=True)


def target_of(config: ServerConfig, secret: ServerSecret | None) -> Target:
    api_key = secret.api_key if secret else None
    previous = secret.previous_secret if secret else None
    return Target(
        config=config,
        predict=URL(config.predict),
        health=URL(config.health),
        key=signing_key(secret.signing_secret) if secret else b"",
        authorization=f"Bearer {api_key}" if api_key else None,
        previous_key=signing_key(previous) if previous else b"",
        previous_until=secret.previous_until if secret and previous else 0,
        tls=secret.tls if secret else None,
    )


def signing_key(secret: str) -> bytes:
    """The key of a Standard Webhooks secret `whsec_<base64>`; empty when it is none."""
    try:
        return base64.b64decode(secret.removeprefix(SECRET_PREFIX), validate=True)
    except (ValueError, binascii.Error):
        return b""


def with_segment(url: str, segment: str) -> str:
    parts = urlsplit(url)
    return urlunsplit(parts._replace(path=f"{parts.path.rstrip('/')}/{segment}"))


class Fleet:
    """`on_change` is told the id of a server after each of its records; `forget` starts over before a replay."""

    def __init__(self, on_change: Callable[[str], None] = lambda _: None) -> None:
        self._servers: dict[str, Known] = {}
        self._targets: dict[str, Target] = {}
        self._on_change = on_change

    def target(self, server_id: str) -> Target | None:
        return self._targets.get(server_id)

    def known(self, server_id: str) -> Known | None:
        return self._servers.get(server_id)

    def ids(self) -> Collection[str]:
        return self._targets.keys()

    def is_registered(self, server_id: str) -> bool:
        return server_id in self._targets

    def probed(self) -> tuple[str, ...]:
        """The servers that the prober looks after: registered and not taken out by an operator."""
        return tuple(name for name in self._targets if self.is_probed(name))

    def is_probed(self, server_id: str) -> bool:
        return self.is_registered(server_id) and self._servers[server_id].admin.wanted is Wanted.ACTIVE

    def fold(self, entry: Followed) -> None:
        kind, _, token = key_name(entry.subject).partition(".")
        server_id = from_token(token)
        known = self._servers.get(server_id, Known())
        try:
            known = _with(known, kind, b"" if entry.deleted else entry.data, entry.sequence)
        except msgspec.MsgspecError as error:
            log.error("server record not understood", server=server_id, kind=kind, error=str(error))
            return
        self._servers[server_id] = known
        self._retarget(server_id, known)
        self._on_change(server_id)

    def _retarget(self, server_id: str, known: Known) -> None:
        if known.config is not None:
            self._targets[server_id] = target_of(known.config, known.secret)
            return
        self._targets.pop(server_id, None)
        if known == Known():
            del self._servers[server_id]


def _with(known: Known, kind: str, data: bytes, sequence: int) -> Known:
    config, secret, admin = known.config, known.secret, known.admin
    health, health_revision = known.health, known.health_revision
    match kind:
        case "config":
            config = _CONFIG.decode(data) if data else None
        case "secret":
            secret = _SECRET.decode(data) if data else None
        case "admin":
            admin = _ADMIN.decode(data) if data else ServerAdmin()
        case "health":
            health, health_revision = (_HEALTH.decode(data) if data else None), sequence
    return Known(config, secret, admin, health, health_revision)
