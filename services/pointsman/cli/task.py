"""`pointsman task`: what is the matter with a task."""

from typing import TYPE_CHECKING

import click

from pointsman.cli import options

if TYPE_CHECKING:
    from pointsman.cli.asking import Wanted


@click.group()
def task() -> None:
    """Look at tasks."""


@task.command()
@click.argument("id")
@options.asked
def explain(wanted: "Wanted", id: str) -> None:
    """Why a task is where it is: what it waits at, its place in line, and why each server does not take it."""
    from pointsman.cli import printing

    wanted.show(lambda client: client.tasks.explain(id), printing.explanation)
