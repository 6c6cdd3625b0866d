"""`pointsman record`: what a cockpit can look back at, as one file."""

import time
from contextlib import aclosing, closing
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pointsman.cli import options
from pointsman.cli.impact import Reads
from pointsman.cli.params import Seconds
from pointsman.client.bus import BusError

if TYPE_CHECKING:
    from pointsman.cli.asking import Wanted
    from pointsman.client.client import Client
    from pointsman.tui.archive import Tape
    from pointsman.tui.recording import Writer

HOUR_S, DAY_S = 3_600, 86_400
AGAIN_S = 1.0


@click.command(cls=Reads)
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option(
    "--since", "since_s", type=Seconds(0, HOUR_S), default="1h", show_default=True, help="Begin so long ago: 30s, 15m."
)
@click.option("--follow", is_flag=True, help="Go on until interrupted, or for a day.")
@click.option("--for", "for_s", type=Seconds(1, DAY_S), help="Go on for so long: 90s, 10m.")
@click.option("--overwrite", is_flag=True, help="Replace FILE if there is one.")
@options.asked_plainly
def record(wanted: "Wanted", file: Path, since_s: float, follow: bool, for_s: float | None, overwrite: bool) -> None:
    """Write the last hour of what cockpits are shown into FILE, for a ticket: `pointsman tui --replay FILE` shows it.

    One keyframe a second: servers, pools, flow, alerts, events and a sample of tasks; no payloads, no secrets. What has been
    written can be read whenever it is interrupted.
    """
    if follow and for_s is not None:
        raise click.UsageError("--follow goes on until interrupted, --for as long as it says: give one of them")
    if file.exists() and not overwrite:
        options.fail(f"{file} is there already: --overwrite replaces it", options.USAGE)
    if wanted.place.is_rest:
        options.fail("keyframes are read from NATS: --url nats://..., or a context with nats_url", options.USAGE)
    from pointsman.tui.recording import Writer

    with closing(Writer(file, wanted.place.shown, overwrite=overwrite)) as writer:
        try:
            wanted.loop(lambda client: _record(client, writer, since_s, DAY_S if follow else for_s))
        except OSError as error:
            options.fail(f"{file}: {error.strerror or error}")
        finally:
            _tell(writer, file)
        if not writer.count:
            options.fail("no keyframe is kept of that time: does the statistics service run?", options.NOT_FOUND)


async def _record(client: "Client", writer: "Writer", since_s: float, go_on_s: float | None) -> None:
    from pointsman.tui.archive import Tape

    tape = Tape(client.bus, round(1000 * (time.time() - since_s)))
    await tape.listen()
    await _copy(tape, writer)
    until = time.monotonic() + (go_on_s or 0)
    while not writer.is_full and (left_s := until - time.monotonic()) > 0:
        await tape.more(left_s)
        await _copy_patiently(tape, writer)


async def _copy_patiently(tape: "Tape", writer: "Writer") -> None:
    """What is missed while nobody answers is still kept when somebody does."""
    import asyncio

    try:
        await _copy(tape, writer)
    except BusError as error:
        click.echo(f"{error}: trying again", err=True)
        await asyncio.sleep(AGAIN_S)


async def _copy(tape: "Tape", writer: "Writer") -> None:
    async with aclosing(tape.until_now()) as keyframes:
        async for packed in keyframes:
            writer.add(packed)
            if writer.is_full:
                return


def _tell(writer: "Writer", file: Path) -> None:
    if writer.count:
        click.echo(f"{writer.count:,} keyframes, {writer.size / 1e6:,.1f} MB, in {file}", err=True)
