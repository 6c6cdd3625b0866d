"""`pointsman limit`: how many tasks of a pool, type or concurrency key may run at once, and how often one may start."""

from typing import TYPE_CHECKING, Any

import click

from pointsman.cli import options

if TYPE_CHECKING:
    from pointsman.cli.asking import Wanted


@click.group()
def limit() -> None:
    """List, set and clear limits. KIND is pool, type or key; the key `*` stands for each that has no limit of its own."""


@limit.command("list")
@options.cursor
@options.asked
def list_limits(wanted: "Wanted", cursor: str | None) -> None:
    """Every limit, with what runs under it."""
    from pointsman.cli import asking, printing
    from pointsman.contracts.steering import PageRequest

    page = asking.request(PageRequest, cursor=cursor)
    wanted.show(lambda client: client.limits.list(page), printing.limits)


@limit.command("set")
@click.argument("kind")
@click.argument("name")
@options.limited
@options.if_match
@options.asked
def set_limit(wanted: "Wanted", kind: str, name: str, if_match: int | None, limit: dict[str, Any]) -> None:
    """Set the whole limit: what is not given does not bound."""
    from pointsman.cli import asking, printing
    from pointsman.contracts.steering import LimitRequest

    if not limit:
        raise click.UsageError("no limit is given; `pointsman limit clear` removes one")
    asked = asking.request(LimitRequest, **limit)
    wanted.show(lambda client: client.limits.set(kind, name, asked, if_match=if_match), printing.limit_entry)


@limit.command()
@click.argument("kind")
@click.argument("name")
@options.if_match
@options.asked
def clear(wanted: "Wanted", kind: str, name: str, if_match: int | None) -> None:
    """Remove a limit."""
    wanted.show(lambda client: client.limits.clear(kind, name, if_match=if_match), lambda gone: gone.message)
