"""`pointsman webhook-secret`: the secret with which the completion webhooks of one owner are signed."""

from pathlib import Path

import click

from pointsman.cli import options
from pointsman.cli.impact import Reads
from pointsman.cli.params import Subject


@click.command("webhook-secret", cls=Reads)
@click.option("--owner", required=True, type=Subject(), help="The submitter: `sub` of its tokens.")
@options.config
@options.data_dir
def webhook_secret(owner: str, config_path: Path | None, data_dir: Path | None) -> None:
    """Print the secret that verifies what is sent to an owner's callbackUrl (Standard Webhooks).

    It is derived from jwt_secret and changes with it.
    """
    from pointsman.contracts.webhook import shown_secret, signing_key
    from pointsman.services.runtime.settings import SettingsError, require_secret

    settings = options.settings_of(config_path, data_dir)
    try:
        click.echo(shown_secret(signing_key(require_secret(settings), owner)))
    except SettingsError as error:
        options.fail(str(error), options.USAGE)
