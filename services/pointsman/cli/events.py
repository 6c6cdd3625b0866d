"""`pointsman events`: what happens to tasks, as it happens."""

from pathlib import Path

import click

from pointsman.cli import options


@click.command()
@click.option("--task", "task_id", help="Of this task alone: from its beginning to its end.")
@click.option("--since", help="Go on after this cursor, which `-o jsonl` shows.")
@click.option(
    "-o", "--output", type=click.Choice(("table", "jsonl")), default="table", show_default=True, help="Form of a line."
)
@options.config
@options.data_dir
def events(
    task_id: str | None, since: str | None, output: str, config_path: Path | None, data_dir: Path | None
) -> None:
    """Follow what happens to tasks until interrupted."""
    from pointsman.cli import asking, tailing

    if task_id is not None and since is not None:
        raise click.UsageError("--since goes on with the events of all tasks, not with those of one")
    cursor = None if since is None else tailing.cursor_of(since)
    line = tailing.LINES[output]
    if task_id is not None:
        asking.follow(config_path, data_dir, lambda client: tailing.one(client, task_id, line))
    else:
        asking.follow(config_path, data_dir, lambda client: tailing.everything(client.bus, cursor, line))
