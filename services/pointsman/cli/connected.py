"""A command's connection to the bus, and who it acts as."""

import getpass
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from pointsman.client.client import Client
from pointsman.client.nats_bus import NatsBus, connect
from pointsman.contracts.actor import Actor, Role
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


async def as_operator[T](settings: Settings, work: Callable[[Client], Awaitable[T]]) -> T:
    """Whoever can connect to the bus may do everything there: acts are recorded under the name of the system's user."""
    actor = Actor(sub=f"cli:{_user()}", roles=(Role.OPERATOR,), request_id=f"cli-{secrets.token_hex(6)}")
    async with bus_of(settings, "command line") as bus:
        return await work(Client(bus, actor))


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return "unknown"
