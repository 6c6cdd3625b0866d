"""`pointsman events`: what happens to tasks, as it happens."""

from typing import TYPE_CHECKING

import click

from pointsman.cli import completing, options
from pointsman.cli.impact import Reads

if TYPE_CHECKING:
    from pointsman.cli.asking import Wanted


@click.command(cls=Reads)
@click.option(
    "--task", "task_id", help="Of this task alone: from its beginning to its end.", shell_complete=completing.tasks
)
@click.option("--since", help="Go on after this cursor, which `-o jsonl` shows, or from so long ago: 30s, 15m, 1h.")
@click.option("--follow/--no-follow", default=True, show_default=True, help="Or end with what has happened until now.")
@options.asked
def events(wanted: "Wanted", task_id: str | None, since: str | None, follow: bool) -> None:
    """Follow what happens to tasks until interrupted. -o jsonl is a line of JSON each, with the cursor to go on from.

    Of what happened before, each task's last records are kept: what was overwritten shows in what came after it.
    """
    from pointsman.cli import past, tailing

    if task_id is not None and (since is not None or not follow):
        raise click.UsageError("--since and --no-follow are about the events of all tasks, not about those of one")
    if not follow and since is None:
        raise click.UsageError("--no-follow needs --since")
    cursor = None if since is None else past.cursor(wanted, since)
    if follow:
        tailing.show(wanted, task_id=task_id, since=cursor)
    else:
        past.show(wanted, cursor or "0-0")
