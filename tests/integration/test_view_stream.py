"""Frames over HTTP: everything first, then what changes, whole again after a gap, and no reader may be slow for ever."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path

import pytest

from pointsman.client.bus import Bus
from pointsman.contracts.frames import Flow, Frame, decode_frame, encode_frame
from pointsman.contracts.subjects import VIEW_FRAME, VIEW_VIEWER, verb
from pointsman.services.gateway import view_hub
from pointsman.services.gateway.view_hub import QUEUED_MAX, ViewHub
from pointsman.services.runtime.serve import Answer, Call, Serving, Verb, serve
from tests.support.viewing import VIEWER, Sight
from tests.support.worlds import FakeWorld


class Teller:
    """Tells frames as the statistics service does; the tests decide which."""

    def __init__(self, bus: Bus) -> None:
        self.bus = bus
        self.epoch, self.seq, self.asked = 3, 0, 0
        self.serving: Serving | None = None

    async def start(self) -> None:
        self.serving = await serve(self.bus, "statistics", "1", [Verb("frame", self.snapshot)])

    async def snapshot(self, _call: Call) -> Answer:
        self.asked += 1
        return Answer(encode_frame(self.frame(full=True)))

    def frame(self, *, full: bool = False) -> Frame:
        return Frame(epoch=self.epoch, seq=self.seq, at=self.seq, full=full, flow=Flow())

    async def tell(self, count: int = 1) -> None:
        for _ in range(count):
            self.seq += 1
            await self.bus.publish(VIEW_FRAME, encode_frame(self.frame()))


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[FakeWorld]:
    world = FakeWorld(tmp_path)
    yield world
    await world.close()


@pytest.fixture
async def teller(world: FakeWorld) -> Teller:
    teller = Teller(await world.connect("statistics"))
    await teller.start()
    return teller


@pytest.fixture
async def hub(world: FakeWorld) -> ViewHub:
    return ViewHub(await world.connect("gateway"))


def frames_of(body: bytes) -> list[Frame]:
    """What a client makes of the stream: one JSON array per line of data."""
    return [decode_frame(line.removeprefix(b"data: ")) for line in body.splitlines() if line.startswith(b"data: [")]


async def read(stream: AsyncIterator[bytes], sight: Sight, until_seq: int) -> None:
    while sight.last is None or sight.last.seq < until_seq:
        for frame in frames_of(await anext(stream)):
            assert sight.fold(frame), "nothing is missing"


async def test_a_reader_gets_everything_and_then_what_changes(hub: ViewHub, teller: Teller) -> None:
    await teller.tell(4)
    sight = Sight()
    async with aclosing(hub.frames(VIEWER)) as stream:
        await read(stream, sight, 4)
        assert sight.last is not None and sight.last.full
        await teller.tell(3)
        await read(stream, sight, 7)
    assert (sight.last.seq, teller.asked) == (7, 1)


async def test_a_reader_counts_as_a_viewer(hub: ViewHub, teller: Teller) -> None:
    beaten = asyncio.Event()

    async def beat(_message: object) -> None:
        beaten.set()

    await teller.bus.subscribe(VIEW_VIEWER, beat)
    async with aclosing(hub.frames(VIEWER)) as stream:
        await anext(stream)
        await asyncio.wait_for(beaten.wait(), 5)


@pytest.mark.parametrize("epoch", [3, 9])
async def test_after_a_gap_or_a_new_teller_it_is_whole_again(hub: ViewHub, teller: Teller, epoch: int) -> None:
    sight = Sight()
    async with aclosing(hub.frames(VIEWER)) as stream, aclosing(hub.frames(VIEWER)) as other:
        await teller.tell(2)
        await read(stream, sight, 0)
        await anext(other)
        teller.epoch, teller.seq = epoch, teller.seq + 5
        await teller.tell(3)
        await read(stream, sight, teller.seq)
        assert sight.last is not None and sight.last.epoch == epoch
        assert teller.asked == 3


async def test_a_whole_frame_mends_a_gap_by_itself(hub: ViewHub, teller: Teller) -> None:
    sight = Sight()
    async with aclosing(hub.frames(VIEWER)) as stream:
        await read(stream, sight, 0)
        teller.epoch, teller.seq = 9, 1
        await teller.bus.publish(VIEW_FRAME, encode_frame(teller.frame(full=True)))
        await teller.tell(2)
        await read(stream, sight, 3)
    assert sight.last is not None
    assert (sight.last.epoch, sight.last.full, teller.asked) == (9, False, 1)


async def test_a_reader_that_does_not_read_is_told_and_dropped(hub: ViewHub, teller: Teller) -> None:
    async with aclosing(hub.frames(VIEWER)) as slow:
        await anext(slow)
        sight = Sight()
        async with aclosing(hub.frames(VIEWER)) as quick:
            for _ in range(QUEUED_MAX + 2):
                await teller.tell()
                await read(quick, sight, teller.seq)
        rest = b"".join([one async for one in slow])
    assert b'event: interrupted\ndata: {"reason":"slow-reader"}' in rest
    assert len(frames_of(rest)) <= QUEUED_MAX


async def test_without_frames_a_reader_is_told_and_ends(hub: ViewHub) -> None:
    told = b"".join([one async for one in hub.frames(VIEWER)])
    assert told == b'event: interrupted\ndata: {"reason":"unavailable"}\n\n'


async def test_the_last_reader_ends_the_subscription(
    hub: ViewHub, teller: Teller, world: FakeWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(view_hub, "READERS_MAX", 1)
    async with aclosing(hub.frames(VIEWER)) as stream:
        await anext(stream)
        assert world.broker.hears(VIEW_FRAME)
        with pytest.raises(Exception, match="are open already"):
            hub.check_room()
    assert not world.broker.hears(VIEW_FRAME)
    assert world.broker.hears(verb("statistics", "frame"))
