"""One answer in every form."""

import csv
import io
import json
from typing import Any

import msgspec
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from pointsman.cli import output, watching
from pointsman.cli.output import At, Column, Style, View, Word, render


class Thing(msgspec.Struct):
    name: str
    state: str
    at: int | None = None


VIEW: View[list[Thing], Thing] = View(
    (
        Column("NAME", lambda one: one.name),
        Column("STATE", lambda one: Word(one.state)),
        Column("AT", lambda one: None if one.at is None else At(one.at), True),
    ),
    lambda many: many,
    lambda one: one.name,
)
THINGS = [Thing("a", "HEALTHY", 60_000), Thing("b,c", "bad\x1b[31m\nnews")]


def told(form: str, **style: Any) -> str:
    return render(THINGS, VIEW, Style(form, **style))


def test_people_get_columns_as_wide_as_they_must_be() -> None:
    assert told("table").splitlines() == ["NAME  STATE", "a     HEALTHY", "b,c   bad\ufffd[31m news"]
    assert told("wide").splitlines()[1] == "a     HEALTHY        1970-01-01 00:01:00Z"
    assert told("wide", columns=("AT", "NAME")).splitlines()[2] == "-                     b,c"
    with pytest.raises(ValueError, match="there are NAME, STATE, AT"):
        told("table", columns=("NMAE",))


def test_wide_characters_take_two_columns() -> None:
    things = [Thing("漢字", "up"), Thing("né", "up"), Thing("ne\u0301", "up"), Thing("🚀", "up")]
    assert render(things, VIEW, Style()).splitlines() == [
        "NAME  STATE",
        "漢字  up",
        "né    up",
        "ne\u0301    up",
        "🚀    up",
    ]


def test_times_are_told_as_wished() -> None:
    column = ("AT",)
    assert told("wide", columns=column, time="unix").splitlines()[1] == "60"
    assert told("wide", columns=column, time="relative", now_ms=240_000).splitlines()[1] == "3m ago"
    assert output.ago(7_200_000) == "in 2h"


def test_only_states_have_colours_and_only_when_wished() -> None:
    assert "\x1b[32mHEALTHY" in told("table", is_colored=True)
    assert "\x1b" not in told("table")


def test_programs_get_json_lines_names_and_csv() -> None:
    assert json.loads(told("json"))[0] == {"name": "a", "state": "HEALTHY", "at": 60_000}
    assert [json.loads(line)["name"] for line in told("jsonl").splitlines()] == ["a", "b,c"]
    assert told("name") == "a\nb,c"
    assert list(csv.reader(io.StringIO(told("csv"))))[1:] == [
        ["a", "HEALTHY", "1970-01-01 00:01:00Z"],
        ["b,c", "bad\ufffd[31m news", ""],
    ]


values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.text(st.characters(codec="utf-8", categories=("L", "N", "P", "Z", "S")), max_size=12),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text("abc-_ :#1", min_size=1, max_size=6), inner, max_size=4)
    ),
    max_leaves=20,
)


@given(values)
def test_yaml_says_the_same(value: Any) -> None:
    assert yaml.safe_load(output.as_yaml(value)) == value


def test_what_a_program_reads_does_not_steer_the_terminal_that_shows_it() -> None:
    said = "\x1b[31m\x07\x7f\x9b31m\x85\u202e\u2066\u2028 näme 漢字"
    for form, read in (("json", json.loads), ("jsonl", lambda text: [json.loads(text)]), ("yaml", yaml.safe_load)):
        text = render([Thing(said, "HEALTHY")], VIEW, Style(form))
        assert text.replace("\n", "").isprintable() and "näme 漢字" in text
        assert read(text)[0]["name"] == said


@given(st.text("ab\x1b[3m1漢", max_size=30), st.integers(0, 20))
def test_a_cut_line_is_never_wider(line: str, width: int) -> None:
    assert output.cells(watching.cut(line.replace("\x1b", ""), width)) <= width


def test_colours_are_not_counted_when_a_line_is_cut() -> None:
    assert watching.cut("\x1b[31mabcdef\x1b[0m", 3) == "\x1b[31mabc\x1b[0m"
