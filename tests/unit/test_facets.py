"""By which of its values a task can be found."""

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from pointsman.contracts.facets import PAYLOAD_VALUES_MAX, facets_of

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=300),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=300), inner, max_size=5),
    max_leaves=40,
)


def facets(payload: object, labels: dict[str, str] | None = None) -> list[str]:
    return facets_of(labels or {}, msgspec.Raw(msgspec.json.encode(payload)))


def test_labels_and_single_values_at_any_depth_are_found() -> None:
    payload = {"user": 42, "deep": {"flag": True, "none": None}, "list": ["a", {"id": "b"}, "a"]}
    assert facets(payload, {"team": "blue"}) == [
        "lteam=blue",
        "puser=42",
        "pdeep.flag=true",
        "pdeep.none=null",
        "plist=a",
        "plist.id=b",
    ]


def test_a_long_value_is_not_searchable_but_those_beside_it_are() -> None:
    assert facets({"text": "x" * 257, "n": 1}) == ["pn=1"]


def test_so_many_values_and_no_more() -> None:
    assert len(facets({str(number): number for number in range(1000)}, {"a": "b"})) == PAYLOAD_VALUES_MAX + 1


def test_what_is_no_json_has_no_values() -> None:
    assert facets_of({}, msgspec.Raw(b"{broken")) == []
    assert facets_of({}, msgspec.Raw(b"[" * 100_000)) == []


@given(JSON, st.dictionaries(st.text(max_size=128), st.text(max_size=256), max_size=32))
def test_whatever_comes_stays_small_and_can_be_stored(payload: object, labels: dict[str, str]) -> None:
    found = facets(payload, labels)
    assert len(found) <= PAYLOAD_VALUES_MAX + len(labels)
    assert all("\0" not in facet for facet in found)


def test_no_name_and_value_read_like_another_pair() -> None:
    pairs = [("a", "b=c"), ("a=b", "c"), ("a\\", "b=c"), ("a\\=b", "c"), ("a", "=b=c")]
    assert len({facets({name: value})[0] for name, value in pairs}) == len(pairs)
    assert len({facets({}, {name: value})[0] for name, value in pairs}) == len(pairs)
