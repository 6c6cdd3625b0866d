"""One of many readers: written to without waiting while it takes all, bounded and told when it does not."""

import asyncio
from typing import Any

import pytest

from pointsman.services.gateway import sink as sinks
from pointsman.services.gateway.sink import GONE, Sink
from pointsman.services.gateway.sse import more
from pointsman.services.runtime.feed import QUEUED_MAX, Batch, Cursor

BEGINNING = Cursor()


class Connection:
    """Takes what is sent, at once or only while it is `open`."""

    def __init__(self) -> None:
        self.open = asyncio.Event()
        self.open.set()
        self.taken: list[bytes] = []
        self.is_broken = False

    async def send(self, message: Any) -> None:
        if self.is_broken:
            raise OSError
        if not self.open.is_set():
            await self.open.wait()
        self.taken.append(message["body"])


def tell(sink: Sink, *numbers: int) -> None:
    batch: Batch[bytes] = [(Cursor(number, 0), b"%d " % number) for number in numbers]
    sink.take(more(b"".join(frame for _, frame in batch)), batch)


@pytest.fixture
async def connection() -> Connection:
    return Connection()


@pytest.fixture
async def sink() -> Sink:
    return Sink(QUEUED_MAX)


async def test_what_the_connection_takes_is_written_before_the_next_turn_of_the_loop(
    sink: Sink, connection: Connection
) -> None:
    sink.release(connection.send, BEGINNING)
    tell(sink, 1, 2)
    tell(sink, 3)
    assert connection.taken == [b"1 2 ", b"3 "]


async def test_what_came_while_the_reader_caught_up_is_told_once(sink: Sink, connection: Connection) -> None:
    tell(sink, 1, 2)
    tell(sink, 3)
    assert connection.taken == []
    sink.release(connection.send, Cursor(2, 0))
    tell(sink, 4)
    assert connection.taken == [b"3 ", b"4 "]


async def test_a_sign_of_life_is_given_whatever_was_read_before_but_never_between_held_batches(
    sink: Sink, connection: Connection
) -> None:
    beat, nothing = more(b": beat"), list[tuple[Cursor, bytes]]()
    sink.take(beat, nothing)
    sink.release(connection.send, BEGINNING)
    assert connection.taken == []
    sink.take(beat, nothing)
    tell(sink, 1)
    assert connection.taken == [b": beat", b"1 "]


async def test_a_batch_that_was_read_already_is_left_out_in_part(sink: Sink, connection: Connection) -> None:
    sink.release(connection.send, Cursor(5, 0))
    tell(sink, 5, 6)
    tell(sink, 7)
    assert connection.taken == [b"6 ", b"7 "]


async def test_a_reader_that_pauses_gets_the_rest_in_one_write(sink: Sink, connection: Connection) -> None:
    sink.release(connection.send, BEGINNING)
    connection.open.clear()
    for number in range(1, 5):
        tell(sink, number)
    assert connection.taken == []
    connection.open.set()
    async with asyncio.timeout(5):
        while len(connection.taken) < 2:
            await asyncio.sleep(0)
    assert connection.taken == [b"1 ", b"2 3 4 "]
    assert not sink.ended.done()


async def test_a_reader_that_falls_behind_is_lost_and_keeps_a_bounded_rest(sink: Sink, connection: Connection) -> None:
    sink.release(connection.send, BEGINNING)
    connection.open.clear()
    for number in range(3 * QUEUED_MAX):
        tell(sink, number)
    assert sink.ended.result() == "slow-reader"
    assert len(sink._waiting) <= QUEUED_MAX + 1
    sink.close()


async def test_a_reader_that_takes_nothing_for_long_is_lost(
    sink: Sink, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sinks, "WRITE_S", 0.01)
    sink.release(connection.send, BEGINNING)
    connection.open.clear()
    tell(sink, 1)
    async with asyncio.timeout(5):
        assert await sink.ended == "slow-reader"
    sink.close()


@pytest.mark.parametrize("pauses", [False, True])
async def test_a_connection_that_is_gone_ends_it(sink: Sink, connection: Connection, pauses: bool) -> None:
    sink.release(connection.send, BEGINNING)
    if pauses:
        connection.open.clear()
        tell(sink, 1)
        connection.open.set()
    connection.is_broken = True
    tell(sink, 2)
    async with asyncio.timeout(5):
        assert await sink.ended == GONE
    sink.close()
