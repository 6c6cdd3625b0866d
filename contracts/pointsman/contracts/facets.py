"""The values of labels and payload by which a task can be found: pure, and bounded whatever a payload holds."""

from collections.abc import Iterator

import msgspec

PAYLOAD_VALUES_MAX = 64
PATH_LENGTH_MAX = VALUE_LENGTH_MAX = 256
DEPTH_MAX = 16
REPLACEMENT = "\ufffd"

type Json = dict[str, Json] | list[Json] | str | int | float | bool | None


def facets_of(labels: dict[str, str], payload: msgspec.Raw) -> list[str]:
    """All labels, and the first 64 different single values of the payload; members of lists have their list's path."""
    found = {label_facet(clean(name), clean(value)): None for name, value in labels.items()}
    for facet in _payload_facets(payload):
        if len(found) >= PAYLOAD_VALUES_MAX + len(labels):
            break
        found[facet] = None
    return list(found)


def label_facet(name: str, value: str) -> str:
    return f"l{_named(name)}={value}"


def payload_facet(path: str, value: str) -> str:
    return f"p{_named(path)}={value}"


def _named(name: str) -> str:
    """The first bare equals sign ends a name, so that no name and value read like another pair."""
    return name.replace("\\", "\\\\").replace("=", "\\=") if "=" in name or "\\" in name else name


def clean(text: str) -> str:
    """Columns cannot hold NUL; the record keeps it."""
    return text.replace("\0", REPLACEMENT) if "\0" in text else text


def _payload_facets(payload: msgspec.Raw) -> Iterator[str]:
    try:
        value: Json = msgspec.json.decode(payload)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return
    for path, text in _leaves(value, "", 0):
        if len(path) <= PATH_LENGTH_MAX and len(text) <= VALUE_LENGTH_MAX:
            yield payload_facet(clean(path), clean(text))


def _leaves(value: Json, path: str, depth: int) -> Iterator[tuple[str, str]]:
    """Paths with dots, and each value as text: `true`, `42`, `null`."""
    match value:
        case dict() if depth < DEPTH_MAX:
            for name, inner in value.items():
                yield from _leaves(inner, f"{path}.{name}" if path else name, depth + 1)
        case list() if depth < DEPTH_MAX:
            for inner in value:
                yield from _leaves(inner, path, depth + 1)
        case str():
            yield path, value
        case bool() | int() | float() | None:
            yield path, msgspec.json.encode(value).decode()
        case _:
            return
