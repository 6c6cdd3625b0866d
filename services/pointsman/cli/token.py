"""`pointsman token`: an access token, signed with the secret of the settings or of an embedded system."""

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import click

from pointsman.cli import options
from pointsman.cli.impact import Reads

ROLES = ("admin", "operator", "viewer", "user", "service")
UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
TTL_MAX = timedelta(days=366)


@click.command(cls=Reads)
@click.option("--role", "roles", multiple=True, required=True, type=click.Choice(ROLES), help="May be given again.")
@click.option("--sub", required=True, help="Whom the token speaks for.")
@click.option("--ttl", default="1h", show_default=True, help="How long it is valid: 30s, 15m, 1h, 7d.")
@options.config
@options.data_dir
def token(roles: tuple[str, ...], sub: str, ttl: str, config_path: Path | None, data_dir: Path | None) -> None:
    """Print an access token (HS256)."""
    import jwt

    from pointsman.services.gateway.tokens import SUBJECT
    from pointsman.services.runtime.settings import SettingsError, require_secret

    if not SUBJECT.fullmatch(sub):
        raise click.BadParameter("must be 1-255 printable ASCII characters", param_hint="--sub")
    lifetime, settings = duration(ttl), options.settings_of(config_path, data_dir)
    try:
        secret = require_secret(settings)
    except SettingsError as error:
        options.fail(str(error), options.USAGE)
    claims = _claims(sub, roles, lifetime) | {
        name: value for name, value in (("iss", settings.jwt_issuer), ("aud", settings.jwt_audience)) if value
    }
    click.echo(jwt.encode(claims, secret, algorithm="HS256"))


def duration(text: str) -> timedelta:
    """`15m` as a timedelta; a usage error when it is none, or longer than a year."""
    found = re.fullmatch(r"([1-9]\d{0,8})([smhd])", text)
    result = timedelta(**{UNITS[found[2]]: int(found[1])}) if found else None
    if result is None or result > TTL_MAX:
        raise click.BadParameter(f"{text!r} is no duration like 30s, 15m, 1h, 7d (at most {TTL_MAX.days}d)")
    return result


def _claims(sub: str, roles: tuple[str, ...], ttl: timedelta) -> dict[str, object]:
    now = datetime.now(UTC)
    return {"sub": sub, "roles": list(dict.fromkeys(roles)), "iat": now, "exp": now + ttl}
