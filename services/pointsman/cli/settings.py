"""`pointsman settings`: every setting, documented, with the value it has here."""

from pathlib import Path

import click

from pointsman.cli import options
from pointsman.cli.impact import Reads

EMPTY = "(empty)"


@click.command(cls=Reads)
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@options.config
@options.data_dir
def settings(as_json: bool, config_path: Path | None, data_dir: Path | None) -> None:
    """Show every setting: name, environment variable, default, value here. Secrets are masked."""
    import msgspec

    from pointsman.services.runtime.settings import describe

    rows = describe(options.settings_of(config_path, data_dir))
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(rows), indent=2))
        return
    for row in rows:
        click.echo(
            f"{row.name} = {row.value or '(empty)'}\n    {row.doc}\n    {row.env}, default: {row.default or '(empty)'}"
        )
