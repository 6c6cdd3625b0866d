"""What waits for one reader of events: bounded, all at once, and nothing lost while somebody reads."""

import asyncio

import pytest

from pointsman.services.runtime import feed
from pointsman.services.runtime.feed import QUEUED_MAX, Cursor, Queue


async def test_a_reader_gets_all_that_waits_at_once_and_in_order() -> None:
    reader = Queue[str]()
    for number in range(3):
        reader.take([(Cursor(number), str(number))])
    assert [one for _, one in await reader.next()] == ["0", "1", "2"]


async def test_a_waiting_reader_is_woken() -> None:
    reader = Queue[str]()
    waiting = asyncio.create_task(reader.next())
    await asyncio.sleep(0)
    reader.take([(Cursor(1), "a")])
    assert await waiting == [(Cursor(1), "a")]


async def test_silence_is_told_by_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feed, "SILENCE_S", 0.01)
    assert await Queue[str]().next() == []


async def test_a_slow_reader_is_told_and_keeps_a_bounded_rest() -> None:
    reader = Queue[str]()
    for number in range(2 * QUEUED_MAX):
        reader.take([(Cursor(number), "x")])
    assert reader.why == "slow-reader"
    assert len(await reader.next()) == QUEUED_MAX
    assert await reader.next() == []


async def test_the_first_reason_counts() -> None:
    reader = Queue[str]()
    reader.lose("gap")
    reader.lose("shutdown")
    assert reader.why == "gap"
