"""What follows from a registration, a rotation or a heartbeat. Pure; times in ms since the epoch."""

import hashlib
import hmac
import re
from urllib.parse import urlsplit, urlunsplit

from msgspec.structs import replace

from pointsman.contracts.errors import invalid
from pointsman.contracts.server import (
    HeartbeatRequest,
    ServerConfig,
    ServerRequest,
    ServerSecret,
)
from pointsman.services.runtime.egress import EgressPolicy, check_url

CREDENTIAL_PREFIX = "psk_"
SECRET_PREFIX = "whsec_"  # noqa: S105 - a prefix
WINDOW = re.compile(r"[1-9][0-9]{0,8}[smhd]")
RESERVED_IDS = frozenset({"maintenance"})


def config_of(request: ServerRequest, server_id: str, now: int, by: str) -> ServerConfig:
    """The configuration that a registration asks for; raises 400."""
    predict, health, metrics = _endpoints(request)
    if server_id in RESERVED_IDS:
        raise invalid("id", f"{server_id} is the name of a path of this API")
    _refuse_nul(name=request.name, version=request.version)
    for key, value in request.labels.items():
        _refuse_nul(labels=key + value)
    if request.api_key is not None and not (request.api_key.isascii() and request.api_key.isprintable()):
        raise invalid("apiKey", "only printable ASCII can be sent in a header")
    return ServerConfig(
        id=server_id,
        name=request.name or server_id,
        predict=predict,
        health=health,
        metrics=metrics,
        registered_at=now,
        is_async=request.is_async,
        max_concurrent=request.max_concurrent,
        capabilities=request.capabilities,
        groups=request.groups,
        priority=request.priority,
        weight=request.weight,
        pool=request.pool,
        labels=request.labels,
        version=request.version,
        cancel=request.cancel,
        cancel_on_disconnect=request.cancel_on_disconnect,
        by=by,
    )


def check_beat(request: HeartbeatRequest) -> None:
    """Raises 400."""
    _refuse_nul(status=request.status, bootId=request.boot_id)


def check_window(window: str | None) -> None:
    """Here too, for when statistics is away; raises 400."""
    if window is not None and not WINDOW.fullmatch(window):
        raise invalid("window", "must be a number and one of s, m, h, d, for example 15m, 1h or 7d")


def _refuse_nul(**fields: str | None) -> None:
    """The archive cannot keep it."""
    for name, text in fields.items():
        if text is not None and "\0" in text:
            raise invalid(name, "must not contain NUL")


def _endpoints(request: ServerRequest) -> tuple[str, str, str | None]:
    if (request.endpoints is None) == (request.url is None):
        raise invalid("endpoints", "give either endpoints or url")
    if request.endpoints is not None:
        given = request.endpoints
        return given.predict, given.health or _sibling(given.predict, "/health"), given.metrics
    assert request.url is not None
    if "?" in request.url:
        raise invalid("url", "a query is not allowed in the base URL")
    base = request.url.rstrip("/")
    return f"{base}/predict", f"{base}/health", None


def _sibling(url: str, path: str) -> str:
    """The same origin with another path; what is no URL is returned as it is, and refused by the egress policy."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return url
    return urlunsplit((parts.scheme, parts.netloc, path, "", ""))


def check_egress(config: ServerConfig, request: ServerRequest, policy: EgressPolicy) -> None:
    """Refuse endpoints that the policy forbids, named as the caller gave them; raises 422."""
    prefix = "url" if request.url is not None else ""
    check_url(config.predict, policy, prefix or "endpoints.predict")
    check_url(config.health, policy, prefix or "endpoints.health")
    if config.metrics is not None:
        check_url(config.metrics, policy, "endpoints.metrics")


def is_same(stored: ServerConfig, asked: ServerConfig) -> bool:
    """The same configuration, whenever and by whom it was registered."""
    return replace(stored, registered_at=0, by="") == replace(asked, registered_at=0, by="")


def is_same_secret(stored: ServerSecret | None, request: ServerRequest) -> bool:
    """Whether the server is called with the same key and over the same TLS as asked."""
    return stored is not None and stored.api_key == request.api_key and stored.tls == request.tls


def hashed(credential: str) -> str:
    return hashlib.sha256(credential.encode()).hexdigest()


def proves(credential: str, secret: ServerSecret | None, now: int) -> bool:
    """Whether this credential is that of the server, or the one before within its grace."""
    if secret is None:
        return False
    given = hashed(credential)
    if hmac.compare_digest(given, secret.credential_hash):
        return True
    previous = secret.previous_hash if now < secret.previous_until else None
    return previous is not None and hmac.compare_digest(given, previous)


def rotated(secret: ServerSecret, credential: str, signing_secret: str, *, until: int) -> ServerSecret:
    """Both are new; those of before hold until then, those before them no longer."""
    return replace(
        secret,
        credential_hash=hashed(credential),
        signing_secret=signing_secret,
        previous_hash=secret.credential_hash,
        previous_secret=secret.signing_secret,
        previous_until=until,
    )
