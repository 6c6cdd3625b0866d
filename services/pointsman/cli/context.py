"""`pointsman context`: named systems in a file of yours."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from pointsman.cli import completing, options
from pointsman.cli.impact import group
from pointsman.cli.output import Column, Style, View, facts, render, style_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from pointsman.cli.contexts import Contexts

name_argument = click.argument("name", shell_complete=completing.contexts)


class Row(msgspec.Struct, rename="camel"):
    """One context as it is listed."""

    name: str
    selected: bool
    address: str
    protected: bool
    color: str | None


class Value(msgspec.Struct):
    """One value in force, and where it comes from; secrets are masked."""

    name: str
    value: str | None
    origin: str


ROWS: View[tuple[Row, ...], Row] = View(
    (
        Column("SELECTED", lambda one: "*" if one.selected else ""),
        Column("NAME", lambda one: one.name),
        Column("ADDRESS", lambda one: one.address),
        Column("PROTECTED", lambda one: one.protected),
        Column("COLOR", lambda one: one.color, True),
    ),
    lambda rows: rows,
    lambda one: one.name,
)


def _values(values: tuple[Value, ...], style: Style) -> str:
    return facts([(one.name, one.value) for one in values if one.value is not None], style)


VALUE_COLUMNS: tuple[Column[Value], ...] = (
    Column("NAME", lambda one: one.name),
    Column("VALUE", lambda one: one.value),
    Column("ORIGIN", lambda one: one.origin or None),
)
VALUES: View[tuple[Value, ...], Value] = View(VALUE_COLUMNS, lambda all_: all_, lambda one: one.name, _values)
ORIGINS: View[tuple[Value, ...], Value] = View(VALUE_COLUMNS, lambda all_: all_, lambda one: one.name)


@group(aliases={"use": "select"})
def context() -> None:
    """Named systems: how each is reached, which one is selected, which are protected.

    \b
    What names the system, the nearest wins: --url, --data-dir, --config, --context;
    then POINTSMAN_URL, POINTSMAN_NATS_URL, POINTSMAN_DATA_DIR, POINTSMAN_CONFIG, POINTSMAN_CONTEXT;
    then the selected context; then ./.pointsman.
    A secret goes only to the address that it was given with.
    """


@context.reads("list")
@options.shown
def list_contexts(**_given: Any) -> None:
    """Every context, with a * at the selected one."""
    book = _read()
    rows = tuple(
        Row(name, name == book.current, one.nats_url or one.url or one.data_dir or "", one.protected, one.color)
        for name, one in sorted(book.contexts.items())
    )
    _tell(rows, ROWS)


@context.reads()
@click.argument("name")
@click.option("--url", help="Of its gateway, for REST: http: or https:.")
@click.option("--token", metavar="REF", help="With --url: env:NAME, file:PATH or command:COMMAND.")
@click.option("--nats-url", help="Of its NATS, by which everything can be done.")
@click.option("--nats-user", help="With --nats-url.")
@click.option("--nats-password", metavar="REF", help="With --nats-user: env:NAME, file:PATH or command:COMMAND.")
@click.option("--nats-creds", type=click.Path(), help="With --nats-url: a .creds file.")
@click.option("--data-dir", type=click.Path(), help="Of an embedded system on this machine.")
@click.option("--protected", is_flag=True, help="It starts read-only; --no-read-only opens it for one command.")
@click.option("--color", type=click.Choice(("red", "green", "yellow", "blue", "magenta", "cyan")), help="Of its name.")
@click.option("--select", is_flag=True, help="And select it.")
@click.option("--replace", is_flag=True, help="Also when there is one of this name.")
def add(name: str, select: bool, replace: bool, **given: Any) -> None:
    """Add a context. Secrets are named, not written: the file holds none."""
    from msgspec.structs import replace as with_

    from pointsman.cli import contexts

    if given["data_dir"]:
        given["data_dir"] = str(Path(given["data_dir"]).absolute())

    def act(book: "Contexts") -> "Contexts":
        if name in book.contexts and not replace:
            raise contexts.ContextError(f"there is a context {name!r}; --replace replaces it")
        made = contexts.Context(**given)
        contexts.check(name, made)
        added = with_(book, contexts=book.contexts | {name: made})
        return contexts.selected(added, name) if select or not book.contexts else added

    book = _change(act)
    click.echo(f"context {name} is in {contexts.path_of(os.environ)}" + (", selected" if book.current == name else ""))


@context.reads()
@name_argument
def select(name: str) -> None:
    """From now on, this one."""
    from pointsman.cli import contexts

    _change(lambda book: contexts.selected(book, name))
    click.echo(f"context {name} is selected")


@context.reads()
def previous() -> None:
    """Back to the one that was selected before; again: back here."""
    from pointsman.cli import contexts

    def act(book: "Contexts") -> "Contexts":
        if book.previous is None:
            raise contexts.ContextError("no other context was selected before")
        return contexts.selected(book, book.previous)

    click.echo(f"context {_change(act).current} is selected")


@context.reads()
@name_argument
def remove(name: str) -> None:
    """Forget a context; the system it names stays as it is."""
    from pointsman.cli import contexts

    _change(lambda book: contexts.without(book, name))
    click.echo(f"context {name} is forgotten")


@context.reads("get")
@click.argument("name", required=False, shell_complete=completing.contexts)
@click.option("--origin", is_flag=True, help="Also where each value comes from.")
@options.shown
def get(name: str | None, origin: bool, **_given: Any) -> None:
    """The system that a command here and now would speak to, or that of a context."""
    from msgspec.structs import replace

    from pointsman.cli import contexts, place

    given = options.given_of(click.get_current_context())
    given = replace(given, context=name) if name else given
    try:
        there = place.resolve(given, os.environ)
        reason = place.reads_only(given, os.environ, there)
    except contexts.ContextError as error:
        options.fail(str(error), options.NOT_FOUND if "there is no context" in str(error) else options.USAGE)
    told = {
        "context": there.context,
        "way": "REST" if there.is_rest else "NATS",
        "url": there.url.rpartition("@")[2],
        "user": there.user or None,
        "password": "********" if there.password else None,
        "token": "********" if there.token else None,
        "creds": there.creds_file or None,
        "protected": "yes" if there.protected else "no",
        "read_only": reason or "no",
    }
    values = tuple(Value(field, value, there.origins.get(field, "")) for field, value in told.items())
    _tell(values, ORIGINS if origin else VALUES)


def _read() -> "Contexts":
    from pointsman.cli import contexts

    try:
        return contexts.read(contexts.path_of(os.environ))
    except contexts.ContextError as error:
        options.fail(str(error), options.USAGE)


def _change(act: "Callable[[Contexts], Contexts]") -> "Contexts":
    from pointsman.cli import contexts

    try:
        return contexts.change(contexts.path_of(os.environ), act)
    except (contexts.ContextError, OSError) as error:
        options.fail(str(error), options.NOT_FOUND if "there is no context" in str(error) else options.USAGE)


def _tell[A](answer: A, view: View[A, Any]) -> None:
    import sys

    style = style_of(options.given_of(click.get_current_context()), sys.stdout, now_ms=0)
    try:
        click.echo(render(answer, view, style))
    except ValueError as error:
        options.fail(str(error), options.USAGE)
