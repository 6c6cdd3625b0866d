"""Whether a command may write: refused by a flag, the environment or a protected context, before any request."""

import os

import click

from pointsman.cli import contexts, options, place
from pointsman.cli.contexts import ContextError
from pointsman.cli.given import Given


def refuse_writes(ctx: click.Context) -> None:
    """Ends the command with exit code 5 and the reason. A dry run writes nothing."""
    if ctx.params.get("dry_run"):
        return
    given = options.given_of(ctx)
    try:
        reason = place.reads_only(given, os.environ, _protection(given))
    except ContextError as error:
        options.fail(str(error), options.USAGE)
    if reason:
        name = ctx.command_path.removeprefix("pointsman ")
        options.fail(f"`{name}` writes, and only reading is allowed: {reason}", options.NOT_ALLOWED)


def _protection(given: Given) -> place.Place | None:
    """The context in force, without its secrets."""
    book = contexts.read(contexts.path_of(os.environ))
    chosen = place.chosen_context(given, os.environ, book)
    if chosen is None:
        return None
    return place.Place(url="", context=chosen[0], protected=book.named(chosen[0]).protected)
