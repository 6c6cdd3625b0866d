"""`pointsman restore`: a backup into empty stores; or, when only NATS was lost, beside a living database."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from pointsman.cli import options
from pointsman.cli.impact import Writes

if TYPE_CHECKING:
    from pointsman.services.history.backup import Restored
    from pointsman.services.runtime.settings import Settings


@click.command(cls=Writes)
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False, exists=True))
@click.option("--keep-database", is_flag=True, help="Only NATS was lost: the database stays and has the last word.")
@click.option("--check", is_flag=True, help="Only verify that the backup is whole.")
@options.config
@options.data_dir
def restore(folder: Path, keep_database: bool, check: bool, config_path: Path | None, data_dir: Path | None) -> None:
    """Bring the backup in FOLDER back. No service may run; nothing is written over. Cut off, it goes on when it is repeated.

    With --data-dir of an embedded system that does not run, its stores are started for the time it takes.
    """
    import asyncio

    from pointsman.services.history.backup import verified
    from pointsman.services.runtime import logs

    settings = options.settings_of(config_path, data_dir)
    logs.configure("restore", level="error", form="console")
    manifest = options.told(lambda: verified(folder))
    click.echo(f"backup of version {manifest.version} is whole: {len(manifest.files)} files")
    if check:
        return
    done = options.told(lambda: asyncio.run(_restore(settings, folder.absolute(), keep_database=keep_database)))
    for name, rows in done.rows.items():
        click.echo(f"{rows:>10}  {name}")
    click.echo(f"{done.keys:>10}  keys of servers and settings\n{done.open_tasks:>10}  open tasks accepted anew")
    click.echo(f"{done.completions:>10}  completions still to be told")


async def _restore(settings: "Settings", folder: Path, *, keep_database: bool) -> "Restored":
    from pointsman.services.runtime.embedded import runfile
    from pointsman.services.runtime.embedded.stores import stores_only

    home = Path(settings.data_dir) if settings.data_dir else None
    if home is None or runfile.read(home) is not None:
        return await _restore_into(settings, folder, keep_database=keep_database)
    async with stores_only(settings, home) as reached:
        return await _restore_into(reached, folder, keep_database=keep_database)


async def _restore_into(settings: "Settings", folder: Path, *, keep_database: bool) -> "Restored":
    from pointsman.cli.connected import bus_of
    from pointsman.services.history.backup import restore
    from pointsman.services.runtime import buckets
    from pointsman.services.runtime.clock import SystemClock

    async with bus_of(settings, "restore") as bus:
        await buckets.ensure(bus, relaxed=settings.durability == "relaxed", replicas=settings.replicas)
        now_ms = SystemClock().now_ms()
        return await restore(bus, settings.postgres_dsn, folder, now_ms, keep_database=keep_database)
