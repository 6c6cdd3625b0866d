"""What follows from a registration, a maintenance order or a heartbeat. Pure; times in ms since the epoch."""

import hashlib
import hmac
from urllib.parse import urlsplit, urlunsplit

from msgspec.structs import replace

from pointsman.contracts.errors import invalid
from pointsman.contracts.server import (
    MaintenanceRequest,
    ServerAdmin,
    ServerConfig,
    ServerRequest,
    ServerSecret,
    Wanted,
)
from pointsman.services.runtime.egress import EgressPolicy, check_url

DRAIN_MS_DEFAULT = 300_000
CREDENTIAL_PREFIX = "psk_"
SECRET_PREFIX = "whsec_"  # noqa: S105 - a prefix


def config_of(request: ServerRequest, server_id: str, now: int) -> ServerConfig:
    """The configuration that a registration asks for; raises 400."""
    predict, health, metrics = _endpoints(request)
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
    )


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
    """The same configuration, whenever it was registered."""
    return replace(stored, registered_at=0) == replace(asked, registered_at=0)


def is_same_secret(stored: ServerSecret | None, request: ServerRequest) -> bool:
    """Whether the server is called with the same key and over the same TLS as asked."""
    return stored is not None and stored.api_key == request.api_key and stored.tls == request.tls


def hashed(credential: str) -> str:
    return hashlib.sha256(credential.encode()).hexdigest()


def proves(credential: str, secret: ServerSecret | None) -> bool:
    """Whether this credential is that of the server."""
    return secret is not None and hmac.compare_digest(hashed(credential), secret.credential_hash)


def wants_maintenance(request: MaintenanceRequest) -> bool:
    if (request.maintenance is None) == (request.enabled is None):
        raise invalid("maintenance", "give either maintenance or enabled")
    return bool(request.maintenance if request.maintenance is not None else request.enabled)


def into_maintenance(admin: ServerAdmin, request: MaintenanceRequest, *, by: str, now: int) -> ServerAdmin:
    """DRAINING, unless no time at all was given for it; asked again it stays as it is.

    What runs is known only as of the leader's last word, so even a server that seems idle drains first.
    """
    if admin.wanted is Wanted.MAINTENANCE:
        return admin if request.reason is None else replace(admin, reason=request.reason)
    if request.drain_timeout_ms == 0:
        return ServerAdmin(wanted=Wanted.MAINTENANCE, since=now, reason=request.reason, by=by)
    allowed = DRAIN_MS_DEFAULT if request.drain_timeout_ms is None else request.drain_timeout_ms
    return ServerAdmin(wanted=Wanted.DRAINING, since=now, reason=request.reason, until=now + allowed, by=by)


def active_again(admin: ServerAdmin, by: str, now: int) -> ServerAdmin:
    return admin if admin.wanted is Wanted.ACTIVE else ServerAdmin(wanted=Wanted.ACTIVE, since=now, by=by)


def into_removal(admin: ServerAdmin, *, by: str, now: int) -> ServerAdmin:
    """DRAINING, then gone; asked again the first time limit holds."""
    if admin.remove:
        return admin
    return ServerAdmin(wanted=Wanted.DRAINING, since=now, until=now + DRAIN_MS_DEFAULT, by=by, remove=True)


def is_drained(admin: ServerAdmin, *, running: int, now: int, settle_ms: int) -> bool:
    """Nothing runs any more, seen long enough after the order that nothing can be on its way, or time is up."""
    if admin.until is not None and now >= admin.until:
        return True
    return running == 0 and now - admin.since >= settle_ms


def after_drain(admin: ServerAdmin, now: int) -> ServerAdmin:
    return replace(admin, wanted=Wanted.MAINTENANCE, since=now, until=None)
