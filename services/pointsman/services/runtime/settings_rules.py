"""What must hold between settings: each rule refuses with the name of the field to change."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from pointsman.services.runtime.egress import ports_of

if TYPE_CHECKING:
    from pointsman.services.runtime.settings import Settings

SECRET_BYTES_MIN = 32
SECRET_DIFFERENT_CHARACTERS_MIN = 8
NATS_SCHEMES = frozenset({"nats", "tls", "ws", "wss"})
POSTGRES_SCHEMES = frozenset({"postgres", "postgresql"})
HTTP_SCHEMES = frozenset({"http", "https"})
STALE_S_MIN = 60
ANY_ADDRESS = frozenset({"0.0.0.0", "::"})  # noqa: S104


NEVER_FINAL = frozenset({409, 429, 503})


class SettingsError(ValueError):
    """A setting that is unknown, malformed or at odds with another; the message names it."""


def check(settings: Settings) -> None:
    """Refuse settings that contradict each other; raises SettingsError."""
    for rule in (_nats, _credentials, _postgres, _secret, _public_url, _egress, _final_statuses, _stale):
        rule(settings)


def _stale(settings: Settings) -> None:
    if 0 < settings.stale_after_s < STALE_S_MIN:
        raise SettingsError(f"stale_after_s: must be 0 (never) or at least {STALE_S_MIN}")


def _nats(settings: Settings) -> None:
    for url in settings.nats_url.split(","):
        _url(url.strip(), NATS_SCHEMES, "nats_url")
    if settings.nats_monitor_url:
        _url(settings.nats_monitor_url, HTTP_SCHEMES, "nats_monitor_url")


def _credentials(settings: Settings) -> None:
    if bool(settings.nats_user) != bool(settings.nats_password):
        raise SettingsError("nats_user: needs nats_password, and the other way round")
    if settings.nats_creds_file and settings.nats_user:
        raise SettingsError("nats_creds_file: cannot be combined with nats_user")


def _postgres(settings: Settings) -> None:
    if urlsplit(settings.postgres_dsn).scheme not in POSTGRES_SCHEMES:
        raise SettingsError("postgres_dsn: must start with postgresql://")


def _secret(settings: Settings) -> None:
    secret = settings.jwt_secret
    if not secret:
        return
    if len(secret.encode()) < SECRET_BYTES_MIN:
        raise SettingsError(f"jwt_secret: must be at least {SECRET_BYTES_MIN} bytes long")
    if len(set(secret)) < SECRET_DIFFERENT_CHARACTERS_MIN:
        raise SettingsError("jwt_secret: too simple, use a random one")


def _public_url(settings: Settings) -> None:
    if settings.public_url:
        _url(settings.public_url, HTTP_SCHEMES, "public_url")
    elif settings.host in ANY_ADDRESS:
        raise SettingsError(f"public_url: must be set when host is {settings.host}, backends call back there")


def _egress(settings: Settings) -> None:
    for network in settings.egress_allow:
        try:
            ipaddress.ip_network(network)
        except ValueError as error:
            raise SettingsError(f"egress_allow: {error}") from error
    for entry in settings.egress_ports:
        try:
            ports_of(entry)
        except ValueError as error:
            raise SettingsError(f"egress_ports: {error}") from error


def _final_statuses(settings: Settings) -> None:
    for status in settings.final_statuses:
        if status in NEVER_FINAL:
            raise SettingsError(f"final_statuses: {status} has a meaning of its own and cannot be final")


def _url(url: str, schemes: frozenset[str], name: str) -> None:
    try:
        parts = urlsplit(url)
        port_is_valid = parts.port is None or parts.port > 0
    except ValueError as error:
        raise SettingsError(f"{name}: {error}") from error
    if parts.scheme not in schemes or not parts.hostname or not port_is_valid:
        raise SettingsError(f"{name}: must be {' or '.join(sorted(schemes))}://HOST[:PORT]")
