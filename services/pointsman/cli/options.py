"""Options that several commands share, and how a command gets its settings and ends."""

import functools
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click
import msgspec

from pointsman.cli import output
from pointsman.cli.given import Given
from pointsman.cli.params import Seconds

if TYPE_CHECKING:
    from pointsman.services.runtime.settings import Settings

PREFIX = "POINTSMAN_"
RUN_FILE = "run.json"
DATA_DIR_ENV = f"{PREFIX}DATA_DIR"
DATA_DIR_DEFAULT = Path(".pointsman")
OURS = frozenset(PREFIX + name for name in ("CONTEXT", "CONTEXTS", "URL", "TOKEN", "READ_ONLY", "OUTPUT", "COMPLETE"))
"""Variables that only the command line reads, which are no settings."""
FAILED, USAGE, NOT_FOUND, CONFLICT, NOT_ALLOWED, TIMEOUT, UNREACHABLE, INTERRUPTED = 1, 2, 3, 4, 5, 6, 69, 130
UNREAD = 141

type Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]


def _or_outer(ctx: click.Context, param: click.Parameter, value: Any) -> Any:
    """What was given before the command holds too."""
    outer = ctx.find_root().obj
    return getattr(outer, param.name or "", None) if value is None and isinstance(outer, Given) else value


config: Decorator = click.option(
    "--config",
    "config_path",
    type=click.Path(path_type=Path, dir_okay=False),
    callback=_or_outer,
    envvar=f"{PREFIX}CONFIG",
    help="TOML file with settings.",
)
data_dir: Decorator = click.option(
    "--data-dir",
    type=click.Path(path_type=Path, file_okay=False),
    callback=_or_outer,
    help=f"Folder of an embedded system; also {DATA_DIR_ENV}. Default: {DATA_DIR_DEFAULT} if there is one.",
)


FORMS = ("table", "wide", "json", "jsonl", "yaml", "name", "csv")
TIMES = ("relative", "iso", "unix")
COLORS = ("auto", "always", "never")
TIMEOUT_S_DEFAULT = 10.0
OUTPUT_ENV = f"{PREFIX}OUTPUT"


def placing(*, is_hidden: bool) -> tuple[Decorator, ...]:
    """Which system, and what may be done there; without defaults, so that it may stand on either side of the command."""
    return (
        click.option("--context", hidden=is_hidden, metavar="NAME", help="The system, by `pointsman context list`."),
        click.option(
            "--url",
            hidden=is_hidden,
            metavar="URL",
            help="The system, by the address of its gateway (http:, https:) or of its NATS (nats:, tls:); also POINTSMAN_URL.",
        ),
        click.option(
            "--token",
            hidden=is_hidden,
            metavar="REF",
            help="Where the gateway's token is: env:NAME, file:PATH or command:COMMAND; POINTSMAN_TOKEN holds it itself.",
        ),
        click.option(
            "--config",
            "config_path",
            hidden=is_hidden,
            type=click.Path(path_type=Path, dir_okay=False),
            help=f"The system, by a TOML file with settings; also {PREFIX}CONFIG.",
        ),
        click.option(
            "--data-dir",
            hidden=is_hidden,
            type=click.Path(path_type=Path, file_okay=False),
            help=f"The system, by its folder; also {DATA_DIR_ENV}. Default: {DATA_DIR_DEFAULT} if there is one.",
        ),
        click.option(
            "--timeout",
            "timeout_s",
            hidden=is_hidden,
            type=Seconds(0.1, 86_400),
            help=f"How long to wait for an answer: 10, 500ms, 1m.  [{TIMEOUT_S_DEFAULT:g}s]",
        ),
        click.option(
            "--read-only/--no-read-only",
            "read_only",
            hidden=is_hidden,
            default=None,
            help="Refuse whatever writes; also POINTSMAN_READ_ONLY=1. Protected contexts start so.",
        ),
    )


def showing(*, is_hidden: bool) -> tuple[Decorator, ...]:
    """How the answer is shown."""
    return (
        click.option(
            "-o", "--output", type=click.Choice(FORMS), help=f"Form of the answer; also {OUTPUT_ENV}.  [table]"
        ),
        click.option(
            "--columns", hidden=is_hidden, metavar="A,B", help="Of table, wide and csv: these; a wrong one lists them."
        ),
        click.option("--time", hidden=is_hidden, type=click.Choice(TIMES), help="How times are told to people.  [iso]"),
        click.option(
            "--color",
            hidden=is_hidden,
            type=click.Choice(COLORS),
            help="auto: on a terminal, without NO_COLOR.  [auto]",
        ),
    )


def common(*, is_hidden: bool) -> tuple[Decorator, ...]:
    return showing(is_hidden=is_hidden) + placing(is_hidden=is_hidden)


if_match: Decorator = click.option(
    "--if-match", type=click.IntRange(min=0), help="Only if this is still the revision; else exit code 4."
)
idempotency_key: Decorator = click.option(
    "--idempotency-key", help="A name of yours for this act: under the same one it is done once."
)
cursor: Decorator = click.option("--cursor", help="Go on after this name, where the page before ended.")
watch: Decorator = click.option(
    "--watch",
    "watch_s",
    type=Seconds(0.2, 3600),
    is_flag=False,
    flag_value=2.0,
    help="Again and again, every 2 seconds when not said otherwise: repainted on a terminal, jsonl of what changed in a pipe.",
)
every: Decorator = click.option(
    "--every",
    "every_s",
    type=Seconds(0.2, 3600),
    default=2.0,
    show_default=True,
    help="Seconds between looks.",
)
reason: Decorator = click.option("--reason", help="Why; kept with it.")
at_once: Decorator = click.option("--max-concurrent", type=int, help="So many may run at once; 0 stops the line.")
per_second: Decorator = click.option("--rate", type=float, help="So many may start per second.")
burst: Decorator = click.option("--burst", type=int, help="So many may start at once after a pause; needs --rate.")


def taking(command: Callable[..., Any], decorators: tuple[Decorator, ...]) -> Callable[..., Any]:
    for decorate in reversed(decorators):
        command = decorate(command)
    return command


def asked(command: Callable[..., None]) -> Callable[..., Any]:
    """A command that asks a running system: gets a `Wanted` instead of the common options."""
    return taking(_wanting(command), common(is_hidden=True))


def asked_plainly(command: Callable[..., None]) -> Callable[..., Any]:
    """One whose answer has one form."""
    return taking(_wanting(command), placing(is_hidden=True))


def _wanting(command: Callable[..., None]) -> Callable[..., Any]:
    @functools.wraps(command)
    def run(*args: object, **given: Any) -> None:
        from pointsman.cli.asking import Wanted

        command(Wanted(given_of(click.get_current_context())), *args, **_without_common(given))

    return run


class Acting(msgspec.Struct, frozen=True):
    """How an act is to be done."""

    dry_run: bool
    yes: bool


def acting(command: Callable[..., Any]) -> Callable[..., Any]:
    """A command that writes: gets an `Acting`."""

    @functools.wraps(command)
    def run(*args: object, dry_run: bool, yes: bool, **given: object) -> None:
        command(*args, acting=Acting(dry_run, yes), **given)

    dry = click.option("--dry-run", is_flag=True, help="Show what would be done and do nothing.")
    return dry(click.option("--yes", is_flag=True, help="Do not ask.")(run))


def shown(command: Callable[..., Any]) -> Callable[..., Any]:
    """A command that asks no system but shows something in any form, and may be told which system is meant."""
    return taking(command, common(is_hidden=True))


def placed(command: Callable[..., Any]) -> Callable[..., Any]:
    """A command that asks a system and has forms of its own."""
    return taking(command, placing(is_hidden=True))


def given_of(ctx: click.Context) -> Given:
    """What was given to the command over what was given to `pointsman` itself."""
    nearest = Given(**{name: ctx.params[name] for name in Given.__struct_fields__ if name in ctx.params})
    outer = ctx.find_root().obj
    return nearest.over(outer) if isinstance(outer, Given) else nearest


def _without_common(given: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in given.items() if name not in Given.__struct_fields__}


def limited(command: Callable[..., None]) -> Callable[..., Any]:
    """A command that takes a limit: gets a `LimitRequest`, one that does not bound when none is given."""

    @functools.wraps(command)
    def run(*args: Any, max_concurrent: int | None, rate: float | None, burst: int | None, **given: object) -> None:
        if burst is not None and rate is None:
            raise click.UsageError("--burst needs --rate")
        from pointsman.cli import asking
        from pointsman.contracts.steering import LimitRequest

        per_second = None if rate is None else {"perSecond": rate} | ({} if burst is None else {"burst": burst})
        limit = asking.request(LimitRequest, maxConcurrent=max_concurrent, rate=per_second)
        command(*args, limit=limit, **given)

    return at_once(per_second(burst(run)))


def settings_of(
    config_path: Path | None,
    data_dir: Path | None,
    *,
    adopt_running: bool = True,
    env: Mapping[str, str] | None = None,
    **given: object,
) -> "Settings":
    """Settings from file, environment and options; a mistake ends the command with exit code 2."""
    from pointsman.services.runtime.settings import SettingsError, load

    if env is None:
        _refuse_other_places()
    known = {name: value for name, value in (os.environ if env is None else env).items() if name not in OURS}
    known |= {PREFIX + name.upper(): str(value) for name, value in given.items() if value is not None}
    folder = data_dir or _default_data_dir(known)
    if folder is not None:
        known[DATA_DIR_ENV] = str(folder.absolute())
    try:
        return load(known, config_path, adopt_running=adopt_running)
    except SettingsError as error:
        fail(str(error), USAGE)


def _refuse_other_places() -> None:
    """What works on the stores themselves must not go elsewhere than it was told to."""
    ctx = click.get_current_context(silent=True)
    outer = ctx.find_root().obj if ctx else None
    if isinstance(outer, Given) and (outer.context or outer.url):
        fail(
            "this command takes its system from --data-dir, --config or POINTSMAN_* settings, not by --context or --url",
            USAGE,
        )


def told[T](work: Callable[[], T]) -> T:
    """Do it; what went wrong outside of this program ends the command with one line."""
    from pointsman.client.bus import BusError
    from pointsman.contracts.errors import PointsmanError
    from pointsman.services.history.files import BackupError
    from pointsman.services.history.migrations import UnknownTables
    from pointsman.services.history.store import DatabaseAway, refuses
    from pointsman.services.runtime.embedded.folder import FolderInUse
    from pointsman.services.runtime.embedded.kept import DidNotStart

    try:
        return work()
    except (BackupError, FolderInUse, DidNotStart, PointsmanError, UnknownTables) as error:
        fail(str(error))
    except BusError as error:
        fail(f"NATS cannot be reached: {error}", UNREACHABLE)
    except DatabaseAway as error:
        if refuses(error):
            fail(f"Postgres refuses: {error}")
        fail(f"Postgres cannot be reached: {str(error) or type(error).__name__}", UNREACHABLE)


def fail(message: str, code: int = FAILED) -> NoReturn:
    click.echo("\n".join(map(output.one_line, f"pointsman: {message}".split("\n"))), err=True)
    raise SystemExit(code)


def _default_data_dir(env: dict[str, str]) -> Path | None:
    """The folder in the current one, unless a system is named some other way."""
    named = any(env.get(PREFIX + name) for name in ("DATA_DIR", "NATS_URL", "CONFIG"))
    return DATA_DIR_DEFAULT if not named and (DATA_DIR_DEFAULT / RUN_FILE).exists() else None
