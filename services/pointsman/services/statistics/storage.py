"""How much of what the broker may store is in use."""

import asyncio

import msgspec

from pointsman.client.bus import Bus, BusError
from pointsman.contracts.errors import PointsmanError
from pointsman.services.runtime import durability
from pointsman.services.runtime.buckets import api


class _Limits(msgspec.Struct):
    max_storage: int = -1


class _Account(msgspec.Struct):
    storage: int = 0
    limits: _Limits = msgspec.field(default_factory=_Limits)


async def used_share(bus: Bus, monitor_url: str) -> float | None:
    """Of the account's limit, or of the broker's own, which only its monitoring address tells."""
    try:
        account = msgspec.convert(await api(bus, "INFO"), _Account)
    except (BusError, PointsmanError, msgspec.ValidationError):
        return None
    most = account.limits.max_storage
    if most <= 0 and monitor_url:
        most = await asyncio.to_thread(durability.store_bytes_max, monitor_url)
    return account.storage / most if most > 0 else None
