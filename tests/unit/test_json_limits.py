"""Bounds on JSON from outside."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import json

from pointsman.contracts.errors import PointsmanError
from pointsman.contracts.json_limits import DEPTH_MAX, NODES_MAX, check_object, check_value

KIB = 1024


def refusal(data: bytes, bytes_max: int = 4096 * KIB) -> PointsmanError:
    with pytest.raises(PointsmanError) as refused:
        check_object(data, "payload", bytes_max)
    assert refused.value.errors[0].field == "payload"
    return refused.value


def nested(levels: int) -> bytes:
    return b'{"a":' * levels + b"1" + b"}" * levels


@pytest.mark.parametrize("data", [b"[]", b"1", b"null", b'"x"', b"", b"{", b'{"a":NaN}', b'{"a":"\xff"}', b"{}{}"])
def test_what_is_no_object_is_400(data: bytes) -> None:
    assert refusal(data).status == 400


def test_size_is_413_and_counts_bytes() -> None:
    data = b'{"a":"' + "é".encode() * 10 + b'"}'
    check_object(data, "payload", len(data))
    assert refusal(data, len(data) - 1).status == 413


def test_depth() -> None:
    check_object(nested(DEPTH_MAX), "payload", 4096)
    assert refusal(nested(DEPTH_MAX + 1)).status == 400
    assert refusal(b'{"a":' + b"[" * DEPTH_MAX + b"]" * DEPTH_MAX + b"}").status == 400
    assert refusal(nested(100_000)).status == 400
    assert refusal(b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}").status == 400


def test_number_of_values() -> None:
    fits = b'{"a":[' + b",".join([b"1"] * (NODES_MAX - 2)) + b"]}"
    check_object(fits, "payload", KIB * KIB)
    assert refusal(fits.replace(b"[1", b"[1,1")).status == 400


@pytest.mark.parametrize("data", [b'{"a":"x\\u0000"}', b'{"\\u0000":1}', b'{"a":[{"b":["\\u0000"]}]}'])
def test_nul_is_refused_wherever_it_hides(data: bytes) -> None:
    assert "NUL" in refusal(data).detail


TEXT = st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]))
LEAVES = st.none() | st.booleans() | st.integers(-(2**53), 2**53) | TEXT


@given(st.recursive(LEAVES, lambda inner: st.lists(inner) | st.dictionaries(st.text("abc"), inner), max_leaves=50))
def test_ordinary_json_passes(value: object) -> None:
    check_value(json.decode(json.encode(value)), "payload")
