"""Texts behind the screen Tasks: suggestions, JSON, questions asked, copying."""

import json

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from pointsman.tui.asked import Asked
from pointsman.tui.copying import OSC52_MAX, sequence
from pointsman.tui.json_lines import lines_of_json
from pointsman.tui.suggesting import suggestion

SEEN = {"type": {"resize-image", "resize-video"}, "server": {"srv-0017"}}


def test_keys_are_suggested_then_values_that_were_seen() -> None:
    assert suggestion("ty", SEEN) == "type:"
    assert suggestion("type:resize-v", SEEN) == "type:resize-video"
    assert suggestion("state:done -ser", SEEN) == "state:done -server:"
    assert suggestion("-server:s", SEEN) == "-server:srv-0017"
    assert suggestion("type:resize-image,resize-v", SEEN) == "type:resize-image,resize-video"
    assert suggestion("state:fa", SEEN) == "state:failed"
    assert suggestion("pay", SEEN) == "payload."


def test_nothing_is_suggested_where_nothing_fits() -> None:
    assert [suggestion(text, SEEN) for text in ("", "type:resize-image ", "zzz", "owner:x", "try>")] == [None] * 5


@given(st.text())
def test_a_suggestion_goes_on_with_what_was_typed(text: str) -> None:
    found = suggestion(text, SEEN)
    assert found is None or found.startswith(text)


documents = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(documents)
def test_json_for_reading_is_still_the_same_json_and_can_be_printed(document: object) -> None:
    lines = lines_of_json(json.dumps(document).encode())
    assert json.loads("\n".join(lines)) == document
    assert all(line.isprintable() for line in lines)


def test_what_is_no_json_is_shown_as_text() -> None:
    assert lines_of_json(b"plain\x1b[2J\ntext") == ["plain\\u001b[2J", "text"]
    assert lines_of_json(b"[" * 100_000) == ["[" * 100_000]
    assert lines_of_json(b"") == []


def test_a_question_keeps_its_last_answer_while_it_fails() -> None:
    asked: Asked[str] = Asked("history")
    asked.began(1.0)
    assert asked.said(1.1) is None
    assert asked.said(3.0) == ("history: asking for 2.0 s", asked.said(3.0)[1])  # type: ignore[index]
    asked.came("old", 3.0)
    asked.began(4.0)
    asked.failed("Postgres is away", 5.0, 1_700_000_000_000)
    asked.began(6.0)
    asked.failed("no answer in time", 16.0, 1_700_000_011_000)
    assert asked.answer == "old"
    assert asked.said(25.0)[0] == "history: no answer in time (since 22:13:20, 20 s)"  # type: ignore[index]
    asked.came("new", 26.0)
    assert asked.said(27.0) is None


def test_a_text_too_long_for_terminals_is_not_sent_to_one() -> None:
    assert sequence("task_1", in_tmux=False) == "\x1b]52;c;dGFza18x\x07"
    assert sequence("task_1", in_tmux=True) == "\x1bPtmux;\x1b\x1b]52;c;dGFza18x\x07\x1b\\"
    assert sequence("x" * OSC52_MAX, in_tmux=False) is None


def test_duplicate_names_and_numbers_out_of_range_are_shown() -> None:
    assert lines_of_json(b'{"b": 1e999, "a": -0.0}') == ["{", '  "a": -0.0,', '  "b": 1e999', "}"]
    assert msgspec.json.decode("\n".join(lines_of_json(b"[[], {}, true, null]"))) == [[], {}, True, None]
