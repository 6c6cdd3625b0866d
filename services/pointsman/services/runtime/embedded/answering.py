"""Which services of an embedded system do not answer yet."""

import asyncio
import http.client

from pointsman.client import nats_bus
from pointsman.client.bus import Bus, BusError
from pointsman.services.runtime.embedded.service import GROUPS
from pointsman.services.runtime.settings import Settings

GATEWAY = "gateway"
BEHIND = tuple(name for names in GROUPS for name in names if name != GATEWAY)
PROBE_S = 2.0


async def silent(settings: Settings) -> tuple[str, ...]:
    """Their names. The gateway answers for itself, by saying that it is ready; the others to discovery's PING."""
    if not await asyncio.to_thread(_is_ready, settings):
        return (GATEWAY,)
    try:
        bus = await nats_bus.connect(
            settings.nats_url, name="supervisor", user=settings.nats_user, password=settings.nats_password
        )
    except BusError:
        return BEHIND
    try:
        answered = await asyncio.gather(*(_answers(bus, name) for name in BEHIND))
    finally:
        await bus.close()
    return tuple(name for name, is_there in zip(BEHIND, answered, strict=True) if not is_there)


async def _answers(bus: Bus, name: str) -> bool:
    try:
        await bus.request(f"$SRV.PING.{name}", b"", timeout_s=PROBE_S)
    except BusError:
        return False
    return True


def _is_ready(settings: Settings) -> bool:
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.host, settings.host)  # noqa: S104
    connection = http.client.HTTPConnection(host, settings.port, timeout=PROBE_S)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == http.client.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
