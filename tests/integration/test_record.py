"""`pointsman record`, as a process of its own, beside a real broker that keeps keyframes."""

import asyncio
import os
import signal
import sys
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec
import pytest

from pointsman.client.nats_bus import NatsBus, connect
from pointsman.contracts.frames import encode_frame
from pointsman.contracts.subjects import STREAM_FRAMES, VIEW_KEYFRAME
from pointsman.services.runtime.buckets import frames
from pointsman.tui.recording import RecordingError, opened
from tests.support.cockpit_broker import Broker, broker
from tests.support.cockpit_world import World

WITHIN_S = 30.0


@dataclass
class Place:
    nats: Broker
    bus: NatsBus
    world: World

    async def keep(self, count: int = 1) -> None:
        """So many more seconds come into the stream."""
        for _ in range(count):
            self.world.at += 1_000
            self.world.seq += 1
            await self.bus.request(VIEW_KEYFRAME, zlib.compress(encode_frame(self.world.whole())))

    async def record(self, *arguments: object) -> asyncio.subprocess.Process:
        words = (sys.executable, "-m", "pointsman.cli.main", "--url", self.nats.url, "record", *map(str, arguments))
        return await asyncio.create_subprocess_exec(
            *words, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
        )

    async def recorded(self, *arguments: object) -> tuple[int, str]:
        """Exit code, and what it said."""
        return await ended(await self.record(*arguments))


async def ended(process: asyncio.subprocess.Process) -> tuple[int, str]:
    async with asyncio.timeout(WITHIN_S):
        out, err = await process.communicate()
    assert process.returncode is not None and not out
    assert b"Traceback" not in err, err.decode()
    return process.returncode, err.decode()


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Place]:
    async with keeping(tmp_path) as place:
        yield place


@asynccontextmanager
async def keeping(tmp_path: Path) -> AsyncIterator[Place]:
    async with broker(tmp_path, f'jetstream {{ store_dir: "{tmp_path}/js" }}') as nats:
        bus = await connect(nats.url, name="test")
        try:
            answer = await bus.request(f"$JS.API.STREAM.CREATE.{STREAM_FRAMES}", msgspec.json.encode(frames(1)))
            assert "error" not in msgspec.json.decode(answer.data)
            yield Place(nats, bus, World(servers=4))
        finally:
            await bus.close()


async def until_written(path: Path, world: World) -> None:
    """The newest second is in the file."""
    async with asyncio.timeout(WITHIN_S):
        while newest(path) != world.at:
            await asyncio.sleep(0.05)


def newest(path: Path) -> int | None:
    try:
        return opened(path).last.at
    except (OSError, RecordingError):
        return None


def seconds(path: Path) -> int:
    found = opened(path)
    assert found.note == ""
    return (found.last.at - found.first_at) // 1_000 + 1


async def test_what_is_kept_is_written_once_each_and_never_over_a_file(place: Place, tmp_path: Path) -> None:
    path = tmp_path / "incident.rec"
    await place.keep(30)
    assert await place.recorded(path) == (0, f"30 keyframes, {path.stat().st_size / 1e6:.1f} MB, in {path}\n")
    found = opened(path)
    assert (found.last.at, found.system) == (place.world.at, place.nats.url)
    assert seconds(path) == 30
    before = path.read_bytes()
    await place.keep()
    code, said = await place.recorded(path)
    assert (code, "--overwrite" in said, path.read_bytes()) == (2, True, before)
    assert (await place.recorded(path, "--overwrite"))[0] == 0
    assert seconds(path) == 31
    code, said = await place.recorded(tmp_path / "nowhere" / "f")
    assert (code, "No such file" in said) == (1, True)


async def test_it_goes_on_over_an_outage_until_interrupted(place: Place, tmp_path: Path) -> None:
    path = tmp_path / "f"
    await place.keep(5)
    process = await place.record(path, "--follow")
    await until_written(path, place.world)
    await place.keep(3)
    await until_written(path, place.world)
    back = asyncio.Event()
    place.bus.on_reconnect(back.set)
    place.nats.kill()
    await place.nats.start()
    async with asyncio.timeout(WITHIN_S):
        await back.wait()
    await place.keep(4)
    await until_written(path, place.world)
    process.send_signal(signal.SIGINT)
    code, said = await ended(process)
    assert (code, said.splitlines()[-1].partition(",")[0]) == (130, "12 keyframes")
    assert seconds(path) == 12


async def test_killed_it_leaves_a_file_that_can_be_read(place: Place, tmp_path: Path) -> None:
    path = tmp_path / "f"
    await place.keep(5)
    process = await place.record(path, "--follow")
    await until_written(path, place.world)
    process.kill()
    await process.wait()
    assert seconds(path) == 5


async def test_it_goes_on_for_as_long_as_it_is_told(place: Place, tmp_path: Path) -> None:
    path = tmp_path / "f"
    process = await place.record(path, "--since", "0s", "--for", "3s")

    async def keep() -> None:
        while process.returncode is None:
            await place.keep()
            await asyncio.sleep(0.2)

    keeping = asyncio.create_task(keep())
    code, _ = await ended(process)
    await keeping
    assert (code, 1 <= seconds(path) <= 20) == (0, True)


async def test_where_nothing_is_kept_no_file_is_made(place: Place, tmp_path: Path) -> None:
    path = tmp_path / "f"
    code, said = await place.recorded(path)
    assert (code, "no keyframe" in said, path.exists()) == (3, True, False)
    path.write_text("kept")
    assert (await place.recorded(path, "--overwrite"))[0] == 3
    place.nats.kill()
    assert (await place.recorded(path, "--overwrite", "--timeout", "1s"))[0] == 69
    assert path.read_text() == "kept"


@pytest.mark.parametrize(
    "wrong", [("--follow", "--for", "3s"), ("--since", "2h"), ("--for", "2d"), ("--since", "soon")]
)
async def test_what_cannot_be_is_a_usage_error(wrong: tuple[str, ...], place: Place, tmp_path: Path) -> None:
    assert (await place.recorded(tmp_path / "f", *wrong))[0] == 2


async def test_over_rest_it_says_that_it_needs_nats(tmp_path: Path) -> None:
    words = (sys.executable, "-m", "pointsman.cli.main", "--url", "http://127.0.0.1:9", "record", str(tmp_path / "f"))
    process = await asyncio.create_subprocess_exec(
        *words,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=os.environ | {"POINTSMAN_TOKEN": "x"},
    )
    code, said = await ended(process)
    assert (code, "NATS" in said) == (2, True)
