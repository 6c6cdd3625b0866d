"""`pointsman doctor`: whether the stores can be reached and keep what they acknowledge."""

import asyncio
from pathlib import Path

import click

from pointsman.cli import options
from pointsman.cli.impact import Reads


@click.command(cls=Reads)
@options.config
@options.data_dir
def doctor(config_path: Path | None, data_dir: Path | None) -> None:
    """Check NATS and Postgres: reachable, versions, fsync, clocks, permissions. Exit 1 when something is wrong."""
    from pointsman.cli.findings import examine
    from pointsman.services.runtime import logs

    settings = options.settings_of(config_path, data_dir)
    logs.configure("doctor", level="error", form="console")
    findings = asyncio.run(examine(settings))
    for finding in findings:
        mark = click.style("✓", fg="green") if finding.is_fine else click.style("✗", fg="red")
        click.echo(f"{mark} {finding.text}")
    if not all(finding.is_fine for finding in findings):
        raise SystemExit(options.FAILED)
