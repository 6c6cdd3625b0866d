"""Options that several commands share, and how a command gets its settings and ends."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import click

from pointsman.services.runtime.settings import PREFIX, RUN_FILE, Settings, SettingsError, load

DATA_DIR_ENV = f"{PREFIX}DATA_DIR"
DATA_DIR_DEFAULT = Path(".pointsman")
FAILED, USAGE, UNREACHABLE = 1, 2, 69

type Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]

config: Decorator = click.option(
    "--config",
    "config_path",
    type=click.Path(path_type=Path, dir_okay=False),
    envvar=f"{PREFIX}CONFIG",
    help="TOML file with settings.",
)
data_dir: Decorator = click.option(
    "--data-dir",
    type=click.Path(path_type=Path, file_okay=False),
    help=f"Folder of an embedded system; also {DATA_DIR_ENV}. Default: {DATA_DIR_DEFAULT} if there is one.",
)


def settings_of(
    config_path: Path | None, data_dir: Path | None, *, adopt_running: bool = True, **given: object
) -> Settings:
    """Settings from file, environment and options; a mistake ends the command with exit code 2."""
    env = dict(os.environ) | {PREFIX + name.upper(): str(value) for name, value in given.items() if value is not None}
    folder = data_dir or _default_data_dir(env)
    if folder is not None:
        env[DATA_DIR_ENV] = str(folder.absolute())
    try:
        return load(env, config_path, adopt_running=adopt_running)
    except SettingsError as error:
        fail(str(error), USAGE)


def fail(message: str, code: int = FAILED) -> NoReturn:
    click.echo(f"pointsman: {message}", err=True)
    raise SystemExit(code)


def _default_data_dir(env: dict[str, str]) -> Path | None:
    """The folder in the current one, unless a system is named some other way."""
    named = any(env.get(PREFIX + name) for name in ("DATA_DIR", "NATS_URL", "CONFIG"))
    return DATA_DIR_DEFAULT if not named and (DATA_DIR_DEFAULT / RUN_FILE).exists() else None
