"""`pointsman up`: broker, database and every service on this machine, until it is told to stop."""

import asyncio
import sys
from pathlib import Path

import click

from pointsman.cli import options
from pointsman.cli.impact import Writes


@click.command(cls=Writes)
@options.config
@options.data_dir
@click.option("--host", help="Address to listen on [127.0.0.1].")
@click.option("--port", type=click.IntRange(0, 65535), help="Port to listen on, 0 for a free one [8080].")
def up(config_path: Path | None, data_dir: Path | None, host: str | None, port: int | None) -> None:
    """Run everything on this machine: embedded NATS and Postgres, and every service.

    Prints one line, `ready URL`, when it can be used. Ctrl-C or SIGTERM stops it.
    """
    from pointsman.services.runtime import logs
    from pointsman.services.runtime.embedded import supervisor

    settings = options.settings_of(config_path, data_dir, adopt_running=False, host=host, port=port)
    form = "console" if sys.stderr.isatty() else settings.log_format
    logs.configure("supervisor", level=settings.log_level, form=form)
    folder = Path(settings.data_dir) if settings.data_dir else options.DATA_DIR_DEFAULT
    try:
        asyncio.run(supervisor.up(settings, folder.absolute(), announce=click.echo))
    except (OSError, RuntimeError) as error:
        options.fail(str(error))
