"""What the command line shows of tasks."""

import json

import msgspec
import pytest

from pointsman.cli.task_output import Printer, row
from pointsman.contracts.task import Task
from pointsman.services.gateway import examples

TASK = msgspec.json.decode(msgspec.json.encode(examples.COMPLETED_TASK), type=Task)


def test_a_row_says_how_long_it_waited_and_ran() -> None:
    assert row(TASK).split() == [
        examples.TASK_ID,
        "✓",
        "COMPLETED",
        "transcribe",
        "1/4",
        "gpu-1",
        "5",
        "ms",
        "895",
        "ms",
        "2026-01-01",
        "00:00:00",
    ]


@pytest.mark.parametrize("pages", [[], [0], [2], [0, 2, 0, 1]])
def test_json_is_one_array_over_all_pages(pages: list[int], capsys: pytest.CaptureFixture[str]) -> None:
    printer = Printer("json")
    for count in pages:
        printer.show([TASK] * count)
    printer.end(more=False)
    assert len(json.loads(capsys.readouterr().out)) == sum(pages)


def test_jsonl_is_one_task_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    printer = Printer("jsonl")
    printer.show([TASK, TASK])
    printer.end(more=True)
    lines = capsys.readouterr().out.splitlines()
    assert [json.loads(line)["id"] for line in lines] == [examples.TASK_ID] * 2


def test_a_table_says_on_stderr_that_there_are_more(capsys: pytest.CaptureFixture[str]) -> None:
    printer = Printer("table")
    printer.show([TASK])
    printer.end(more=True)
    shown = capsys.readouterr()
    assert (len(shown.out.splitlines()), "--limit" in shown.err) == (2, True)
