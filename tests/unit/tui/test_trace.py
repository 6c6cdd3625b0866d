"""The trace of a task: what it says of each attempt, and that it fits any width."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pointsman.contracts.base import NULL
from pointsman.contracts.lifecycle import Status
from pointsman.contracts.task import AttemptView, Choice, RefusedAnswer, Task
from pointsman.tui.trace import Phase, trace_of, with_status
from pointsman.tui.trace_lines import lines_of, text_of

NOW = 1_700_000_000_000
TIMED_OUT = AttemptView(
    number=1,
    server_id="srv-0017",
    started_at=NOW + 210,
    finished_at=NOW + 5_210,
    outcome="timed-out",
    error="no answer within 5 s",
    choice=Choice(algorithm="response-time", among=8),
)
LOST = AttemptView(
    number=2,
    server_id="srv-0134",
    started_at=NOW + 6_214,
    finished_at=NOW + 9_800,
    outcome="lost",
    error="the executor is silent",
    due_at=NOW + 6_210,
    choice=Choice(algorithm="response-time", among=7, avoided="srv-0017"),
)
DONE = AttemptView(
    number=3,
    server_id="srv-0052",
    started_at=NOW + 11_803,
    finished_at=NOW + 12_690,
    outcome="succeeded",
    http_status=200,
    due_at=NOW + 11_800,
)
LATE = RefusedAnswer(number=1, server_id="srv-0017", at=NOW + 10_310, outcome="succeeded")


def a_task(**fields: Any) -> Task:
    known = {
        "id": "task_018bcfe568007000800000000000002a",
        "type": "send-email",
        "status": Status.COMPLETED,
        "priority": 0,
        "progress": None,
        "server_id": None,
        "result": msgspec.Raw(b'{"sent": true}'),
        "error": None,
        "error_code": None,
        "created_at": NOW,
        "updated_at": NOW + 12_690,
        "started_at": NOW + 210,
        "finished_at": NOW + 12_690,
        "run_at": None,
        "deadline": NOW + 86_400_000,
        "owner": "ci-bot",
        "pool": "default",
        "labels": {},
        "generation": 1,
        "attempts": (TIMED_OUT, LOST, DONE),
        "attempt": 3,
        "waiting_for": None,
        "capabilities": (),
        "max_attempts": 5,
        "timeout_ms": 5_000,
        "payload": msgspec.Raw(b'{"to": "ann"}'),
        "refused": (LATE,),
    }
    return Task(**(known | fields))


def waiting(**fields: Any) -> Task:
    return a_task(status=Status.PENDING, finished_at=None, result=NULL, attempts=(TIMED_OUT, LOST), attempt=2, **fields)


def drawn(task: Task, *, now_ms: int = NOW + 12_690, width: int = 120, **how: Any) -> str:
    return "\n".join(text_of(line) for line in lines_of(task, now_ms=now_ms, width=width, **how))


def test_each_attempt_has_a_bar_of_what_it_waited_and_ran() -> None:
    trace = trace_of(a_task(), NOW + 20_000)
    assert [(bar.waited_ms, bar.ran_ms) for bar in trace.bars] == [(210, 5_000), (4, 3_586), (3, 887)]
    assert [span.phase for span in trace.bars[1].spans] == [Phase.BACKOFF, Phase.QUEUED, Phase.RUNNING]
    assert (trace.bars[1].spans[0].start, trace.bars[1].spans[0].end) == (NOW + 5_210, NOW + 6_210)
    assert (trace.start, trace.until) == (NOW, NOW + 12_690)


def test_the_reason_tells_of_the_answer_that_came_too_late() -> None:
    shown = drawn(a_task())
    assert "no answer within 5 s; the server said succeeded 5.1 s later, which was refused" in shown
    assert "late answer       srv-0017 said succeeded of attempt 1: refused" in shown


def test_the_events_stand_in_the_order_of_time_with_the_time_since_the_start() -> None:
    lines = drawn(a_task()).splitlines()
    events = [line for line in lines[lines.index(" events  UTC, since start") :] if line.startswith("   22:")]
    assert [line[30:48].strip() for line in events] == [
        "submitted",
        "dispatched",
        "attempt timed out",
        "dispatched",
        "attempt lost",
        "late answer",
        "dispatched",
        "attempt done",
        "completed",
    ]
    assert events[5].startswith("   22:13:30.310     10.310 s  late answer")
    assert [line[3:15] for line in events] == sorted(line[3:15] for line in events)


def test_the_choice_of_the_balancer_is_told() -> None:
    assert "attempt 2 on srv-0134, response-time, best of 7 free, not srv-0017" in drawn(a_task())


def test_a_task_in_backoff_says_when_its_next_try_is_due() -> None:
    shown = drawn(waiting(run_at=NOW + 32_000, waiting_for="backoff"), now_ms=NOW + 20_000)
    assert "try 3 in 12 s, at 22:13:52   waits for backoff" in shown
    row = next(line for line in shown.splitlines() if line.startswith("   3  --"))
    assert "┄" in row
    assert "░" not in row


def test_a_task_that_is_due_is_drawn_in_the_queue() -> None:
    task = a_task(status=Status.PENDING, attempts=(), attempt=0, finished_at=None, refused=(), result=NULL)
    trace = trace_of(task, NOW + 3_000)
    assert [(span.phase, span.end - span.start) for span in trace.waiting] == [(Phase.QUEUED, 3_000)]


def test_an_attempt_that_runs_grows_until_now() -> None:
    running = msgspec.structs.replace(DONE, finished_at=None, outcome=None, http_status=None)
    task = a_task(
        status=Status.PROCESSING, attempts=(TIMED_OUT, LOST, running), finished_at=None, progress=40.0, result=NULL
    )
    trace = trace_of(task, NOW + 20_000)
    assert trace.bars[2].ran_ms == 20_000 - 11_803
    assert "running, 40 % done" in drawn(task, now_ms=NOW + 20_000)


def test_a_clock_that_is_behind_does_not_turn_time_back() -> None:
    running = msgspec.structs.replace(DONE, finished_at=None, outcome=None)
    trace = trace_of(a_task(status=Status.PROCESSING, attempts=(running,), finished_at=None), NOW - 60_000)
    assert trace.until >= trace.start
    assert trace.bars[0].ran_ms == 0


def test_attempts_that_were_not_kept_are_said_to_be_missing() -> None:
    kept = (TIMED_OUT, *(msgspec.structs.replace(LOST, number=number) for number in (9, 10)))
    assert "attempts 2 to 8 are not kept" in drawn(a_task(attempts=kept, attempt=10))


def test_what_a_server_said_cannot_steer_the_terminal() -> None:
    failed = msgspec.structs.replace(TIMED_OUT, outcome="failed", error="\x1b[2Jboom\nsecond line")
    shown = drawn(a_task(attempts=(failed,)))
    assert "\x1b" not in shown
    assert "boom second line" in shown


def test_ascii_is_ascii() -> None:
    shown = drawn(a_task(), width=80, ascii_only=True)
    assert shown.isascii()
    assert "x TIMEOUT" in shown


times = st.integers(0, 10**9)
outcomes = st.sampled_from(["succeeded", "failed", "timed-out", "lost", "cancelled", "something new"])


words = st.sampled_from(["", "srv-1", "a" * 64, "ü\x1b[31m", "two words\nand a line"])
tried = st.lists(st.tuples(times, st.none() | times, st.none() | outcomes, st.none() | times, words), max_size=20)


def attempts_of(drawn: list[Any]) -> tuple[AttemptView, ...]:
    """In no order of time: the clocks of several machines need not agree."""
    return tuple(
        AttemptView(
            number=number,
            server_id=word,
            started_at=NOW + started,
            finished_at=None if ran is None else NOW + started + ran - 10,
            outcome=outcome,
            due_at=None if due is None else NOW + due,
            error=word,
        )
        for number, (started, ran, outcome, due, word) in enumerate(drawn, 1)
    )


@given(tried, st.sampled_from(Status), times, st.integers(1, 200), st.booleans(), st.none() | times)
def test_no_trace_is_wider_than_it_may_be(
    drawn: list[Any], status: Status, now: int, width: int, ascii_only: bool, run_at: int | None
) -> None:
    found = attempts_of(drawn)
    task = a_task(attempts=found, status=status, attempt=len(found), run_at=run_at and NOW + run_at)
    lines = lines_of(task, now_ms=NOW + now, width=width, ascii_only=ascii_only)
    assert all(len(text_of(line)) <= max(20, width) for line in lines)
    assert not ascii_only or all(text_of(line).isascii() for line in lines)


@given(tried, times)
def test_spans_follow_each_other_and_stay_on_the_axis(drawn: list[Any], now: int) -> None:
    trace = trace_of(a_task(attempts=attempts_of(drawn), status=Status.PROCESSING), NOW + now)
    for bar in trace.bars:
        assert bar.waited_ms >= 0
        assert bar.ran_ms >= 0
        assert all(one.end == other.start for one, other in zip(bar.spans, bar.spans[1:], strict=False))
        assert all(trace.start <= span.start <= span.end <= trace.until for span in bar.spans)


@pytest.mark.parametrize("width", [120, 80, 60])
def test_every_phase_that_took_time_is_seen(width: int) -> None:
    row = next(line for line in drawn(a_task(), width=width).splitlines() if line.startswith("   2  "))
    assert {"┄", "░", "█"} <= set(row)


def test_what_a_task_waits_for_reads_as_a_sentence() -> None:
    told = {
        "slot": "waits for slot",
        None: "waits for its turn",
        "the server cannot be reached": "waits again: the server cannot be reached",
    }
    for waiting_for, shown in told.items():
        assert shown in drawn(waiting(run_at=NOW, waiting_for=waiting_for), now_ms=NOW + 20_000)


def test_a_status_is_told_once_and_alone_where_nothing_else_is_to_be_said() -> None:
    assert with_status(500, "boom") == "HTTP 500: boom"
    assert with_status(500, "HTTP 500: boom") == "HTTP 500: boom"
    assert with_status(200, "") == "HTTP 200"
    assert with_status(None, "refused") == "refused"
