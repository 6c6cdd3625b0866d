"""Options that several commands share, and how a command gets its settings and ends."""

import functools
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import click

from pointsman.services.runtime.settings import PREFIX, RUN_FILE, Settings, SettingsError, load

DATA_DIR_ENV = f"{PREFIX}DATA_DIR"
DATA_DIR_DEFAULT = Path(".pointsman")
FAILED, USAGE, NOT_FOUND, CONFLICT, NOT_ALLOWED, TIMEOUT, UNREACHABLE = 1, 2, 3, 4, 5, 6, 69
NONE = "none"
UNBOUNDED = object()

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

output: Decorator = click.option(
    "-o",
    "--output",
    type=click.Choice(("table", "json")),
    default="table",
    show_default=True,
    help="Form of the answer.",
)
timeout: Decorator = click.option(
    "--timeout",
    "timeout_s",
    type=click.FloatRange(min=0.1, max=300),
    default=10.0,
    show_default=True,
    help="Seconds to wait for the answer.",
)
if_match: Decorator = click.option(
    "--if-match", type=click.IntRange(min=0), help="Only if this is still the revision; else exit code 4."
)
cursor: Decorator = click.option("--cursor", help="Go on after this name, where the page before ended.")
at_once: Decorator = click.option("--max-concurrent", type=int, help="So many may run at once; 0 stops the line.")
per_second: Decorator = click.option("--rate", type=float, help="So many may start per second.")
burst: Decorator = click.option("--burst", type=int, help="So many may start at once after a pause; needs --rate.")


class Bound(click.ParamType[object]):
    """A number, or `none`, which is UNBOUNDED."""

    name = "integer|none"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> object:
        if value != NONE and not str(value).isdecimal():
            self.fail(f"{value!r} is neither a number nor none", param, ctx)
        return UNBOUNDED if value == NONE else int(value)


BOUND = Bound()


def asked(command: Callable[..., None]) -> Callable[..., Any]:
    """A command that asks a running system: gets a `Wanted` instead of the options that make one."""

    @functools.wraps(command)
    def run(config_path: Path | None, data_dir: Path | None, output: str, timeout_s: float, **given: object) -> None:
        from pointsman.cli.asking import Wanted

        command(Wanted(config_path, data_dir, output, timeout_s), **given)

    return config(data_dir(output(timeout(run))))


def limited(command: Callable[..., None]) -> Callable[..., Any]:
    """A command that takes a limit; gets it as the fields of a `LimitRequest`, {} when none are given."""

    @functools.wraps(command)
    def run(*args: Any, max_concurrent: int | None, rate: float | None, burst: int | None, **given: object) -> None:
        if burst is not None and rate is None:
            raise click.UsageError("--burst needs --rate")
        fields: dict[str, Any] = {} if max_concurrent is None else {"maxConcurrent": max_concurrent}
        if rate is not None:
            fields["rate"] = {"perSecond": rate} | ({} if burst is None else {"burst": burst})
        command(*args, limit=fields, **given)

    return at_once(per_second(burst(run)))


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


def told[T](work: Callable[[], T]) -> T:
    """Do it; what went wrong outside of this program ends the command with one line."""
    from pointsman.client.bus import BusError
    from pointsman.contracts.errors import PointsmanError
    from pointsman.services.history.backup import BackupError
    from pointsman.services.history.store import DatabaseAway
    from pointsman.services.runtime.embedded.folder import FolderInUse
    from pointsman.services.runtime.embedded.kept import DidNotStart

    try:
        return work()
    except (BackupError, FolderInUse, DidNotStart, PointsmanError) as error:
        fail(str(error))
    except BusError as error:
        fail(f"NATS cannot be reached: {error}", UNREACHABLE)
    except DatabaseAway as error:
        fail(f"Postgres cannot be reached: {str(error) or type(error).__name__}", UNREACHABLE)


def fail(message: str, code: int = FAILED) -> NoReturn:
    click.echo(f"pointsman: {message}", err=True)
    raise SystemExit(code)


def _default_data_dir(env: dict[str, str]) -> Path | None:
    """The folder in the current one, unless a system is named some other way."""
    named = any(env.get(PREFIX + name) for name in ("DATA_DIR", "NATS_URL", "CONFIG"))
    return DATA_DIR_DEFAULT if not named and (DATA_DIR_DEFAULT / RUN_FILE).exists() else None
