"""`pointsman limit`: how many tasks of a pool, type or concurrency key may run at once, and how often one may start."""

from typing import TYPE_CHECKING

import click

from pointsman.cli import options
from pointsman.cli.impact import group

if TYPE_CHECKING:
    from pointsman.cli.asking import Wanted
    from pointsman.cli.options import Acting
    from pointsman.contracts.steering import LimitRequest


@group()
def limit() -> None:
    """List, set and clear limits. KIND is pool, type or key; the key `*` stands for each that has no limit of its own."""


@limit.reads("list")
@options.cursor
@options.asked
def list_limits(wanted: "Wanted", cursor: str | None) -> None:
    """Every limit, with what runs under it."""
    from pointsman.cli import asking, views_settings
    from pointsman.contracts.steering import PageRequest

    page = asking.request(PageRequest, cursor=cursor)
    wanted.show(lambda client: client.limits.list(page), views_settings.LIMITS)


@limit.writes("set")
@click.argument("kind")
@click.argument("name")
@options.limited
@options.if_match
@options.acting
@options.asked
def set_limit(
    wanted: "Wanted", acting: "Acting", kind: str, name: str, if_match: int | None, limit: "LimitRequest"
) -> None:
    """Set the whole limit: what is not given does not bound."""
    from pointsman.cli import acting as acts
    from pointsman.cli import settings_plans, views_settings
    from pointsman.contracts.steering import LimitRequest

    if limit == LimitRequest():
        raise click.UsageError("no limit is given; `pointsman limit clear` removes one")
    acts.act(
        wanted,
        acting,
        plan=settings_plans.limit(kind, name, limit, if_match),
        plan_view=acts.PLAN,
        do=lambda client: client.limits.set(kind, name, limit, if_match=if_match),
        view=views_settings.LIMIT,
        asks=acts.Asks.NEVER,
    )


@limit.writes()
@click.argument("kind")
@click.argument("name")
@options.if_match
@options.acting
@options.asked
def clear(wanted: "Wanted", acting: "Acting", kind: str, name: str, if_match: int | None) -> None:
    """Remove a limit."""
    from pointsman.cli import acting as acts
    from pointsman.cli import settings_plans, views_settings
    from pointsman.contracts.steering import LimitRequest

    acts.act(
        wanted,
        acting,
        plan=settings_plans.limit(kind, name, LimitRequest(), if_match),
        plan_view=acts.PLAN,
        do=lambda client: client.limits.clear(kind, name, if_match=if_match),
        view=views_settings.REMOVED,
        asks=acts.Asks.NEVER,
    )
