"""`pointsman backup`: everything that matters into one folder, while the system runs."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from pointsman.cli import options
from pointsman.cli.impact import Reads

if TYPE_CHECKING:
    from pointsman.services.history.backup import Manifest
    from pointsman.services.runtime.settings import Settings


@click.command(cls=Reads)
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
@options.config
@options.data_dir
def backup(folder: Path, config_path: Path | None, data_dir: Path | None) -> None:
    """Write archive, live tasks, servers and settings into FOLDER, which must be absent or empty.

    The system may go on meanwhile. FOLDER holds keys of servers: it is readable by its owner only. The token secret is
    not in it.
    """
    import asyncio

    from pointsman.services.runtime import logs

    settings = options.settings_of(config_path, data_dir)
    logs.configure("backup", level="error", form="console")
    manifest = options.told(lambda: asyncio.run(_backup(settings, folder.absolute())))
    for file in manifest.files:
        click.echo(f"{file.rows:>10}  {file.name}")
    click.echo(f"backup is in {folder}")


async def _backup(settings: "Settings", folder: Path) -> "Manifest":
    from pointsman.cli.connected import bus_of
    from pointsman.services.history.backup import backup
    from pointsman.services.runtime.clock import SystemClock

    async with bus_of(settings, "backup") as bus:
        return await backup(bus, settings.postgres_dsn, folder, SystemClock().now_ms())
