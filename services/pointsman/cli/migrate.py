"""`pointsman migrate`: brings the stores to this version's layout; safe to run again."""

from pathlib import Path

import click

from pointsman.cli import options


@click.command()
@options.config
@options.data_dir
def migrate(config_path: Path | None, data_dir: Path | None) -> None:
    """Bring database and broker to this version's layout."""
    from pointsman.services.history import migrations

    settings = options.settings_of(config_path, data_dir)
    try:
        migrations.upgrade(settings.postgres_dsn)
    except OSError as error:
        options.fail(f"Postgres cannot be reached: {error}", options.UNREACHABLE)
