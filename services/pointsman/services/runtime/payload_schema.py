"""JSON Schemas of payloads: checked and compiled when a type is declared, bounded in size, time and reach.

The engine is compiled code with regular expressions that never backtrack; it is not allowed to fetch anything. A schema
whose references multiply (2^n checks in n lines) or recur is refused, so the cost of a check is bounded: at most
`NODES_MAX` subschemas for each of the payload's at most 10,000 values.
"""

from collections.abc import Iterator
from itertools import islice
from typing import Any
from urllib.parse import unquote

import jsonschema_rs

from pointsman.contracts.base import Message
from pointsman.contracts.errors import FieldError, PointsmanError, invalid
from pointsman.contracts.json_limits import Json, check_value, decode
from pointsman.contracts.steering import SCHEMA_BYTES_MAX

NODES_MAX = 1_000
PATTERN_BYTES_MAX = 1 << 20
ERRORS_MAX = 20
MESSAGE_LENGTH_MAX = 300
DEFINITIONS = ("$defs", "definitions")
REFUSED = ("$dynamicRef", "$recursiveRef")
_PATTERNS = jsonschema_rs.RegexOptions(size_limit=PATTERN_BYTES_MAX, dfa_size_limit=PATTERN_BYTES_MAX)


class Flaw(Message):
    """Where in the payload, and which rule of the schema it breaks."""

    path: str
    message: str


class PayloadSchema:
    """One compiled schema."""

    def __init__(self, schema: Any) -> None:
        self._validator = jsonschema_rs.validator_for(schema, pattern_options=_PATTERNS, offline=True)

    def check(self, payload: Json) -> None:
        """Raises 400 that names the places and the rules, the first 20."""
        flaws = tuple(islice(self._flaws(payload), ERRORS_MAX))
        if not flaws:
            return
        first = flaws[0]
        errors = tuple(FieldError(field=flaw.path, message=flaw.message) for flaw in flaws)
        raise PointsmanError(400, f"{first.path}: {first.message}", slug="invalid-request", errors=errors)

    def _flaws(self, payload: Json) -> Iterator[Flaw]:
        for error in self._validator.iter_errors(payload):
            path = ".".join(("payload", *(str(step) for step in error.instance_path)))
            rule = "/".join(str(step) for step in error.schema_path)
            yield Flaw(path=path, message=f"{error.message[:MESSAGE_LENGTH_MAX]} (rule {rule})")


def compiled(data: bytes) -> PayloadSchema:
    """The schema, or 400 with what is wrong with it."""
    if len(data) > SCHEMA_BYTES_MAX:
        raise invalid("schema", f"larger than the limit of {SCHEMA_BYTES_MAX} bytes")
    schema = decode(data, "schema")
    if not isinstance(schema, dict):
        raise invalid("schema", "must be an object")
    check_value(schema, "schema")
    _Cost(schema).check()
    try:
        return PayloadSchema(schema)
    except (jsonschema_rs.ValidationError, jsonschema_rs.ReferencingError, ValueError) as error:
        raise invalid("schema", _reason(error)) from None


def _reason(error: Exception) -> str:
    """The first line of the engine's message, with the place if it tells one."""
    path = "/".join(str(step) for step in getattr(error, "instance_path", ()))
    text = str(error).partition("\n")[0][:MESSAGE_LENGTH_MAX]
    return f"{text} at {path}" if path else text


class _Cost:
    """Counts the subschemas that one check may visit, references followed."""

    def __init__(self, root: dict[str, Any]) -> None:
        self._root = root
        self._costs: dict[str, int] = {}
        self._open: set[str] = set()

    def check(self) -> None:
        if self._of(self._root) > NODES_MAX:
            raise invalid("schema", f"more than {NODES_MAX} subschemas, references followed")

    def _of(self, node: Any) -> int:
        match node:
            case dict():
                children = (value for name, value in node.items() if name not in DEFINITIONS)
                return min(NODES_MAX + 1, 1 + self._referred(node) + sum(map(self._of, children)))
            case list():
                return min(NODES_MAX + 1, sum(map(self._of, node)))
            case _:
                return 0

    def _referred(self, node: dict[str, Any]) -> int:
        for name in REFUSED:
            if isinstance(node.get(name), str):
                raise invalid("schema", f"{name} is not supported")
        if node is not self._root and isinstance(node.get("$id"), str):
            raise invalid("schema", "$id is allowed at the top only")
        reference = node.get("$ref")
        if not isinstance(reference, str):
            return 0
        if reference not in self._costs:
            self._costs[reference] = self._follow(reference)
        return self._costs[reference]

    def _follow(self, reference: str) -> int:
        if reference != "#" and not reference.startswith("#/"):
            raise invalid("schema", f"$ref {reference[:100]} is not local: only #/... is allowed")
        if reference in self._open or reference == "#":
            raise invalid("schema", f"$ref {reference[:100]} recurs")
        self._open.add(reference)
        cost = self._of(_at(self._root, reference))
        self._open.discard(reference)
        return cost


def _at(root: Any, reference: str) -> Any:
    """What a local pointer (RFC 6901 in a fragment) leads to; None when to nothing, which the engine refuses."""
    node = root
    for step in _steps(reference):
        if isinstance(node, dict):
            node = node.get(step)
        elif isinstance(node, list) and step.isdecimal() and int(step) < len(node):
            node = node[int(step)]
        else:
            return None
    return node


def _steps(reference: str) -> Iterator[str]:
    return (unquote(step).replace("~1", "/").replace("~0", "~") for step in reference[2:].split("/"))
