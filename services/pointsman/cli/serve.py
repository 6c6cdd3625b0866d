"""`pointsman serve`: the named services in this process, against the NATS and Postgres of the settings."""

from pathlib import Path

import click

from pointsman.cli import options
from pointsman.cli.impact import Writes

SERVICES = ("task", "registry", "instance", "balancer", "statistics", "history", "gateway")


@click.command(cls=Writes)
@click.argument("names", metavar="SERVICE...", nargs=-1, required=True, type=click.Choice(SERVICES))
@options.config
@options.data_dir
def serve(names: tuple[str, ...], config_path: Path | None, data_dir: Path | None) -> None:
    """Run the named services in this process against an existing NATS and Postgres."""
    from pointsman.services.__main__ import run

    raise SystemExit(run(list(dict.fromkeys(names)), options.settings_of(config_path, data_dir)))
