"""Keyframes are read back from a real stream."""

import json
import zlib
from pathlib import Path

from pointsman.client.nats_bus import connect
from pointsman.contracts.frames import encode_frame
from pointsman.contracts.subjects import STREAM_FRAMES, VIEW_KEYFRAME
from pointsman.services.runtime.buckets import frames
from pointsman.tui.app import Cockpit
from pointsman.tui.archive import keyframes
from pointsman.tui.model import Model
from pointsman.tui.options import Address, Options, System
from pointsman.tui.replaying import Replaying
from tests.support.cockpit_broker import announced, broker
from tests.support.cockpit_world import World
from tests.support.cockpits import Watcher

KEPT = 30


async def test_the_last_hour_is_read_back_in_order_and_shown(tmp_path: Path) -> None:
    async with broker(tmp_path, f'jetstream {{ store_dir: "{tmp_path}/js" }}') as nats:
        bus = await connect(nats.url, name="test")
        try:
            config = json.dumps(frames(1)).encode()
            answer = json.loads((await bus.request(f"$JS.API.STREAM.CREATE.{STREAM_FRAMES}", config)).data)
            assert "error" not in answer, answer
            world = World(servers=4)
            told = []
            for _ in range(KEPT):
                world.at += 1_000
                world.seq += 1
                told.append(zlib.compress(encode_frame(world.whole())))
                await bus.request(VIEW_KEYFRAME, told[-1])
            assert await keyframes(bus, 0, 100) == told
            assert await keyframes(bus, 0, 7) == told[:7]
            live = Model()
            live.fold(world.whole())
            replaying = Replaying(live, lambda: bus, lambda: None, lambda: 0.0)
            for packed in await keyframes(bus, 0, 100):
                replaying.moments.take(packed)
            replaying.enter(world.at - 10_000)
            shown = replaying.shown
            assert shown is not None and shown.at == world.at - 10_000 and len(shown.servers) == 4
            assert len(shown.flows) == KEPT - 10
        finally:
            await bus.close()


async def test_without_a_stream_there_is_nothing_and_no_error(tmp_path: Path) -> None:
    async with broker(tmp_path) as nats:
        bus = await connect(nats.url, name="test")
        assert await keyframes(bus, 0, 10) == []
        await bus.close()


async def test_a_cockpit_can_be_opened_in_the_past(tmp_path: Path) -> None:
    async with broker(tmp_path) as nats, announced(nats, World(servers=3)):
        app = Cockpit(Options(System(lambda: Address(nats.url)), at="5m"))
        async with app.run_test(size=(120, 36)) as pilot:
            seat = Watcher(app, pilot)
            await seat.sees("REPLAY 14:32")
            await seat.press("t")
            await seat.sees("● live")
