"""A recording in a file: what was written is read, what cannot be read is said."""

import struct
import tracemalloc
import zlib
from pathlib import Path

import msgspec
import pytest

from pointsman.contracts.frames import News, encode_frame
from pointsman.contracts.server import HealthState
from pointsman.tui import recording
from pointsman.tui.recording import Recording, RecordingError, Writer, opened
from tests.support.cockpit_world import STARTED_MS, World

HEAD = b'{"pointsman":"recording","format":1,"system":"prod-eu"}\n'


def packed_of(world: World) -> bytes:
    return zlib.compress(encode_frame(world.whole()), 3)


def written(path: Path, seconds: int, world: World | None = None) -> Path:
    """So many seconds, the first at the start of the world."""
    world = world or World(servers=3)
    writer = Writer(path, "prod-eu")
    for _ in range(seconds):
        writer.add(packed_of(world))
        world.at += 1_000
        world.seq += 1
    writer.close()
    return path


def seen(found: Recording, second: int) -> str | None:
    model = found.moments.model_at(STARTED_MS + 1_000 * second, ())
    return None if model is None else model.servers["srv-0002"].row.state


def test_what_was_written_is_read_with_its_system_and_its_span(tmp_path: Path) -> None:
    found = opened(written(tmp_path / "incident.rec", 90))
    assert (found.name, found.system, found.note) == ("incident.rec", "prod-eu", "")
    assert (found.first_at, found.last.at) == (STARTED_MS, STARTED_MS + 89_000)
    model = found.moments.model_at(STARTED_MS + 42_000, ())
    assert model is not None and model.at == STARTED_MS + 42_000
    assert len(model.flows) == 43


def test_what_happened_is_there_before_anybody_has_looked(tmp_path: Path) -> None:
    world, writer = World(servers=3), Writer(tmp_path / "f", "prod")
    for second in range(60):
        frame = world.whole()
        if second == 30:
            world.change("srv-0002", state=HealthState.UNHEALTHY)
            news = (News(at=world.at, kind="server", subject="srv-0002", what="HEALTHY -> UNHEALTHY"),)
            frame = msgspec.structs.replace(world.whole(), news=news)
        writer.add(zlib.compress(encode_frame(frame)))
        world.at += 1_000
    found = opened(tmp_path / "f")
    assert found.moments.incidents == [STARTED_MS + 30_000]
    assert [seen(found, second) for second in (29, 30)] == [HealthState.HEALTHY, HealthState.UNHEALTHY]
    late = found.moments.model_at(STARTED_MS + 59_000, ())
    assert late is not None and [line.what for line in late.news] == ["HEALTHY -> UNHEALTHY"]


def test_an_interrupted_recording_is_read_up_to_there(tmp_path: Path) -> None:
    path = written(tmp_path / "f", 10)
    whole = path.read_bytes()
    last = len(packed_of(World(servers=3)))
    for missing in (1, last // 2, last - 1):
        path.write_bytes(whole[:-missing])
        found = opened(path)
        assert found.last.at == STARTED_MS + 8_000
        assert "only the first 9 keyframes" in found.note


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "it is empty"),
        (b"\x89PNG\r\n\x1a\n" + bytes(4_000), "it is no recording"),
        (b"[" * 4_000, "it is no recording"),
        (b'{"a":' + b"[" * 4_000, "it is no recording"),
        (b"x" * 100_000, "it is no recording"),
        (b"\x00" * 100_000, "it is no recording"),
        (HEAD[:-10], "it is no recording"),
        (HEAD[:-1], "its first line is broken"),
        (HEAD.replace(b"1", b"0"), "its first line is broken"),
        (HEAD.replace(b"recording", b"backup"), "it is no recording"),
        (HEAD.replace(b":1", b":2"), "it is of format 2, and this Pointsman reads 1"),
        (HEAD, "no keyframe in it"),
        (HEAD + b"\x00\x00", "no keyframe in it"),
        (HEAD + struct.pack(">I", 0), "no keyframe in it"),
        (HEAD + struct.pack(">I", 5) + b"hello", "no keyframe in it"),
        (HEAD + struct.pack(">I", 0xFFFFFFFF) + b"hello", "no keyframe in it"),
        (HEAD + struct.pack(">I", 10) + zlib.compress(b"[[[" * 99_999), "no keyframe in it"),
    ],
)
def test_what_is_no_recording_is_told_so(content: bytes, why: str, tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_bytes(content)
    with pytest.raises(RecordingError, match=why):
        opened(path)


def test_a_keyframe_that_unpacks_to_more_than_any_is_refused_before_it_fills_memory(tmp_path: Path) -> None:
    bomb = zlib.compress(b" " * (100 << 20))
    path = tmp_path / "f"
    path.write_bytes(HEAD + struct.pack(">I", len(bomb)) + bomb)
    del bomb
    tracemalloc.start()
    with pytest.raises(RecordingError, match="no keyframe in it"):
        opened(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 48 << 20


def test_a_file_is_never_longer_than_can_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path / "f", 5)
    monkeypatch.setattr(recording, "KEYFRAMES_MAX", 3)
    found = opened(path)
    assert found.last.at == STARTED_MS + 2_000
    assert found.note == "only the first 3 keyframes are shown: a file holds no more"
    writer = Writer(tmp_path / "g", "prod")
    for _ in range(3):
        assert not writer.is_full
        writer.add(packed_of(World(servers=3)))
    assert writer.is_full


def test_an_hour_takes_little_memory_whatever_the_size_of_the_file(tmp_path: Path) -> None:
    path = written(tmp_path / "f", 3_600)
    tracemalloc.start()
    found = opened(path)
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert found.moments.size == 0
    assert held < 8 << 20


def test_a_file_that_was_cut_after_it_was_opened_is_unknown_there_and_no_error(tmp_path: Path) -> None:
    path = written(tmp_path / "f", 10)
    found = opened(path)
    path.write_bytes(HEAD)
    assert seen(found, 5) is None
