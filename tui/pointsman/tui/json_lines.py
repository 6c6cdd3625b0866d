"""JSON for reading: keys sorted, numbers digit for digit as they were sent, nothing that steers a terminal. Pure."""

import json
from collections.abc import Iterator

INDENT = "  "


class Digits(str):
    """A number as it was written."""

    __slots__ = ()


type Json = dict[str, Json] | list[Json] | str | Digits | bool | None


def lines_of_json(data: bytes) -> list[str]:
    """What is not JSON, or nested too deep, is shown as the text that it is."""
    try:
        value: Json = json.loads(data, parse_int=Digits, parse_float=Digits, parse_constant=Digits)
        return list(_written(value, "", "", ""))
    except (ValueError, RecursionError):
        return [_shown(line) for line in data.decode(errors="replace").splitlines()]


def _written(value: Json, indent: str, before: str, after: str) -> Iterator[str]:
    match value:
        case dict() if value:
            yield f"{indent}{before}{{"
            inner = sorted(value.items())
            for place, (name, member) in enumerate(inner, 1):
                yield from _written(member, indent + INDENT, f"{_quoted(name)}: ", "," if place < len(inner) else "")
            yield f"{indent}}}{after}"
        case list() if value:
            yield f"{indent}{before}["
            for place, member in enumerate(value, 1):
                yield from _written(member, indent + INDENT, "", "," if place < len(value) else "")
            yield f"{indent}]{after}"
        case _:
            yield f"{indent}{before}{_single(value)}{after}"


def _single(value: Json) -> str:
    match value:
        case Digits():
            return str(value)
        case str():
            return _quoted(value)
        case True | False:
            return "true" if value else "false"
        case None:
            return "null"
        case _:
            return "{}" if isinstance(value, dict) else "[]"


def _quoted(text: str) -> str:
    return _shown(json.dumps(text, ensure_ascii=False))


def _shown(text: str) -> str:
    """Letters that are not for printing, as JSON escapes them."""
    if text.isprintable():
        return text
    return "".join(letter if letter.isprintable() else json.dumps(letter)[1:-1] for letter in text)
