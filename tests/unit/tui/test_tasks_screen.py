"""The screen Tasks and the pages behind it, as someone who sits before them sees them."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
from textual.widgets import Input

from pointsman.contracts.errors import unavailable
from pointsman.contracts.explain import Explanation, Gate, ServerRefusal
from pointsman.contracts.frames import Sample
from pointsman.contracts.lifecycle import Status
from pointsman.contracts.record import TaskRecord, TaskSpec
from pointsman.contracts.search import AuditEntry, AuditPage, TaskPage
from pointsman.contracts.subjects import view_task
from tests.support.cockpit_answers import Answers
from tests.support.cockpit_world import STARTED_MS, World
from tests.support.cockpits import Seat, cockpit
from tests.unit.tui.test_cockpit import SIZES
from tests.unit.tui.test_ring import an_id
from tests.unit.tui.test_trace import NOW, a_task, waiting

TASK = a_task()
OLD = a_task(id=an_id(77), type="very-old", status=Status.FAILED, error="disk full")
WHY = Explanation(
    id=TASK.id,
    status=Status.PENDING,
    gate=Gate.SERVER,
    detail="all 2 servers that match are full",
    position=412,
    eta=NOW + 12_000,
    pool="default",
    servers=(
        ServerRefusal(
            server_id="srv-0001",
            reasons=("held until 2023-11-14T22:13:20.000Z after a fault",),
            active_tasks=32,
            effective_limit=32,
            estimate_ms=48.0,
        ),
    ),
    as_of=NOW,
)
REFUSED_LATER = AuditEntry(
    id="late",
    at=NOW + 60_000,
    who="srv-0134",
    roles=(),
    what="task.late-answer",
    target=TASK.id,
    outcome="failed",
    status=409,
    detail="srv-0134 said succeeded of attempt 2, the task was COMPLETED",
)


def a_page(*tasks: Any, cursor: str | None = None, total: int | None = None) -> TaskPage:
    return TaskPage(
        tasks=tasks, cursor=cursor, total=total, total_is_estimate=False, archived_until=None, as_of=STARTED_MS
    )


@pytest.fixture
async def answers() -> AsyncIterator[Answers]:
    made = Answers()
    await made.on("history", "search", lambda _: a_page())
    await made.on("history", "audit", lambda _: AuditPage(entries=(), cursor=None, as_of=0))
    await made.on("task", "get", lambda _: TASK)
    await made.on("task", "explain", lambda _: WHY)
    yield made


def happened(seat: Seat, *samples: Sample) -> None:
    """A frame that tells of these."""
    seat.source.frame(msgspec.structs.replace(seat.world.step(), sample=samples))


def a_sample(task_id: str, kind: str = "completed", **fields: Any) -> Sample:
    return Sample(at=STARTED_MS + 1_000, task_id=task_id, kind=kind, type="made-up", server_id="srv-0001", **fields)


async def test_the_tabs_count_the_cluster_and_the_list_shows_what_happens(answers: Answers) -> None:
    async with cockpit(World(servers=8), bus=answers.bus) as seat:
        await seat.press("3")
        happened(seat, a_sample(an_id(1), ms=140, waited_ms=20))
        text = await seat.sees("made-up")
        flow = seat.world.flow
        assert f"queued {flow.pending:,}" in text
        assert f"running {flow.running:,}" in text
        row = next(line for line in text.splitlines() if "made-up" in line)
        assert all(part in row for part in ("✓ DONE", "srv-0001", "20 ms", "140 ms", an_id(1)))


async def test_a_filter_narrows_the_list_while_it_is_typed(answers: Answers) -> None:
    async with cockpit(World(servers=8), bus=answers.bus) as seat:
        await seat.press("3")
        happened(seat, a_sample(an_id(1)), a_sample(an_id(2), "failed"))
        await seat.sees("✗ FAILED")
        await seat.press("slash", *"state:failed")
        await seat.sees(lambda text: "✓ DONE" not in text and "1 shown" in text)
        await seat.press("space", *"nonsense:1")
        await seat.sees("unknown filter 'nonsense'")
        await seat.press("escape")
        await seat.sees("✓ DONE")


async def test_a_filter_that_was_entered_asks_the_archive_too(answers: Answers) -> None:
    await answers.on("history", "search", lambda asked: a_page(OLD, total=1) if asked["filters"] else a_page())
    async with cockpit(World(servers=8), bus=answers.bus) as seat:
        await seat.press("3", "slash", *"type:very-old", "enter")
        text = await seat.sees("history, page 1 of 1 found")
        assert "very-old" in text
        assert answers.requests("history", "search")[-1]["filters"] == {"q": "type:very-old"}
        assert not isinstance(seat.app.focused, Input)
        await seat.press("escape")
        await seat.sees("filter none")


async def test_a_tab_asks_the_archive_for_its_state(answers: Answers) -> None:
    async with cockpit(World(servers=8), bus=answers.bus) as seat:
        await seat.press("3", *["tab"] * 5)
        await seat.sees("[failed]")
        await seat.sees(
            lambda _: answers.requests("history", "search")[-1]["filters"].get("q") == "status:FAILED,TIMEOUT"
        )


async def test_the_last_row_brings_the_next_page(answers: Answers) -> None:
    pages = {None: a_page(OLD, TASK, cursor="more", total=3), "more": a_page(a_task(id=an_id(78), type="oldest"))}
    await answers.on("history", "search", lambda asked: pages[asked["cursor"]])
    async with cockpit(World(servers=8), bus=answers.bus) as seat:
        await seat.press("3")
        await seat.sees("history, page 1 of 3 found, L for older")
        await seat.press("G")
        text = await seat.sees("oldest")
        assert "history, page 2 of 3 found" in text


async def test_every_change_is_read_while_a_filter_is_on(answers: Answers) -> None:
    record = TaskRecord(
        id=an_id(5),
        owner="ann",
        spec=TaskSpec(type="rare", deadline=NOW, payload=msgspec.Raw(b'{"user": 42}')),
        created_at=NOW,
        updated_at=NOW,
    )
    async with cockpit(World(servers=8), bus=answers.bus) as seat:
        await seat.press("3")
        await answers.tell(view_task(record.id), record)
        await seat.press("slash", *"payload.user:42", "enter")
        await seat.sees("every change")
        await answers.tell(view_task(record.id), record)
        assert "rare" in await seat.sees("1 shown")
        await seat.press("1")
        await seat.sees("[1 Overview")
        await seat.press("3")
        await seat.sees("every change")


async def test_a_paused_list_stays_while_the_counts_go_on(answers: Answers) -> None:
    async with cockpit(World(servers=8), bus=answers.bus) as seat:
        await seat.press("3")
        happened(seat, a_sample(an_id(1)))
        await seat.sees("made-up")
        await seat.press("p")
        happened(seat, a_sample(an_id(2)), a_sample(an_id(3)))
        text = await seat.sees("paused, 2 came since (p)")
        assert an_id(2) not in text
        assert f"queued {seat.world.flow.pending:,}" in text
        await seat.press("p")
        await seat.sees(an_id(3))


async def test_the_cursor_stays_on_its_task_unless_it_is_on_top(answers: Answers) -> None:
    async with cockpit(World(servers=8), bus=answers.bus) as seat:
        await seat.press("3")
        happened(seat, *(a_sample(an_id(number)) for number in range(5)))
        await seat.sees("5 shown")
        await seat.press("j", "j")
        table = seat.app.screen.table  # type: ignore[attr-defined]
        chosen = table.cursor
        happened(seat, *(a_sample(an_id(number)) for number in range(5, 9)))
        await seat.sees("9 shown")
        assert table.cursor == chosen == an_id(2)
        await seat.press("g")
        happened(seat, a_sample(an_id(9)))
        await seat.sees(lambda _: table.cursor == an_id(9))


async def test_an_archive_that_is_away_is_said_with_since_when(answers: Answers) -> None:
    def away(_: Any) -> Any:
        raise unavailable("the history database is not reachable")

    await answers.on("history", "search", away)
    async with cockpit(World(servers=8), bus=answers.bus) as seat:
        await seat.press("3")
        happened(seat, a_sample(an_id(1)))
        await seat.sees("history: the history database is not reachable (since ")
        await seat.sees("made-up")


async def test_before_anything_is_known_nothing_is_said_to_be_empty() -> None:
    async with cockpit(started=False) as seat:
        await seat.press("3")
        assert "no task" not in await seat.sees("nothing is known yet")


async def test_an_empty_list_says_what_to_do() -> None:
    async with cockpit(World(servers=0)) as seat:
        await seat.press("3")
        await seat.sees("no task has been seen yet")


async def test_enter_opens_the_trace_and_it_follows_the_task(answers: Answers) -> None:
    now = [waiting(id=an_id(1), run_at=STARTED_MS + 60_000, waiting_for="backoff")]
    await answers.on("task", "get", lambda _: now[0])
    async with cockpit(World(servers=8), bus=answers.bus) as seat:
        await seat.press("3")
        happened(seat, a_sample(an_id(1), "attempt-ended"))
        await seat.sees("made-up")
        await seat.press("enter")
        text = await seat.sees("waits for backoff")
        assert "✗ TIMEOUT" in text
        now[0] = a_task(id=an_id(1))
        await answers.tell(view_task(an_id(1)), now[0])
        assert "✓ DONE   try 3 of 5" in await seat.sees("completed")
        await seat.press("escape")
        await seat.sees("[all]")


async def test_what_came_after_the_end_is_on_the_trace(answers: Answers) -> None:
    await answers.on("history", "audit", lambda _: AuditPage(entries=(REFUSED_LATER,), cursor=None, as_of=0))
    async with opened(answers, "enter") as seat:
        await seat.sees("srv-0134 said succeeded of attempt 2, the task was COMPLETED")
        assert answers.requests("history", "audit")[0]["target"] == TASK.id


async def test_a_trace_that_cannot_be_read_says_why_and_goes_on(answers: Answers) -> None:
    is_electing = True

    def flaky(_: Any) -> Any:
        if is_electing:
            raise unavailable("the broker elects a leader")
        return TASK

    await answers.on("task", "get", flaky)
    async with opened(answers, "enter") as seat:
        await seat.sees("task: the broker elects a leader (since")
        is_electing = False
        await seat.sees("late answer")


async def test_the_server_of_an_attempt_is_shown_as_it_was(answers: Answers) -> None:
    attempts = tuple(
        msgspec.structs.replace(one, started_at=STARTED_MS - 60_000 + 10_000 * one.number, finished_at=STARTED_MS)
        for one in TASK.attempts
    )
    await answers.on("task", "get", lambda _: a_task(attempts=attempts))
    async with opened(answers, "enter") as seat:
        await seat.sees("✓ DONE   try 3 of 5")
        await seat.press("left", "left")
        await seat.sees("▸  2  srv-0134")
        await seat.press("o")
        text = await seat.sees("REPLAY 14:36:39")
        assert "server srv-0134" in text
        await seat.press("escape")
        await seat.sees("▸  2  srv-0134")


async def test_explain_says_what_holds_a_task_and_each_server_why_not(answers: Answers) -> None:
    async with opened(answers, "e") as seat:
        text = await seat.sees("no matching server has a free slot")
        assert "412 in its line" in text
        assert "srv-0001      32/32      48 ms  held until 22:13:20 after a fault" in text


async def test_numbers_of_a_payload_stand_digit_for_digit(answers: Answers) -> None:
    payload = msgspec.Raw(b'{"z": 12345678901234567890.10, "a": 1e400, "n": 9007199254740993, "s": "\\u202e"}')
    await answers.on("task", "get", lambda _: a_task(payload=payload))
    async with opened(answers, "i") as seat:
        text = await seat.sees("9007199254740993")
        assert '"a": 1e400' in text
        assert '"z": 12345678901234567890.10' in text
        assert '"s": "\\u202e"' in text
        assert text.index('"a"') < text.index('"n"') < text.index('"z"')
        assert "error of attempt 1" in text


@pytest.mark.parametrize("key", ["enter", "e", "i"])
async def test_every_page_behind_a_task_fits_every_size(answers: Answers, key: str) -> None:
    async with opened(answers, key) as seat:
        for width, height in SIZES:
            await seat.pilot.resize_terminal(width, height)
            wanted = "needs 60x16"[:width] if width < 60 or height < 16 else TASK.id
            await seat.sees(lambda text: wanted in text and max(map(len, text.splitlines())) <= width)  # noqa: B023


async def test_ascii_pages_hold_nothing_else(answers: Answers) -> None:
    async with opened(answers, "enter", size=(80, 24), ascii_only=True) as seat:
        text = await seat.sees("x TIMEOUT")
        assert text.isascii()


async def test_a_slow_answer_is_told_and_does_not_hold_up_the_screen(answers: Answers) -> None:
    gate = asyncio.Event()

    async def slowly(_: Any) -> TaskPage:
        await gate.wait()
        return a_page(OLD)

    await answers.on("history", "search", slowly)
    async with cockpit(World(servers=8), bus=answers.bus) as seat:
        await seat.press("3")
        await seat.sees(lambda _: answers.requests("history", "search"))
        seat.time_passes(1)
        await seat.sees("history: asking for 1.0 s")
        happened(seat, a_sample(an_id(1)))
        await seat.sees("made-up")
        gate.set()
        await seat.sees("history, page 1")


class opened:
    """A page behind the one task in the list."""

    def __init__(self, answers: Answers, key: str, **options: Any) -> None:
        self._key = key
        self._cockpit = cockpit(World(servers=8), bus=answers.bus, **options)

    async def __aenter__(self) -> Seat:
        seat = await self._cockpit.__aenter__()
        await seat.press("3")
        happened(seat, a_sample(TASK.id))
        await seat.sees(lambda _: getattr(getattr(seat.app.screen, "table", None), "cursor", "") == TASK.id)
        await seat.press(self._key)
        return seat

    async def __aexit__(self, *ended: Any) -> None:
        await self._cockpit.__aexit__(*ended)
