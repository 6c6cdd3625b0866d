"""`pointsman balancer`: how tasks are spread over servers."""

from typing import TYPE_CHECKING

import click

from pointsman.cli import options

if TYPE_CHECKING:
    from pointsman.cli.asking import Wanted


@click.group()
def balancer() -> None:
    """Choose how tasks are spread over servers."""


@balancer.command()
@click.argument("name")
@click.option("--pool", default="default", show_default=True, help="Whose algorithm.")
@options.asked
def algorithm(wanted: "Wanted", name: str, pool: str) -> None:
    """Switch the algorithm of a pool, within a second everywhere; a wrong name lists them."""
    wanted.show(lambda client: client.balancer.switch(name, pool), lambda answer: answer.message)
