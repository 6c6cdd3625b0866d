"""`pointsman token`: an access token, signed with the secret of the settings or of an embedded system."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import click

from pointsman.cli import options
from pointsman.cli.impact import Reads
from pointsman.cli.params import Seconds, Subject

ROLES = ("admin", "operator", "viewer", "user", "service")
TTL_S_MAX = 366 * 86_400


@click.command(cls=Reads)
@click.option("--role", "roles", multiple=True, required=True, type=click.Choice(ROLES), help="May be given again.")
@click.option("--sub", required=True, type=Subject(), help="Whom the token speaks for.")
@click.option(
    "--ttl",
    "ttl_s",
    type=Seconds(1, TTL_S_MAX),
    default="1h",
    show_default=True,
    help="How long it is valid: 30s, 15m, 1h, 7d.",
)
@options.config
@options.data_dir
def token(roles: tuple[str, ...], sub: str, ttl_s: float, config_path: Path | None, data_dir: Path | None) -> None:
    """Print an access token (HS256)."""
    import jwt

    from pointsman.services.runtime.settings import SettingsError, require_secret

    settings = options.settings_of(config_path, data_dir)
    try:
        secret = require_secret(settings)
    except SettingsError as error:
        options.fail(str(error), options.USAGE)
    claims = _claims(sub, roles, timedelta(seconds=ttl_s)) | {
        name: value for name, value in (("iss", settings.jwt_issuer), ("aud", settings.jwt_audience)) if value
    }
    click.echo(jwt.encode(claims, secret, algorithm="HS256"))


def _claims(sub: str, roles: tuple[str, ...], ttl: timedelta) -> dict[str, object]:
    now = datetime.now(UTC)
    return {"sub": sub, "roles": list(dict.fromkeys(roles)), "iat": now, "exp": now + ttl}
