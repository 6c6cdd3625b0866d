"""Schemas of payloads: what they refuse, and what is refused as a schema."""

import time
from typing import Any

import msgspec
import pytest

from pointsman.contracts.errors import PointsmanError
from pointsman.services.runtime.payload_schema import compiled

SCHEMA = {
    "type": "object",
    "required": ["url"],
    "properties": {"url": {"type": "string"}, "sizes": {"type": "array", "items": {"type": "integer", "maximum": 3}}},
    "additionalProperties": False,
}


def schema(value: Any) -> bytes:
    return msgspec.json.encode(value)


def refused(value: Any) -> str:
    with pytest.raises(PointsmanError) as refusal:
        compiled(schema(value))
    assert (refusal.value.status, refusal.value.errors[0].field) == (400, "schema")
    return refusal.value.detail


def test_a_payload_that_breaks_a_rule_is_told_where_and_which() -> None:
    checked = compiled(schema(SCHEMA))
    checked.check({"url": "x", "sizes": [1, 2]})
    with pytest.raises(PointsmanError) as refusal:
        checked.check({"url": "x", "sizes": [1, 4]})
    assert (refusal.value.status, refusal.value.errors[0].field) == (400, "payload.sizes.1")
    assert "maximum" in refusal.value.detail
    with pytest.raises(PointsmanError) as refusal:
        checked.check({"colour": 1, "sizes": ["a"] * 50})
    assert len(refusal.value.errors) == 20
    with pytest.raises(PointsmanError, match=r"payload: .*required"):
        checked.check({})


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ([], "object"),
        (7, "object"),
        ({"type": "strange"}, "strange"),
        ({"minimum": "3"}, "minimum"),
        ({"$schema": "http://example.org/mine"}, "meta-schema"),
        ({"$ref": "https://example.org/schema"}, "not local"),
        ({"$ref": "file:///etc/passwd"}, "not local"),
        ({"$ref": "#/$defs/none"}, "does not exist"),
        ({"$ref": "#anchor"}, "not local"),
        ({"$dynamicRef": "#x"}, "not supported"),
        ({"properties": {"a": {"$id": "http://example.org/"}}}, "$id"),
        ({"properties": {"a": {"$ref": "#"}}}, "recurs"),
        ({"$ref": "#/$defs/a", "$defs": {"a": {"items": {"$ref": "#/$defs/a"}}}}, "recurs"),
        ({"pattern": "(?=a)b"}, "regex"),
        ({"pattern": r"(a)\1"}, "regex"),
        ({"pattern": "(a{1000}){1000}"}, "regex"),
        ({"allOf": [{}] * 1001}, "1000 subschemas"),
    ],
)
def test_a_schema_that_is_wrong_or_reaches_too_far_is_refused(value: Any, said: str) -> None:
    assert said in refused(value)


def test_a_schema_is_bounded_in_size_and_depth() -> None:
    assert "65536" in refused({"title": "x" * 65_536})
    deep: Any = {}
    for _ in range(70):
        deep = {"not": deep}
    assert "64 levels" in refused(deep)


def test_references_that_multiply_are_refused_before_they_cost_anything() -> None:
    doubling: dict[str, Any] = {"d0": {"type": "object"}}
    for n in range(1, 40):
        doubling[f"d{n}"] = {"allOf": [{"$ref": f"#/$defs/d{n - 1}"}] * 2}
    began = time.perf_counter()
    assert "subschemas" in refused({"$ref": "#/$defs/d39", "$defs": doubling})
    assert time.perf_counter() - began < 1


def test_definitions_are_followed_where_they_are_used() -> None:
    one = {"$ref": "#/$defs/size", "$defs": {"size": {"$ref": "#/$defs/n~1m"}, "n/m": {"required": ["n"]}}}
    checked = compiled(schema(one))
    with pytest.raises(PointsmanError, match="required"):
        checked.check({})
    checked.check({"n": 1})


def test_a_pattern_that_would_backtrack_for_ever_elsewhere_is_done_at_once() -> None:
    checked = compiled(schema({"properties": {"x": {"pattern": "^(a+)+$"}}}))
    began = time.perf_counter()
    with pytest.raises(PointsmanError):
        checked.check({"x": "a" * 200_000 + "!"})
    assert time.perf_counter() - began < 1
