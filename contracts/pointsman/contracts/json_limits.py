"""Bounds on free-form JSON from outside: an object, no NUL, at most 64 levels and 10,000 values."""

import msgspec

from pointsman.contracts.errors import PointsmanError, invalid, too_large

DEPTH_MAX = 64
NODES_MAX = 10_000
Json = dict[str, object] | list[object] | str | int | float | bool | None


def check_object(data: bytes, field: str, bytes_max: int) -> dict[str, object]:
    """The object; raises 400 or 413 that names the field and the limit."""
    if len(data) > bytes_max:
        raise too_large(field, bytes_max)
    value = decode(data, field)
    if not isinstance(value, dict):
        raise invalid(field, "must be an object")
    check_value(value, field)
    return value


def decode(data: bytes, field: str) -> Json:
    try:
        value: Json = msgspec.json.decode(data)
    except RecursionError:
        raise _too_deep(field) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise invalid(field, str(error)) from None
    return value


def check_text(text: str, field: str) -> None:
    if "\x00" in text:
        raise invalid(field, "the NUL character is not allowed")


def check_value(value: Json, field: str) -> None:
    nodes, level, depth = 1, [value], 0
    while level:
        depth += 1
        if depth > DEPTH_MAX and any(isinstance(node, dict | list) for node in level):
            raise _too_deep(field)
        level = [child for node in level for child in _children(node, field)]
        nodes += len(level)
        if nodes > NODES_MAX:
            raise invalid(field, f"more than {NODES_MAX} values")


def _children(node: object, field: str) -> list[Json]:
    match node:
        case dict():
            for name in node:
                check_text(name, field)
            return list(node.values())
        case list():
            return node
        case str():
            check_text(node, field)
            return []
        case _:
            return []


def _too_deep(field: str) -> PointsmanError:
    return invalid(field, f"nested deeper than {DEPTH_MAX} levels")
