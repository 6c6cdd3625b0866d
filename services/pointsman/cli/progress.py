"""How far a long submission is: a bar on a terminal's standard error, else a line every five seconds."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

import click

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

EVERY_S = 5.0
PAINT_S = 0.1


class Telling(Protocol):
    def tell(self, end: int | None, accepted: int, refused: int) -> None:
        """`end`: bytes read so far; None: as before."""


@contextmanager
def progress_of(size: int | None) -> "Iterator[Telling]":
    """`size` of the file in bytes, if it is known."""
    if not sys.stderr.isatty():
        yield Lines()
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (BarColumn(), TextColumn("{task.description}"), TimeRemainingColumn(compact=True))
    with Progress(*columns, console=Console(stderr=True), transient=True, auto_refresh=False) as progress:
        yield Bar(progress, progress.add_task("", total=size))


class Lines:
    def __init__(self) -> None:
        self._began_s = self._told_s = time.monotonic()

    def tell(self, end: int | None, accepted: int, refused: int) -> None:
        if (now_s := time.monotonic()) - self._told_s >= EVERY_S:
            self._told_s = now_s
            click.echo(said(accepted, refused, now_s - self._began_s), err=True)


class Bar:
    def __init__(self, progress: "Progress", task: "TaskID") -> None:
        self._progress = progress
        self._task = task
        self._began_s = time.monotonic()
        self._painted_s = 0.0

    def tell(self, end: int | None, accepted: int, refused: int) -> None:
        if (now_s := time.monotonic()) - self._painted_s >= PAINT_S:
            self._painted_s = now_s
            self._progress.update(self._task, completed=end, description=said(accepted, refused, now_s - self._began_s))
            self._progress.refresh()


def said(accepted: int, refused: int, took_s: float) -> str:
    return f"{accepted:,} accepted  {accepted / max(took_s, 0.001):,.0f}/s  {refused:,} refused"
