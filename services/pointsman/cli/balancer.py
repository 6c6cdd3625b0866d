"""`pointsman balancer`: how tasks are spread over servers."""

from typing import TYPE_CHECKING

import click

from pointsman.cli import completing, options
from pointsman.cli.impact import group

if TYPE_CHECKING:
    from pointsman.cli.asking import Wanted
    from pointsman.cli.options import Acting
    from pointsman.client.client import Client
    from pointsman.contracts.balancer import AlgorithmAnswer

pool_option = click.option(
    "--pool", default="default", show_default=True, help="Whose algorithm.", shell_complete=completing.pools
)


@group(aliases={"set": "switch", "algorithm": "switch", "status": "get"})
def balancer() -> None:
    """See how tasks are spread over servers, and choose how."""


@balancer.reads("get")
@options.watch
@options.asked
def get(wanted: "Wanted", watch_s: float | None) -> None:
    """Who leads, each pool's algorithm, slots and waiting tasks, what bounds them, and what is wrong."""
    from pointsman.cli import views_stats, watching

    watching.show(wanted, lambda client: client.statistics.load_balancer(), views_stats.BALANCER, watch_s)


@balancer.writes()
@click.argument("name", metavar="ALGORITHM", shell_complete=completing.algorithms)
@pool_option
@options.if_match
@options.acting
@options.asked
def switch(wanted: "Wanted", acting: "Acting", name: str, pool: str, if_match: int | None) -> None:
    """Switch the algorithm of a pool, within a second everywhere; a wrong name lists them."""
    from pointsman.cli import acting as acts
    from pointsman.cli import views_settings, views_stats

    acts.act(
        wanted,
        acting,
        plan=lambda client: client.pools.plan(pool, name),
        plan_view=views_stats.SWITCH,
        do=lambda client: _switched(client, name, pool, if_match),
        guarded=lambda plan: lambda client: _switched(client, name, pool, if_match or plan.revision),
        view=views_settings.ALGORITHM,
        asks=acts.Asks.PEOPLE,
    )


@balancer.writes()
@pool_option
@options.if_match
@options.acting
@options.asked
def undo(wanted: "Wanted", acting: "Acting", pool: str, if_match: int | None) -> None:
    """Take back the last change of a pool's settings; once more takes that back."""
    from pointsman.cli import acting as acts
    from pointsman.cli import settings_plans, views_settings

    acts.act(
        wanted,
        acting,
        plan=settings_plans.pool_undo(pool, if_match),
        plan_view=acts.PLAN,
        do=lambda client: client.pools.undo(pool, if_match=if_match),
        view=views_settings.POOL,
        asks=acts.Asks.NEVER,
    )


async def _switched(client: "Client", name: str, pool: str, if_match: int | None) -> "AlgorithmAnswer":
    from pointsman.contracts.balancer import AlgorithmAnswer
    from pointsman.contracts.steering import PoolPatch

    if if_match is None:
        return await client.balancer.switch(name, pool)
    changed = await client.pools.change(pool, PoolPatch(algorithm=name), if_match=if_match)
    message = f"Algorithm of pool {pool} is now {changed.algorithm}"
    return AlgorithmAnswer(message=message, algorithm=changed.algorithm)
