"""Frames over HTTP: everything first, then what changes, whole again after a gap, and no reader may be slow for ever."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from pathlib import Path

import pytest

from pointsman.client.bus import Bus
from pointsman.contracts.errors import PointsmanError
from pointsman.contracts.frames import Flow, Frame, decode_frame, encode_frame
from pointsman.contracts.subjects import VIEW_FRAME, VIEW_VIEWER, verb
from pointsman.services.gateway import view_hub
from pointsman.services.gateway.hub import Hub
from pointsman.services.gateway.sse import HEARTBEAT
from pointsman.services.gateway.table_view import frames
from pointsman.services.gateway.view_hub import QUEUED_MAX
from pointsman.services.runtime.serve import Answer, Call, Serving, Verb, serve
from tests.support.listening import Listener, hub_bus, listening
from tests.support.viewing import VIEWER, Sight
from tests.support.worlds import FakeWorld, context

type Watching = Callable[[], AbstractAsyncContextManager[Listener]]


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
async def hub(world: FakeWorld) -> Hub:
    return Hub(context(world, await world.connect("gateway")))


@pytest.fixture
def watching(world: FakeWorld, hub: Hub) -> Watching:
    return lambda: listening(hub, world.clock, frames, VIEWER)


def frames_of(body: bytes) -> list[Frame]:
    """What a client makes of the stream: one JSON array per line of data."""
    return [decode_frame(line.removeprefix(b"data: ")) for line in body.splitlines() if line.startswith(b"data: [")]


async def read(listener: Listener, sight: Sight, until_seq: int) -> None:
    while sight.last is None or sight.last.seq < until_seq:
        for frame in frames_of(await listener.next() or b""):
            assert sight.fold(frame), "nothing is missing"


async def test_a_reader_gets_everything_and_then_what_changes(watching: Watching, teller: Teller) -> None:
    await teller.tell(4)
    sight = Sight()
    async with watching() as listener:
        await read(listener, sight, 4)
        assert sight.last is not None and sight.last.full
        await teller.tell(3)
        await read(listener, sight, 7)
    assert (sight.last.seq, teller.asked) == (7, 1)


async def test_a_reader_counts_as_a_viewer(watching: Watching, teller: Teller) -> None:
    beaten = asyncio.Event()

    async def beat(_message: object) -> None:
        beaten.set()

    await teller.bus.subscribe(VIEW_VIEWER, beat)
    async with watching():
        await asyncio.wait_for(beaten.wait(), 5)


@pytest.mark.parametrize("epoch", [3, 9])
async def test_after_a_gap_or_a_new_teller_it_is_whole_again(watching: Watching, teller: Teller, epoch: int) -> None:
    sight = Sight()
    async with watching() as listener, watching():
        await teller.tell(2)
        await read(listener, sight, 0)
        teller.epoch, teller.seq = epoch, teller.seq + 5
        await teller.tell(3)
        await read(listener, sight, teller.seq)
        assert sight.last is not None and sight.last.epoch == epoch
        assert teller.asked == 3


async def test_a_whole_frame_mends_a_gap_by_itself(watching: Watching, teller: Teller) -> None:
    sight = Sight()
    async with watching() as listener:
        await read(listener, sight, 0)
        teller.epoch, teller.seq = 9, 1
        await teller.bus.publish(VIEW_FRAME, encode_frame(teller.frame(full=True)))
        await teller.tell(2)
        await read(listener, sight, 3)
    assert sight.last is not None
    assert (sight.last.epoch, sight.last.full, teller.asked) == (9, False, 1)


async def test_a_reader_that_does_not_read_is_told_and_dropped(watching: Watching, teller: Teller) -> None:
    async with watching() as slow, watching() as quick:
        sight, stopped = Sight(), Sight()
        await read(slow, stopped, 0)
        await read(quick, sight, 0)
        slow.reads.clear()
        for _ in range(QUEUED_MAX + 3):
            await teller.tell()
            await read(quick, sight, teller.seq)
        slow.reads.set()
        told = await slow.rest()
    assert told.endswith(b'event: interrupted\ndata: {"reason":"slow-reader"}\n\n')
    assert len(frames_of(told)) <= 1


async def test_a_crowd_is_told_alike_and_one_that_hangs_up_is_forgotten(
    watching: Watching, teller: Teller, hub: Hub
) -> None:
    async with AsyncExitStack() as crowd:
        listeners = [await crowd.enter_async_context(watching()) for _ in range(40)]
        async with watching():
            assert len(hub.view) == 41
        assert len(hub.view) == 40
        await teller.tell(3)
        for listener in listeners:
            await read(listener, Sight(), 3)
    assert (len(hub.view), teller.asked) == (0, 41)


async def test_without_frames_a_reader_is_refused(watching: Watching, hub: Hub) -> None:
    with pytest.raises(PointsmanError) as refusal:
        async with watching():
            pass
    assert (refusal.value.status, refusal.value.retry_after_s) == (503, 2)
    assert len(hub.view) == 0


async def test_while_the_broker_is_away_readers_stay_and_newcomers_are_refused(
    watching: Watching, teller: Teller, world: FakeWorld, hub: Hub
) -> None:
    sight = Sight()
    async with watching() as listener:
        await read(listener, sight, 0)
        await world.connect()
        world.cut(hub_bus(hub))
        with pytest.raises(PointsmanError) as refusal:
            async with watching():
                pass
        assert refusal.value.status == 503
        assert await listener.next() == HEARTBEAT
        teller.seq += 2
        await world.mend(hub_bus(hub))
        await teller.tell()
        await read(listener, sight, 3)
    assert sight.last is not None


async def test_the_last_reader_ends_the_subscription(
    watching: Watching, teller: Teller, world: FakeWorld, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with watching():
        assert world.broker.hears(VIEW_FRAME)
    assert not world.broker.hears(VIEW_FRAME)
    assert world.broker.hears(verb("statistics", "frame"))


async def test_readers_are_so_many_at_most(world: FakeWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(view_hub, "READERS_MAX", 1)
    teller = Teller(await world.connect("statistics"))
    await teller.start()
    hub = Hub(context(world, await world.connect("gateway")))
    async with listening(hub, world.clock, frames, VIEWER) as first:
        with pytest.raises(PointsmanError, match="are open already"):
            async with listening(hub, world.clock, frames, VIEWER):
                pass
        await teller.tell()
        await read(first, Sight(), 1)
