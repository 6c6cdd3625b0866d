"""What became of a task, attempt by attempt: pure, from the task as it is answered to what a trace shows."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise

from pointsman.contracts.base import is_null
from pointsman.contracts.events import Kind, TaskEvent, life_of
from pointsman.contracts.lifecycle import Status, is_terminal
from pointsman.contracts.task import AttemptView, Choice, RefusedAnswer, Task
from pointsman.tui.format import duration, size
from pointsman.tui.looks import Role

WORDS = {
    Kind.ASSIGNED: "dispatched",
    Kind.ACCEPTED: "accepted",
    Kind.PROGRESSED: "progress",
    Kind.REFUSED: "late answer",
}
OUTCOMES = {
    "succeeded": ("done", Role.UP),
    "failed": ("failed", Role.DOWN),
    "timed-out": ("timed out", Role.DOWN),
    "lost": ("lost", Role.WARN),
    "cancelled": ("cancelled", Role.MAINT),
}


class Phase(StrEnum):
    BACKOFF = "backoff"
    QUEUED = "queued"
    RUNNING = "running"


@dataclass(frozen=True, slots=True)
class Span:
    """[start, end] in ms since the epoch."""

    phase: Phase
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Bar:
    """One attempt. `outcome` None: it runs. `waited_ms` from due to start, `ran_ms` until its end or now."""

    number: int
    server_id: str
    outcome: str | None
    waited_ms: int
    ran_ms: int
    spans: tuple[Span, ...]
    reason: str


@dataclass(frozen=True, slots=True)
class Trace:
    """`next_at` is when the next attempt is due, `until` where the axis ends; `unkept` attempts are no longer known."""

    start: int
    until: int
    bars: tuple[Bar, ...]
    waiting: tuple[Span, ...]
    next_at: int | None
    unkept: tuple[int, int] | None
    events: tuple["Told", ...]


@dataclass(frozen=True, slots=True)
class Told:
    """One line of a task's life."""

    at: int
    what: str
    detail: str
    role: Role = Role.PLAIN


def trace_of(task: Task, now_ms: int) -> Trace:
    """`now_ms` by the clock of who looks; what is told never ends before it began."""
    start = begin_of(task)
    last = max((known for one in task.attempts for known in (one.started_at, one.finished_at) if known), default=start)
    until = max(start, last, task.finished_at or now_ms if is_terminal(task.status) else now_ms)
    bars = tuple(_bars(task, start, until))
    return Trace(
        start=start,
        until=until,
        bars=bars,
        waiting=_waiting(task, start, until),
        next_at=_next_at(task),
        unkept=_unkept(task.attempts),
        events=tuple(_events(task)),
    )


def begin_of(task: Task) -> int:
    """When this generation was accepted, as far as the record tells."""
    if task.generation == 1:
        return task.created_at
    first = task.attempts[0] if task.attempts else None
    known = (task.updated_at, first and (first.due_at or first.started_at))
    return min(at for at in known if at)


def _bars(task: Task, start: int, until: int) -> Iterator[Bar]:
    before: AttemptView | None = None
    for attempt in task.attempts:
        due = _due(task, attempt, before, start)
        end = max(attempt.started_at, until if attempt.finished_at is None else attempt.finished_at)
        free = start if before is None else before.finished_at or start
        edges = (min(free, due), due, attempt.started_at, end)
        yield Bar(
            number=attempt.number,
            server_id=attempt.server_id,
            outcome=attempt.outcome,
            waited_ms=attempt.started_at - due,
            ran_ms=end - attempt.started_at,
            spans=tuple(_spans(edges, start, until)),
            reason=reason_of(task, attempt),
        )
        before = attempt


def _spans(edges: tuple[int, int, int, int], start: int, until: int) -> Iterator[Span]:
    """Backoff, queue and run between the edges, where they took time, and the run in any case."""
    kept = [min(max(edge, start), until) for edge in edges]
    for phase, begin, end in zip(Phase, *zip(*pairwise(kept), strict=True), strict=True):
        if begin < end or phase is Phase.RUNNING:
            yield Span(phase, begin, end)


def _due(task: Task, attempt: AttemptView, before: AttemptView | None, start: int) -> int:
    """When the attempt could have started; of a first attempt its task's own time, if that had come."""
    if attempt.due_at is not None:
        return min(attempt.due_at, attempt.started_at)
    if before is None:
        planned = task.run_at if task.run_at is not None and task.run_at <= attempt.started_at else start
        return min(max(planned, start), attempt.started_at)
    return min(before.finished_at or start, attempt.started_at)


def _waiting(task: Task, start: int, until: int) -> tuple[Span, ...]:
    """What a task that waits has waited since its last attempt."""
    if task.status is not Status.PENDING:
        return ()
    free = max(start, task.attempts[-1].finished_at or start) if task.attempts else start
    due = min(until, max(free, task.run_at or free))
    spans = (Span(Phase.BACKOFF, free, due), Span(Phase.QUEUED, due, until))
    return tuple(span for span in spans if span.end > span.start)


def _next_at(task: Task) -> int | None:
    return task.run_at if task.status is Status.PENDING else None


def _unkept(attempts: tuple[AttemptView, ...]) -> tuple[int, int] | None:
    """The numbers between the first and the last ones that are kept."""
    for earlier, later in pairwise(attempts):
        if later.number > earlier.number + 1:
            return earlier.number + 1, later.number - 1
    return None


def reason_of(task: Task, attempt: AttemptView) -> str:
    """How the attempt went, in one sentence."""
    match attempt.outcome:
        case None:
            told = _running(task)
        case "succeeded":
            told = f"HTTP {attempt.http_status}, {result_size(task)}" if attempt.http_status else result_size(task)
        case "failed":
            told = with_status(attempt.http_status, attempt.error or "failed without saying why")
        case "timed-out":
            told = attempt.error or f"over at its deadline, after at most {duration(task.timeout_ms)}"
        case "lost":
            told = f"{attempt.error or 'not known how it ended'}; not counted as a try"
        case "cancelled":
            told = f"cancelled: {task.error}" if task.error else "cancelled"
        case outcome:
            told = outcome
    return "; ".join([one_line(told), *(_late(one, attempt) for one in _refused(task, attempt))])


def _running(task: Task) -> str:
    if task.progress is not None:
        return f"running, {task.progress:g} % done"
    return f"running, at most {duration(task.timeout_ms)}"


def _refused(task: Task, attempt: AttemptView) -> list[RefusedAnswer]:
    return [one for one in task.refused if one.number == attempt.number and one.server_id == attempt.server_id]


def _late(answer: RefusedAnswer, attempt: AttemptView) -> str:
    late = duration(max(0, answer.at - (attempt.finished_at or answer.at)))
    return f"the server said {answer.outcome} {late} later, which was refused"


def _events(task: Task) -> Iterator[Told]:
    told = [_told(event, task) for _, event in life_of(task)]
    yield from sorted(told, key=lambda one: one.at)


def _told(event: TaskEvent, task: Task) -> Told:
    where = f"attempt {event.attempt} on {event.server_id}" if event.attempt else ""
    what, role = WORDS.get(event.event, event.event), Role.PLAIN
    match event.event:
        case Kind.SUBMITTED if task.generation > 1:
            what, parts = "retried", ["by hand", f"generation {task.generation}"]
        case Kind.SUBMITTED:
            parts = [f"by {task.owner}", f"pool {task.pool}", f"priority {task.priority}"]
        case Kind.ASSIGNED | Kind.ACCEPTED:
            attempt = next((one for one in task.attempts if one.number == event.attempt), None)
            parts = [where, chosen(attempt.choice) if attempt is not None else ""]
        case Kind.PROGRESSED:
            parts = [f"{event.progress:g} %" if event.progress is not None else ""]
        case Kind.ATTEMPT_ENDED:
            word, role = OUTCOMES.get(event.outcome or "", (event.outcome or "ended", Role.PLAIN))
            what, parts = f"attempt {word}", [where, _said(event), _again(event)]
        case Kind.REFUSED:
            role, parts = Role.WARN, [f"{event.server_id} said {event.outcome} of attempt {event.attempt}: refused"]
        case Kind.COMPLETED:
            role, parts = Role.UP, [result_size(task)]
        case Kind.FAILED | Kind.TIMEOUT:
            role, parts = Role.DOWN, [task.error or ""]
        case Kind.CANCELLED:
            role, parts = Role.MAINT, [task.error or ""]
    return Told(event.at, what, one_line(", ".join(part for part in parts if part)), role)


def chosen(choice: Choice | None) -> str:
    """response-time, best of 8, not srv-0017"""
    if choice is None:
        return ""
    among = "the only one free" if choice.among == 1 else f"best of {choice.among} free"
    return f"{choice.algorithm}, {among}{f', not {choice.avoided}' if choice.avoided else ''}"


def result_size(task: Task) -> str:
    return "no result" if is_null(task.result) else f"result {size(len(bytes(task.result)))}"


def _said(event: TaskEvent) -> str:
    return with_status(event.http_status, event.error or "")


def with_status(http_status: int | None, told: str) -> str:
    """Said once, though many errors begin with it."""
    status = f"HTTP {http_status}" if http_status else ""
    if told.startswith(status):
        return told
    return f"{status}: {told}" if told else status


def _again(event: TaskEvent) -> str:
    return f"next try in {duration(max(0, event.run_at - event.at))}" if event.run_at is not None else ""


def one_line(text: str) -> str:
    """What a server said must not steer the terminal."""
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in " ".join(text.split()))
