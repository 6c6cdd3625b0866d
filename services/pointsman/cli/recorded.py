"""A recording in the place of a system: read before the cockpit begins, so that what is wrong with it is one line."""

import sys
from datetime import UTC
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pointsman.cli import options

if TYPE_CHECKING:
    from pointsman.cli.given import Given
    from pointsman.tui.options import Address, System
    from pointsman.tui.replay import Period

TOLD_EVERY = 500


def system_of(path: Path, given: "Given", at: str | None) -> "System":
    """What the cockpit shows; ends the command when the file, or the moment in it, cannot be shown."""
    from pointsman.tui.options import System
    from pointsman.tui.recording import RecordingError, opened
    from pointsman.tui.replay import Period

    if given.context or given.url or given.data_dir or given.config_path:
        raise click.UsageError("--replay shows a file: it takes neither --context, --url, --data-dir nor --config")
    try:
        found = opened(path, _tell if sys.stderr.isatty() else None)
    except (RecordingError, OSError) as error:
        options.fail(f"{path}: {getattr(error, 'strerror', None) or error}")
    if at is not None:
        refuse_moment(at, Period(found.first_at, found.last.at), "the recording is of")
    if found.note:
        click.echo(f"pointsman: {path}: {found.note}", err=True)
    return System(locate=_nowhere, name=found.system or path.name, read_only=True, recording=found)


def _tell(count: int) -> None:
    if count % TOLD_EVERY == 0:
        click.echo(f"\r{count:,} keyframes read\r", err=True, nl=False)


def refuse_moment(at: str, period: "Period", what: str) -> None:
    """Ends the command unless that moment can be shown; `what` is there begins the reason."""
    from pointsman.tui.replay import moment_of

    moment = moment_of(at, period.last, UTC)
    if moment is None:
        options.fail("--at: must be a time of day or an age, as in 14:31, 14:31:40 or 5m", options.USAGE)
    if moment // 1000 not in range(period.first // 1000, period.last // 1000 + 1):
        options.fail(f"--at: {what} {period.text(UTC)} UTC", options.USAGE)


def _nowhere() -> "Address":
    raise ValueError("a recording connects to nothing")
