"""Events as lines of a terminal."""

import json

import msgspec

from pointsman.cli import streaming, tailing
from pointsman.cli.output import Style
from pointsman.contracts.events import Kind, TaskEvent
from pointsman.contracts.lifecycle import Status

EVENT = TaskEvent(
    event=Kind.ATTEMPT_ENDED, task_id="task_1", status=Status.PENDING, at=1_000, generation=1, attempt=2,
    server_id="gpu-1", outcome="failed", http_status=500, error="no\n\x1b[31mroom",
)  # fmt: skip


def test_a_line_says_when_what_and_why_and_cannot_steer_the_terminal() -> None:
    line = tailing.shown(Style(), "1-2", EVENT)
    assert line.startswith("1970-01-01 00:00:01.000Z  attempt-ended  task_1  attempt 2  gpu-1  failed  HTTP 500  no ")
    assert line.isprintable()


def test_json_lines_carry_the_cursor() -> None:
    line = json.loads(tailing.shown(Style("jsonl"), "1-2", EVENT))
    assert (line["cursor"], line["taskId"], line["error"]) == ("1-2", "task_1", "no\n\x1b[31mroom")


def test_a_cursor_is_two_numbers() -> None:
    assert streaming.CURSOR.fullmatch("12-34")
    for wrong in ("", "12", "1-2-3", "-1-2", "1-２", "9" * 20 + "-1"):
        assert not streaming.CURSOR.fullmatch(wrong)


def test_times_and_colours_are_as_wished() -> None:
    told = tailing.shown(Style(time="relative", now_ms=61_000), "", EVENT)
    assert told.startswith("1m ago  attempt-ended")
    ended = msgspec.structs.replace(EVENT, event=Kind.FAILED)
    assert "\x1b[31mfailed" in tailing.shown(Style(is_colored=True), "", ended)
