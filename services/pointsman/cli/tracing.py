"""A task's trace as the cockpit draws it, on lines."""

import shutil
from typing import TYPE_CHECKING

from msgspec.structs import replace

from pointsman.cli import output, views, watching

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pointsman.cli.asking import Wanted
    from pointsman.cli.output import Style
    from pointsman.contracts.task import Task

WIDTH_OF_A_PIPE = 120
COLORS = {"UP": output.GREEN, "DOWN": output.RED, "WARN": output.YELLOW, "BUSY": output.CYAN, "DIM": output.DIM}


def show(wanted: "Wanted", task_id: str, width: int | None, watch_s: float | None, *, is_ascii: bool) -> None:
    """People get bars, programs the task."""

    def drawn(task: "Task", style: "Style") -> str:
        return "\n".join(lines(task, style, width, is_ascii=is_ascii))

    view = replace(views.TASK, text=drawn)
    watching.show(wanted, lambda client: client.tasks.get(task_id), view, watch_s)


def lines(task: "Task", style: "Style", width: int | None, *, is_ascii: bool) -> "Iterator[str]":
    from pointsman.tui.trace_lines import lines_of

    usual = shutil.get_terminal_size().columns if output.is_terminal() else WIDTH_OF_A_PIPE
    for line in lines_of(task, now_ms=style.now_ms, width=width or usual, ascii_only=is_ascii):
        told = (painted(text, role.name) if style.is_colored else text for text, role in line)
        yield "".join(told).rstrip()


def painted(text: str, role: str) -> str:
    color = COLORS.get(role)
    return f"\x1b[{color}m{text}\x1b[0m" if color and text.strip() else text
