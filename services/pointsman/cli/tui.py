"""`pointsman tui`: the cockpit."""

import os
import sys
from typing import TYPE_CHECKING

import click

from pointsman.cli import options, place
from pointsman.cli.contexts import ContextError
from pointsman.cli.impact import Reads

if TYPE_CHECKING:
    from pointsman.cli.given import Given
    from pointsman.tui.options import Address

SCREENS = ("overview", "servers", "tasks", "events", "stats", "balancer")
PLAIN_TERMINALS = ("linux", "vt", "dumb")


@click.command(cls=Reads)
@click.argument("screen", type=click.Choice(SCREENS), default="overview")
@click.option("--ascii", "ascii_only", is_flag=True, help="Draw with ASCII; so it is on terminals that have no more.")
@click.option(
    "--hz",
    type=click.FloatRange(min=0.2, max=10),
    default=10.0,
    show_default=True,
    help="Draw at most so often a second.",
)
@options.placed
def tui(screen: str, ascii_only: bool, hz: float, **_given: object) -> None:
    """Watch and steer a running system in the terminal."""
    if not sys.stdin.isatty() or not sys.stdout.isatty():
        options.fail("the cockpit needs a terminal", options.USAGE)
    given = options.given_of(click.get_current_context())
    try:
        there = place.resolve(given, os.environ)
        read_only = place.reads_only(given, os.environ, there) is not None
    except ContextError as error:
        options.fail(str(error), options.USAGE)
    if there.is_rest:
        options.fail("the cockpit needs NATS: --url nats://..., or a context with nats_url", options.USAGE)
    click.echo(f"connecting to {there.shown} …" if not ascii_only else "connecting ...", err=True)
    no_color = _wants_no_color()
    from pointsman.tui.app import Cockpit
    from pointsman.tui.options import Options

    _silence()
    Cockpit(
        Options(
            locate=lambda: _address(given),
            context=there.shown,
            actor=_actor(),
            read_only=read_only,
            ascii_only=ascii_only or _has_only_ascii(),
            no_color=no_color,
            hz=hz,
            screen=screen,
        )
    ).run()


def _address(given: "Given") -> "Address":
    """Read anew at each connect: an embedded system that was started again has other ports."""
    from pointsman.tui.options import Address

    try:
        found = place.resolve(given, os.environ)
    except ContextError as error:
        raise ValueError(str(error)) from error
    return Address(found.url, found.user, found.password, found.creds_file)


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
