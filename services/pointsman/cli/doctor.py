"""`pointsman doctor`: whether the stores can be reached and keep what they acknowledge."""

import asyncio
import os
import sys
from pathlib import Path

import click

from pointsman.cli import options
from pointsman.cli.impact import Reads


@click.command(cls=Reads)
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@options.config
@options.data_dir
def doctor(as_json: bool, config_path: Path | None, data_dir: Path | None) -> None:
    """Check all that Pointsman needs. Exit code 1 when something is wrong.

    NATS, Postgres and the gateway: reachable, versions, fsync, clocks; what NATS allows; the services that answer and
    their versions; the folder's permissions; what this terminal can show.
    """
    import msgspec

    from pointsman.cli import terminal
    from pointsman.cli.findings import examine
    from pointsman.services.runtime import logs

    settings = options.settings_of(config_path, data_dir)
    logs.configure("doctor", level="error", form="console")
    findings = [*asyncio.run(examine(settings)), *terminal.findings(os.environ, sys.stdout)]
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(findings), indent=2))
    for finding in () if as_json else findings:
        mark = click.style("✓", fg="green") if finding.is_fine else click.style("✗", fg="red")
        click.echo(f"{mark} {finding.text}")
    if not all(finding.is_fine for finding in findings):
        raise SystemExit(options.FAILED)
