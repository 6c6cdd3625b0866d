"""`pointsman migrate`: brings the stores to this version's layout; safe to run again."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from pointsman.cli import options
from pointsman.cli.impact import Writes

if TYPE_CHECKING:
    from pointsman.services.runtime.settings import Settings


@click.command(cls=Writes)
@options.config
@options.data_dir
def migrate(config_path: Path | None, data_dir: Path | None) -> None:
    """Bring database and broker to this version's layout."""
    import asyncio

    from pointsman.client.bus import BusError
    from pointsman.contracts.errors import PointsmanError
    from pointsman.services.history import migrations, tables

    settings = options.settings_of(config_path, data_dir)
    if options.told(lambda: asyncio.run(tables.unfinished(settings.postgres_dsn))):
        options.fail("a restore has begun here and not ended: repeat it")
    options.told(lambda: migrations.upgrade(settings.postgres_dsn))
    try:
        asyncio.run(_ensure_buckets(settings))
    except (BusError, PointsmanError) as error:
        options.fail(f"NATS cannot be brought up to date: {error}", options.UNREACHABLE)


async def _ensure_buckets(settings: "Settings") -> None:
    from pointsman.client.nats_bus import connect
    from pointsman.services.runtime import buckets

    bus = await connect(
        settings.nats_url,
        name="migrate",
        user=settings.nats_user,
        password=settings.nats_password,
        credentials_file=settings.nats_creds_file,
    )
    try:
        await buckets.ensure(bus, relaxed=settings.durability == "relaxed", replicas=settings.replicas)
    finally:
        await bus.close()
