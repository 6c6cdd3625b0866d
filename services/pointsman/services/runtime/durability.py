"""Whether the broker keeps what it acknowledges. Only its monitoring address tells (NATS.md §1)."""

import asyncio
import http.client
import urllib.request
from typing import Any

import msgspec

from pointsman.services.runtime.settings import Settings, env_name

ANSWER_S = 5.0
HOW_TO_SYNC = "set jetstream.sync_interval: always"


class NotDurable(RuntimeError):
    """The settings promise more than this broker keeps, or nothing shows that it does."""


async def require(settings: Settings) -> None:
    """Returns when the durability of the settings is the broker's; raises NotDurable."""
    if settings.durability == "relaxed":
        return
    url, otherwise = settings.nats_monitor_url, f"or {env_name('durability')}=relaxed"
    if not url:
        raise NotDurable(f"nothing shows that NATS syncs each write: set {env_name('nats_monitor_url')}, {otherwise}")
    server = await monitored(url)
    if server is None:
        raise NotDurable(f"nothing shows that NATS syncs each write: its monitoring does not answer at {url}")
    if not syncs(server):
        raise NotDurable(f"NATS acknowledges before it syncs: {HOW_TO_SYNC}, {otherwise}")


async def monitored(url: str) -> dict[str, Any] | None:
    """What the broker says of itself (`/varz`); None when no NATS server answers there.

    How it stores comes from `/jsz`: a server whose first `/varz` was asked for in the moments before its JetStream
    stood leaves that out of every later one (seen on 2.15.0).
    """
    base = url.rstrip("/")
    server = await asyncio.to_thread(_asked, f"{base}/varz")
    if server is None or not {"server_id", "version", "now"} <= server.keys():
        return None
    stored = await asyncio.to_thread(_asked, f"{base}/jsz")
    return server | {"jetstream": {"config": (stored or {}).get("config") or {}}}


def store_bytes_max(url: str) -> int:
    """What the broker may store on disk (`/jsz`), 0 when it does not say. Blocks."""
    stored = _asked(f"{url.rstrip('/')}/jsz") or {}
    most = (stored.get("config") or {}).get("max_storage")
    return most if isinstance(most, int) else 0


def syncs(server: dict[str, Any]) -> bool:
    return bool(server.get("jetstream", {}).get("config", {}).get("sync_always"))


def _asked(url: str) -> dict[str, Any] | None:
    try:
        with urllib.request.urlopen(url, timeout=ANSWER_S) as answer:  # noqa: S310 - settings allow http and https
            return msgspec.json.decode(answer.read(), type=dict[str, Any])
    except (OSError, http.client.HTTPException, msgspec.DecodeError):
        return None
