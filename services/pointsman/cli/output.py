"""One answer in the form that was asked for: a table for people; json, jsonl, yaml, csv and names for programs."""

import os
import re
import sys
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from typing import IO, TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from pointsman.cli.given import Given

NONE = "-"
YAML_WORDS = frozenset(["y", "n", "yes", "no", "on", "off", "true", "false", "null"])
PEOPLE = ("table", "wide")
GREEN, YELLOW, RED, CYAN, DIM = "32", "33", "31", "36", "2"
COLORS = {
    GREEN: "ACTIVE HEALTHY COMPLETED completed online healthy ok done succeeded yes",
    YELLOW: "DRAINING WARMING RECOVERING SUSPECT degraded draining initializing warning",
    RED: "UNHEALTHY FAILED TIMEOUT timeout offline unhealthy critical failed timed-out lost REMOVED",
    CYAN: "PROCESSING NEW",
    DIM: "CANCELLED MAINTENANCE maintenance cancelled",
}
STEERING = re.compile("[\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")
"""What JSON may hold as it is, and a terminal obeys: C1 controls, and what turns the direction of writing."""
COLOR_OF = {word: color for color, words in COLORS.items() for word in words.split()}


class At(int):
    """A moment in ms since the epoch."""


class Word(str):
    """A state, which has a colour."""

    __slots__ = ()


class Column[I](msgspec.Struct, frozen=True):
    name: str
    get: Callable[[I], object]
    is_wide: bool = False


class View[A, I](msgspec.Struct, frozen=True):
    """How one kind of answer is shown. `text` tells a single thing to people; without it a table does."""

    columns: tuple[Column[I], ...]
    items: Callable[[A], Sequence[I]]
    name: Callable[[I], str]
    text: Callable[[A, "Style"], str] | None = None
    more: Callable[[A], str | None] = lambda _answer: None
    still: Callable[[I], I] = lambda item: item
    """The item without what only the clock moves: what is left tells whether it changed."""


class Style(msgspec.Struct, frozen=True):
    """How people want to see it; `now_ms` is what `relative` counts from."""

    form: str = "table"
    columns: tuple[str, ...] | None = None
    time: str = "iso"
    is_colored: bool = False
    now_ms: int = 0

    def cell(self, value: object) -> str:
        match value:
            case None:
                return NONE
            case At():
                return self.at(value)
            case bool():
                return "yes" if value else "no"
            case float():
                return f"{value:g}"
            case _:
                return one_line(str(value))

    def at(self, ms: int | None) -> str:
        if ms is None:
            return NONE
        if self.time == "unix":
            return str(ms // 1000)
        if self.time == "relative":
            return ago(ms - self.now_ms)
        return f"{datetime.fromtimestamp(ms / 1000, UTC):%Y-%m-%d %H:%M:%S}Z"

    def painted(self, text: str, value: object) -> str:
        color = COLOR_OF.get(str(value)) if self.is_colored and isinstance(value, Word) else None
        return f"\x1b[{color}m{text}\x1b[0m" if color else text


def style_of(given: "Given", stream: IO[str], *, now_ms: int) -> Style:
    form = given.output or os.environ.get("POINTSMAN_OUTPUT") or "table"
    columns = tuple(name.strip().upper() for name in given.columns.split(",")) if given.columns else None
    return Style(form, columns, given.time or "iso", colored(given.color, stream), now_ms)


def colored(wanted: str | None, stream: IO[str]) -> bool:
    if wanted in ("always", "never"):
        return wanted == "always"
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def render[A, I](answer: A, view: View[A, I], style: Style) -> str:
    """Without a newline at its end; empty when there is nothing to say. Raises ValueError for a wrong column."""
    match style.form:
        case "json":
            return as_json(answer)
        case "jsonl":
            return "\n".join(as_jsonl(item) for item in view.items(answer))
        case "yaml":
            return as_yaml(msgspec.to_builtins(_plain(answer))).rstrip("\n")
        case "name":
            return "\n".join(view.name(item) for item in view.items(answer))
        case "csv":
            return as_csv(view.columns, view.items(answer), style)
    if view.text is not None and style.form == "table" and style.columns is None:
        return view.text(answer, style)
    told = as_table(chosen(view.columns, style), view.items(answer), style)
    more = view.more(answer)
    return told if more is None else f"{told}\n{more}"


def as_json(answer: object) -> str:
    return _escaped(msgspec.json.format(msgspec.json.encode(answer), indent=2).decode())


def as_jsonl(item: object) -> str:
    return _escaped(msgspec.json.encode(item).decode())


def chosen[I](columns: Sequence[Column[I]], style: Style) -> list[Column[I]]:
    if style.columns is None:
        return [column for column in columns if style.form != "table" or not column.is_wide]
    by_name = {column.name: column for column in columns}
    if wrong := [name for name in style.columns if name not in by_name]:
        raise ValueError(f"--columns: there is no {wrong[0]!r}; there are {', '.join(by_name)}")
    return [by_name[name] for name in style.columns]


def as_table[I](columns: Sequence[Column[I]], items: Iterable[I], style: Style) -> str:
    """Columns as wide as they must be."""
    values = [[column.get(item) for column in columns] for item in items]
    texts = [[column.name for column in columns], *([style.cell(value) for value in row] for row in values)]
    widths = [max(map(cells, column)) for column in zip(*texts, strict=True)]
    told = ["  ".join(map(filled, texts[0], widths)).rstrip()]
    for row, shown in zip(values, texts[1:], strict=True):
        padded = (
            style.painted(filled(text, width), value) for text, width, value in zip(shown, widths, row, strict=True)
        )
        told.append("  ".join(padded).rstrip())
    return "\n".join(told)


def as_csv[I](columns: Sequence[Column[I]], items: Iterable[I], style: Style) -> str:
    import csv
    import io

    named, written = chosen(columns, style), io.StringIO()
    writer = csv.writer(written, lineterminator="\n")
    writer.writerow(column.name.lower().replace(" ", "_") for column in named)
    for item in items:
        values = (column.get(item) for column in named)
        writer.writerow("" if value is None else style.cell(value) for value in values)
    return written.getvalue().rstrip("\n")


def as_yaml(value: Any, indent: int = 0) -> str:
    """Block style; scalars as JSON writes them, which YAML 1.2 reads (https://yaml.org/spec/1.2.2/#chapter-2)."""
    pad = "  " * indent
    match value:
        case dict() if value:
            return "".join(f"{pad}{_yaml_key(key)}:{_yaml_value(inner, indent + 1)}" for key, inner in value.items())
        case list() if value:
            return "".join(f"{pad}-{_yaml_item(inner, indent + 1)}" for inner in value)
    return f"{pad}{as_jsonl(value)}\n"


def facts(pairs: Sequence[tuple[str, object]], style: Style) -> str:
    """One thing, a line for each of what is known of it."""
    width = max(cells(name) for name, _ in pairs) + 2
    return "\n".join(f"{filled(name, width)}{style.painted(style.cell(value), value)}" for name, value in pairs)


def table(head: Sequence[str], rows: Sequence[Sequence[object]], style: Style) -> str:
    columns = [Column[Sequence[object]](name, lambda row, at=number: row[at]) for number, name in enumerate(head)]  # type: ignore[misc]
    return as_table(columns, rows, style)


def ago(ms: int) -> str:
    """`3m ago`, `in 2h`."""
    size = abs(ms) / 1000
    for unit, seconds in (("d", 86_400), ("h", 3_600), ("m", 60)):
        if size >= seconds:
            told = f"{size / seconds:.0f}{unit}"
            break
    else:
        told = f"{size:.0f}s"
    return f"in {told}" if ms > 0 else f"{told} ago"


def cells(text: str) -> int:
    """How many columns of a terminal it takes: https://www.unicode.org/reports/tr11/."""
    if text.isascii():
        return len(text)
    from unicodedata import combining, east_asian_width

    return sum(0 if combining(one) else 1 + (east_asian_width(one) in "WF") for one in text)


def filled(text: str, width: int) -> str:
    return text + " " * (width - cells(text))


def one_line(text: str) -> str:
    """What a server said must not steer the terminal."""
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() else "\N{REPLACEMENT CHARACTER}" for one in " ".join(text.split()))


def is_terminal(stream: IO[str] | None = None) -> bool:
    return (stream or sys.stdout).isatty()


def _escaped(json: str) -> str:
    """The same JSON; outside of its texts there is none of these."""
    return STEERING.sub(lambda found: f"\\u{ord(found[0]):04x}", json)


def _plain(answer: object) -> object:
    return msgspec.json.decode(msgspec.json.encode(answer))


def _yaml_key(key: str) -> str:
    """Bare where nobody could take it for anything but a text."""
    is_bare = key.isascii() and key[:1].isalpha() and key.replace("_", "").isalnum() and key.lower() not in YAML_WORDS
    return key if is_bare else as_jsonl(key)


def _yaml_value(inner: Any, indent: int) -> str:
    return "\n" + as_yaml(inner, indent) if isinstance(inner, dict | list) and inner else f" {as_jsonl(inner)}\n"


def _yaml_item(inner: Any, indent: int) -> str:
    if isinstance(inner, dict | list) and inner:
        return " " + as_yaml(inner, indent).lstrip(" ")
    return f" {as_jsonl(inner)}\n"
