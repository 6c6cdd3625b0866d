"""What a dialog says of an act, line by line. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass

from rich.cells import cell_len, chop_cells

from pointsman.contracts.search import Job
from pointsman.tui.acts import Act
from pointsman.tui.commands import shortened
from pointsman.tui.format import number
from pointsman.tui.looks import Role
from pointsman.tui.plans import job_text
from pointsman.tui.underway import Plan, State, Underway
from pointsman.tui.widgets.lines import Line, line

REFUSALS_SHOWN, NAMES_SHOWN = 5, 4


@dataclass(frozen=True, slots=True)
class Told:
    underway: Underway
    read_only: str | None
    trouble: str
    command: str
    waited_s: int
    job: Job | None


def lines_of(told: Told, width: int) -> list[Line]:
    underway = told.underway
    lines: list[Line] = [*_wrapped(f"{underway.act.verb} {_named(underway.act)}", width, Role.STRONG), []]
    if underway.plan is not None:
        lines += _plan_lines(underway.plan, width)
    lines += _state_lines(told, width)
    if underway.outcome is None or not underway.outcome.secret:
        lines += [[], *_wrapped(f"same from the shell: {shortened(told.command, underway.act.ids)}", width, Role.DIM)]
    return [*lines, []]


def _named(act: Act) -> str:
    if act.matching:
        return f"all tasks that match {act.matching}"
    if act.server is not None:
        return act.server.id or act.server.name or "a server"
    if act.task is not None:
        return f"a task of type {act.task.type}"
    if act.algorithm:
        return f"pool {act.ids[0]} to {act.algorithm}"
    names = ", ".join(act.ids[:NAMES_SHOWN])
    more = len(act.ids) - NAMES_SHOWN
    return f"{names} and {number(more)} more" if more > 0 else names


def _plan_lines(plan: Plan, width: int) -> list[Line]:
    lines: list[Line] = []
    for text in plan.lines:
        lines += _wrapped(text, width, Role.PLAIN, bullet="· ")
    for text in plan.warnings:
        lines += _wrapped(text, width, Role.WARN, bullet="▲ ")
    for text in plan.refusals[:REFUSALS_SHOWN]:
        lines += _wrapped(text, width, Role.DOWN, bullet="✗ ")
    if len(plan.refusals) > REFUSALS_SHOWN:
        lines.append(line((f"  and {number(len(plan.refusals) - REFUSALS_SHOWN)} more not", Role.DOWN)))
    return lines


def _state_lines(told: Told, width: int) -> list[Line]:
    underway = told.underway
    match underway.state:
        case State.PLANNING:
            return _wrapped(told.trouble or "… asking for the plan", width, Role.WARN if told.trouble else Role.DIM)
        case State.PLANNED if told.read_only:
            return _wrapped(f"not now: {told.read_only}", width, Role.WARN, bullet="▲ ")
        case State.PLANNED if underway.reaches_nothing:
            return _wrapped("nothing would be done; r looks again", width, Role.WARN, bullet="▲ ")
        case State.PLANNED:
            return _wrapped(told.trouble, width, Role.WARN) if told.trouble else []
        case State.MOVED:
            return _wrapped(f"changed since the plan: {underway.detail}", width, Role.WARN, bullet="▲ ")
        case State.PENDING | State.UNKNOWN:
            return _pending_lines(told, width)
        case State.CONFLICT:
            return _wrapped(f"conflict, nothing was done: {underway.detail}", width, Role.DOWN, bullet="✗ ")
        case State.REFUSED:
            return _wrapped(f"refused: {underway.detail}", width, Role.DOWN, bullet="✗ ")
        case State.DONE:
            return _done_lines(told, width)
        case State.LEFT:
            return []


def _pending_lines(told: Told, width: int) -> list[Line]:
    underway = told.underway
    text = f"sending, {told.waited_s} s; safe to leave: it goes on as {underway.act.operation}"
    lines = _wrapped(text, width, Role.BUSY, bullet="▶ ")
    if underway.state is State.UNKNOWN or underway.tries > 1:
        why = f"no answer yet ({underway.detail or 'waiting'}); sent again under the same name, which is done once"
        lines += _wrapped(why, width, Role.WARN, bullet="▲ ")
    return lines


def _done_lines(told: Told, width: int) -> list[Line]:
    outcome = told.underway.outcome
    assert outcome is not None
    lines = _wrapped(outcome.text, width, Role.UP, bullet="✓ ")
    if told.job is not None:
        role = Role.BUSY if told.job.status == "RUNNING" else Role.UP
        lines += _wrapped(f"{told.job.id}: {job_text(told.job)}", width, role)
        for text in (*told.job.errors, *told.job.skips)[:REFUSALS_SHOWN]:
            lines += _wrapped(text, width, Role.WARN, bullet="✗ ")
    if outcome.secret:
        lines += [[], *_wrapped("shown this once:", width, Role.WARN)]
        lines += [line((text, Role.STRONG)) for text in outcome.secret.splitlines()]
    return lines


def _wrapped(text: str, width: int, role: Role, *, bullet: str = "") -> list[Line]:
    room = max(20, width) - len(bullet)
    starts = [bullet, *[" " * len(bullet)] * len(text)]
    return [line((start + one, role)) for start, one in zip(starts, _rows(text, room), strict=False)]


def _rows(text: str, room: int) -> Iterator[str]:
    """Broken at spaces where that goes; measured in cells, of which some letters take two."""
    row = ""
    for word in text.split(" "):
        joined = f"{row} {word}" if row else word
        if cell_len(joined) <= room:
            row = joined
            continue
        if row:
            yield row
        *whole, row = chop_cells(word, room) or [""]
        yield from whole
    if row:
        yield row
