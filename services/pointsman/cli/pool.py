"""`pointsman pool`: the settings of pools."""

from typing import TYPE_CHECKING

import click

from pointsman.cli import completing, options, params
from pointsman.cli.impact import group

if TYPE_CHECKING:
    from pointsman.cli.asking import Wanted
    from pointsman.cli.options import Acting


name_argument = click.argument("name", shell_complete=completing.pools)


@group()
def pool() -> None:
    """List, show and change pools: algorithm, shares, retries, backlog. Limits: `pointsman limit`."""


@pool.reads("list")
@options.cursor
@options.asked
def list_pools(wanted: "Wanted", cursor: str | None) -> None:
    """Pools that have servers, settings or waiting tasks."""
    from pointsman.cli import asking, views_settings
    from pointsman.contracts.steering import PageRequest

    page = asking.request(PageRequest, cursor=cursor)
    wanted.show(lambda client: client.pools.list(page), views_settings.POOLS)


@pool.reads("get")
@name_argument
@options.asked
def get(wanted: "Wanted", name: str) -> None:
    """The settings of a pool, and their last ten changes."""
    from pointsman.cli import views_settings

    wanted.show(lambda client: client.pools.get(name), views_settings.POOL)


@pool.writes("set")
@name_argument
@click.option("--algorithm", help="How servers are chosen; a wrong name lists them.")
@click.option("--affinity", help="prefer or require.")
@click.option("--share", "shares", multiple=True, help="KEY=WEIGHT, may be given again; replaces all. `none`: equal.")
@click.option("--retry-percent", type=int, help="Retries may take this share of what runs.")
@click.option("--retries-per-s", type=float, help="And so many per second.")
@click.option("--max-backlog", type=params.BOUND, help="Waiting tasks from which on new ones get 429, or none.")
@click.option("--max-backlog-per-owner", type=params.BOUND, help="The same for the tasks of one owner.")
@options.if_match
@options.acting
@options.asked
def set_pool(
    wanted: "Wanted",
    acting: "Acting",
    name: str,
    if_match: int | None,
    algorithm: str | None,
    affinity: str | None,
    shares: tuple[str, ...],
    retry_percent: int | None,
    retries_per_s: float | None,
    max_backlog: object,
    max_backlog_per_owner: object,
) -> None:
    """Change the given settings of a pool; the others stay."""
    from pointsman.cli import acting as acts
    from pointsman.cli import asking, settings_plans, views_settings
    from pointsman.contracts.steering import PoolPatch

    patch = asking.request(
        PoolPatch,
        algorithm=algorithm,
        affinity=affinity,
        shares=_shares(shares),
        retryPercent=retry_percent,
        retriesPerS=retries_per_s,
        maxBacklog=max_backlog,
        maxBacklogPerOwner=max_backlog_per_owner,
    )
    if patch == PoolPatch():
        raise click.UsageError("nothing to change is given")
    acts.act(
        wanted,
        acting,
        plan=settings_plans.pool(name, patch, if_match),
        plan_view=acts.PLAN,
        do=lambda client: client.pools.change(name, patch, if_match=if_match),
        view=views_settings.POOL,
        asks=acts.Asks.NEVER,
    )


@pool.writes()
@name_argument
@options.if_match
@options.acting
@options.asked
def undo(wanted: "Wanted", acting: "Acting", name: str, if_match: int | None) -> None:
    """Take back the last change of a pool's settings; once more takes that back."""
    from pointsman.cli import acting as acts
    from pointsman.cli import settings_plans, views_settings

    acts.act(
        wanted,
        acting,
        plan=settings_plans.pool_undo(name, if_match),
        plan_view=acts.PLAN,
        do=lambda client: client.pools.undo(name, if_match=if_match),
        view=views_settings.POOL,
        asks=acts.Asks.NEVER,
    )


def _shares(given: tuple[str, ...]) -> dict[str, int] | None:
    """`a=3 b=1` as weights; None when none are given, {} for `none`."""
    if not given:
        return None
    if given == (params.NONE,):
        return {}
    pairs = [share.rpartition("=") for share in given]
    for key, _, weight in pairs:
        if not key or not params.is_number(weight):
            raise click.BadParameter("must be KEY=WEIGHT, as in team-a=3", param_hint="--share")
    return {key: int(weight) for key, _, weight in pairs}
