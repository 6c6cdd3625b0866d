"""What the command line shows of tasks."""

import json

import msgspec
import pytest

from pointsman.cli import views
from pointsman.cli.finding import lines
from pointsman.cli.output import Style, render
from pointsman.contracts.task import Task
from pointsman.services.gateway import examples

TASK = msgspec.json.decode(msgspec.json.encode(examples.COMPLETED_TASK), type=Task)


def test_a_row_says_how_long_it_waited_and_ran() -> None:
    head, row = render((TASK,), views.TASKS, Style()).splitlines()
    assert head.split() == ["ID", "STATUS", "TYPE", "TRY", "SERVER", "WAITED", "RAN", "UPDATED"]
    assert row.split("  ")[0] == examples.TASK_ID
    assert " ".join(row.split()[1:]) == "COMPLETED transcribe 1/4 gpu-1 5 ms 895 ms 2026-01-01 00:00:00Z"


@pytest.mark.parametrize("pages", [[], [0], [2], [0, 2, 0, 1]])
def test_json_is_one_array_over_all_pages(pages: list[int]) -> None:
    told: list[str] = []
    for count in pages:
        told += lines((TASK,) * count, "json", is_first=not told)
    assert len(json.loads("".join([*told, "]" if told else "[]"]))) == sum(pages)


def test_jsonl_is_one_task_a_line() -> None:
    assert [json.loads(line)["id"] for line in lines((TASK, TASK), "jsonl", is_first=True)] == [examples.TASK_ID] * 2
