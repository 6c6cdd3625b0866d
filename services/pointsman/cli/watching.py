"""The same question again and again: repainted in place on a terminal; in a pipe a line of JSON for what changed."""

import sys
import time
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

import click

from pointsman.cli import asking, options, output
from pointsman.client.bus import BusError
from pointsman.contracts.errors import PointsmanError

if TYPE_CHECKING:
    from pointsman.cli.asking import Wanted
    from pointsman.cli.output import View
    from pointsman.client.client import Client

HOME, REST_OF_LINE, REST_OF_SCREEN = "\x1b[H", "\x1b[K", "\x1b[J"
HIDDEN, SHOWN, ASIDE, BACK = "\x1b[?25l", "\x1b[?25h", "\x1b[?1049h", "\x1b[?1049l"
PASSING = (429, 502, 503, 504)


def show[A](
    wanted: "Wanted",
    ask: "Callable[[Client], Coroutine[Any, Any, A]]",
    view: "View[A, Any]",
    every_s: float | None,
) -> None:
    """Once, or every so many seconds until interrupted. The first question may be refused; later outages are waited out."""
    answer = wanted.ask(ask)
    if every_s is None:
        wanted.tell(answer, view)
        return
    told = _Painter(wanted, view) if output.is_terminal() else _Lines(view)
    try:
        with asking.refusals(wanted), told:
            told.show(answer)
            while True:
                time.sleep(every_s)
                try:
                    told.show(wanted.attempt(ask))
                except (PointsmanError, BusError) as error:
                    if isinstance(error, PointsmanError) and error.status not in PASSING:
                        raise
                    told.missed(str(error))
    except KeyboardInterrupt:
        raise SystemExit(options.INTERRUPTED) from None


class _Lines[A]:
    """Every item once, then those that changed; `{"removed":NAME}` for what went."""

    def __init__(self, view: "View[A, Any]") -> None:
        self._view = view
        self._known: dict[str, str] = {}

    def __enter__(self) -> "_Lines[A]":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def show(self, answer: A) -> None:
        items = {self._view.name(item): item for item in self._view.items(answer)}
        told = {name: output.as_jsonl(self._view.still(item)) for name, item in items.items()}
        for name, still in told.items():
            if self._known.get(name) != still:
                click.echo(output.as_jsonl(items[name]))
        for name in self._known.keys() - told.keys():
            click.echo(output.as_jsonl({"removed": name}))
        self._known = told

    def missed(self, why: str) -> None:
        click.echo(f"pointsman: {why}; trying again", err=True)


class _Painter[A]:
    """On the other screen of the terminal, which comes back as it was; lines are cut, never wrapped."""

    def __init__(self, wanted: "Wanted", view: "View[A, Any]") -> None:
        self._wanted = wanted
        self._view = view
        self._last = ""

    def __enter__(self) -> "_Painter[A]":
        sys.stdout.write(ASIDE + HIDDEN)
        return self

    def __exit__(self, *_: object) -> None:
        sys.stdout.write(SHOWN + BACK)
        sys.stdout.flush()
        click.echo(self._last)

    def show(self, answer: A) -> None:
        self._last = self._wanted.told(answer, self._view)
        self._paint(f"{time.strftime('%H:%M:%S')}  {self._wanted.place.shown}  ctrl-c ends")

    def missed(self, why: str) -> None:
        self._paint(f"{time.strftime('%H:%M:%S')}  STALE: {output.one_line(why)}")

    def _paint(self, head: str) -> None:
        width, height = _size()
        lines = [head, "", *self._last.splitlines()]
        hidden = len(lines) - height
        if hidden > 0:
            lines = [*lines[: height - 1], f"... {hidden + 1} more lines"]
        shown = (f"{cut(line, width)}{REST_OF_LINE}" for line in lines)
        sys.stdout.write(HOME + "\r\n".join(shown) + REST_OF_SCREEN)
        sys.stdout.flush()


def cut(line: str, width: int) -> str:
    """At most so many columns, colours not counted."""
    if "\x1b" not in line and line.isascii():
        return line[:width]
    kept, seen, inside = [], 0, False
    for character in line:
        inside = inside or character == "\x1b"
        seen += 0 if inside else output.cells(character)
        if inside or seen <= width:
            kept.append(character)
        inside = inside and character != "m"
    return "".join(kept)


def _size() -> tuple[int, int]:
    import shutil

    size = shutil.get_terminal_size()
    return size.columns, size.lines
