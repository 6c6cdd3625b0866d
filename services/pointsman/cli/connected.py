"""A connection to the bus for commands that need the event loop all along."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from pointsman.client.nats_bus import NatsBus, connect
from pointsman.services.runtime.settings import Settings


@asynccontextmanager
async def bus_of(settings: Settings, name: str) -> AsyncIterator[NatsBus]:
    """Raises BusDown."""
    bus = await connect(
        settings.nats_url,
        name=name,
        user=settings.nats_user,
        password=settings.nats_password,
        credentials_file=settings.nats_creds_file,
    )
    try:
        yield bus
    finally:
        await bus.close()
