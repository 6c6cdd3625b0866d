"""`pointsman tui`: the cockpit."""

import os
import signal
import sys
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pointsman.cli import contexts, options, place, recorded
from pointsman.cli.contexts import ContextError
from pointsman.cli.impact import Reads
from pointsman.cli.params import Hertz
from pointsman.cli.quick import without

if TYPE_CHECKING:
    from pointsman.cli.given import Given
    from pointsman.tui.options import Options, System

SCREENS = ("overview", "servers", "tasks", "events", "stats", "balancer")
THEMES = ("pointsman-dark", "pointsman-light", "pointsman-cvd")
HZ_HELP = "Draw at most so often a second: fewer for slow links."
SNAPSHOT_TIMEOUT_S = 10.0
FILE = click.Path(path_type=Path, exists=True, dir_okay=False)
PLAIN_TERMINALS = ("linux", "vt", "dumb")
SERVED = "TEXTUAL_DRIVER"
"""Set by textual-serve, which draws in a browser: who looks there is shown what was chosen for them, and nothing else."""


@click.command(cls=Reads)
@click.argument("screen", type=click.Choice(SCREENS), default="overview")
@click.option("--at", metavar="TIME", help="Begin in the past: 14:31, 14:31:40 or 5m ago. Only the last hour is kept.")
@click.option(
    "--replay", "file", type=FILE, help="Show a recording that `pointsman record` wrote; connects to nothing."
)
@click.option("--snapshot", "form", type=click.Choice(("text", "svg")), help="Print one picture and end.")
@click.option("--size", metavar="COLUMNSxLINES", default="120x36", show_default=True, help="Of the snapshot.")
@click.option("--plain", "is_plain", is_flag=True, help="Print a line per change instead of drawing screens.")
@click.option("--ascii", "ascii_only", is_flag=True, help="Draw with ASCII; so it is on terminals that have no more.")
@click.option("--theme", type=click.Choice(THEMES), help="Else as cockpit.toml says.")
@click.option("--no-mouse", "without_mouse", is_flag=True, help="Leave the mouse to the terminal.")
@click.option("--hz", type=Hertz(min=0.2, max=10), default=10.0, show_default=True, help=HZ_HELP)
@options.placed
def tui(file: Path | None, form: str | None, size: str, is_plain: bool, without_mouse: bool, **shown: Any) -> None:
    """Watch and steer a running system in the terminal."""
    shape = _shape(size)
    is_drawn = form is None and not is_plain
    if is_drawn and not (_is_terminal() or os.environ.get(SERVED)):
        options.fail("the cockpit needs a terminal; --snapshot and --plain do not", options.USAGE)
    given = options.given_of(click.get_current_context())
    if file is not None and is_plain:
        raise click.UsageError("--plain follows a running system: it does not go with --replay")
    if file is None and shown["at"] is not None:
        _refuse_moment(shown["at"])
    system = _live(given) if file is None else recorded.system_of(file, given, shown["at"])
    if is_drawn:
        # Python loses a Ctrl-C that comes within a callback of an import.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    if is_drawn and file is None:
        click.echo(f"connecting to {system.name} " + ("..." if shown["ascii_only"] else "…"), err=True)
    elsewhere = {} if file is not None or os.environ.get(SERVED) else _elsewhere(given)
    chosen = _chosen(system, elsewhere, **_known(shown))
    with without("aiohttp"):
        if is_plain:
            _follow_plainly(chosen)
        elif form is not None:
            _print_snapshot(chosen, form, shape, given.timeout_s or SNAPSHOT_TIMEOUT_S)
        else:
            _show(chosen, with_mouse=not without_mouse)


def _is_terminal() -> bool:
    return sys.stdin.isatty() and sys.stderr.isatty()


def _known(shown: dict[str, Any]) -> dict[str, Any]:
    return {name: shown[name] for name in ("screen", "at", "ascii_only", "theme", "hz")}


def _live(given: "Given") -> "System":
    from pointsman.cli import cockpit_systems

    try:
        there = place.resolve(given, os.environ)
        system = cockpit_systems.of_place(given, there)
    except ContextError as error:
        options.fail(str(error), error.exit_code)
    if there.is_rest:
        options.fail("the cockpit needs NATS: --url nats://..., or a context with nats_url", options.USAGE)
    return system


def _refuse_moment(at: str) -> None:
    from pointsman.tui.replay import hour_before

    recorded.refuse_moment(at, hour_before(time.time_ns() // 1_000_000), "the last hour is kept,")


def _elsewhere(given: "Given") -> dict[str, Any]:
    from pointsman.cli import cockpit_systems

    return {"previous": cockpit_systems.before(given), "systems": partial(cockpit_systems.all_of, given)}


def _chosen(
    system: "System",
    elsewhere: dict[str, Any],
    *,
    screen: str,
    at: str | None,
    ascii_only: bool,
    theme: str | None,
    hz: float,
) -> "Options":
    no_color = _wants_no_color()
    from pointsman.tui.keys import TasteError, taste_of
    from pointsman.tui.options import Options

    _silence()
    try:
        taste = taste_of(contexts.path_of(os.environ).parent)
    except TasteError as error:
        options.fail(str(error), options.USAGE)
    return Options(
        system=system,
        **elsewhere,
        actor=_actor(),
        ascii_only=ascii_only or _has_only_ascii(),
        no_color=no_color,
        hz=hz,
        screen=screen,
        at=at,
        theme=theme or taste.theme,
        keys=taste.keys,
    )


def _show(chosen: "Options", *, with_mouse: bool) -> None:
    from pointsman.tui.app import Cockpit

    going_to: Options | None = chosen
    while going_to is not None:
        app = Cockpit(going_to)
        going_to = app.run(mouse=with_mouse)
        if app.return_code:
            raise SystemExit(app.return_code)


def _print_snapshot(chosen: "Options", form: str, shape: tuple[int, int], timeout_s: float) -> None:
    import asyncio

    from pointsman.tui.snapshot import NothingTold, snapshot

    try:
        click.echo(asyncio.run(snapshot(chosen, form, shape, timeout_s)), nl=False)
    except NothingTold as error:
        options.fail(str(error), options.UNREACHABLE)


def _follow_plainly(chosen: "Options") -> None:
    import asyncio

    from pointsman.tui.plainly import Plain

    try:
        asyncio.run(Plain(chosen, click.echo).run())
    except KeyboardInterrupt:
        raise SystemExit(options.INTERRUPTED) from None


def _shape(size: str) -> tuple[int, int]:
    columns, _, lines = size.partition("x")
    if not columns.isdecimal() or not lines.isdecimal() or not (20 <= int(columns) <= 500 and 5 <= int(lines) <= 200):
        options.fail("--size: must be COLUMNSxLINES, from 20x5 to 500x200", options.USAGE)
    return int(columns), int(lines)


def _actor() -> str:
    import getpass

    try:
        return f"local:{getpass.getuser()}"
    except (OSError, KeyError):
        return "local:operator"


def _wants_no_color() -> bool:
    """The convention is a non-empty NO_COLOR; the library takes an empty one for set, so it is removed."""
    if not os.environ.get("NO_COLOR"):
        os.environ.pop("NO_COLOR", None)
    if os.environ.get("TERM") == "dumb":
        os.environ["NO_COLOR"] = "1"
    return "NO_COLOR" in os.environ


def _has_only_ascii() -> bool:
    encoding = (sys.stdout.encoding or "").lower().replace("-", "")
    return encoding != "utf8" or os.environ.get("TERM", "").startswith(PLAIN_TERMINALS)


def _silence() -> None:
    """The screen is drawn on stderr: nobody else may write there."""
    import logging

    import structlog

    logging.getLogger().addHandler(logging.NullHandler())
    logging.getLogger().setLevel(logging.CRITICAL)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
