"""`pointsman demo`: the whole system and four example backends, at work on Python's standard library."""

import sys
from pathlib import Path

import click

from pointsman.cli.impact import Writes


@click.command(cls=Writes)
@click.option("--exit", "exit_after", is_flag=True, help="End after the table instead of staying up.")
@click.option(
    "--data-dir",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder of the embedded system.  [default: a fresh one, removed at the end]",
)
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="Port of the gateway; 0 takes a free one.")
@click.option("--modules", type=click.IntRange(min=1), help="Only the first N modules.")
@click.option(
    "--cockpit/--no-cockpit", default=None, help="Open the cockpit meanwhile.  [default: on a terminal, without --exit]"
)
def demo(exit_after: bool, data_dir: Path | None, port: int, modules: int | None, cockpit: bool | None) -> None:
    """Count every module of Python's standard library through four backends, and check the sums.

    On a terminal the cockpit is open while rounds of that go on; `q` leaves it, and shows the sums. Exits with 1 when
    what Pointsman stored is not what is counted locally.
    """
    from pointsman.cli.demo_cockpit import has_terminal
    from pointsman.cli.demo_run import Options, run

    if cockpit and not has_terminal():
        raise click.UsageError("--cockpit needs a terminal")
    opens = has_terminal() and not exit_after if cockpit is None else cockpit
    folder = data_dir and data_dir.absolute()
    sys.exit(run(Options(data_dir=folder, port=port, modules=modules, exit=exit_after, cockpit=opens)))
