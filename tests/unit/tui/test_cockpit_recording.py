"""A cockpit before a recording: the past alone, with nobody to ask and nothing to change."""

import struct
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner

from pointsman.cli.main import pointsman
from pointsman.contracts.frames import News, encode_frame
from pointsman.contracts.server import HealthState
from pointsman.tui.app import Cockpit
from pointsman.tui.options import Address, Options, System
from pointsman.tui.recording import Writer, opened
from tests.support.cockpit_world import World
from tests.support.cockpits import Watcher

SECONDS, DOWN_AT = 600, 300


@pytest.fixture
def incident(tmp_path: Path) -> Path:
    """Ten minutes from 14:37:20 on; srv-0002 goes down at 14:42:20."""
    path, world = tmp_path / "incident.rec", World(servers=12)
    writer = Writer(path, "prod-eu")
    for second in range(SECONDS):
        world.at += 1_000
        world.seq += 1
        news: tuple[News, ...] = ()
        if second == DOWN_AT:
            world.change("srv-0002", state=HealthState.UNHEALTHY)
            news = (News(at=world.at, kind="server", subject="srv-0002", what="HEALTHY -> UNHEALTHY"),)
        frame = msgspec.structs.replace(world.whole(), news=news, sample=world.sample())
        writer.add(zlib.compress(encode_frame(frame)))
    writer.close()
    return path


def toasts(seat: Watcher) -> str:
    return "\n".join(toast.message for toast in seat.app._notifications)


def nowhere() -> Address:
    raise AssertionError("a recording connects to nothing")


@asynccontextmanager
async def before(path: Path, size: tuple[int, int] = (120, 36), **options: str) -> AsyncIterator[Watcher]:
    found = opened(path)
    system = System(locate=nowhere, name=found.system, read_only=True, recording=found)
    app = Cockpit(Options(system, **options))  # type: ignore[arg-type]
    async with app.run_test(size=size) as pilot:
        yield Watcher(app, pilot)


async def test_it_says_what_it_is_and_shows_every_second_of_it(incident: Path) -> None:
    async with before(incident, screen="servers") as seat:
        text = await seat.sees("REPLAY 14:47:19 of 2025-11-29 14:37:20-14:47:19  incident.rec")
        assert "pointsman prod-eu   RO" in text and "✖ DOWN" in text
        await seat.press("N")
        await seat.sees(lambda text: "REPLAY 14:42:20" in text and "✖ DOWN" in text)
        await seat.press("left_square_bracket")
        await seat.sees(lambda text: "REPLAY 14:42:19" in text and "✖ DOWN" not in text)
        await seat.press(*["left_curly_bracket"] * 6)
        await seat.sees("REPLAY 14:37:20 of")
        await seat.press("at", *"13:00", "enter")
        await seat.sees("known is 14:37:20-14:47:19")
        await seat.press("escape", "t")
        await seat.sees("REPLAY 14:47:19 of")


@pytest.mark.parametrize("screen", ["overview", "servers", "tasks", "events", "stats", "balancer"])
@pytest.mark.parametrize("size", [(120, 36), (80, 24), (60, 16)])
async def test_every_screen_works_and_says_when_it_has_nobody_to_ask(
    screen: str, size: tuple[int, int], incident: Path
) -> None:
    async with before(incident, size, screen=screen, at="14:42:20") as seat:
        text = await seat.sees("REPLAY 14:42:20 of")
        assert all(len(line) <= size[0] for line in text.splitlines())
        if screen == "events":
            await seat.sees("HEALTHY -> UNHEALTHY")
        if screen == "stats":
            await seat.sees("not in a recording")


async def test_nothing_can_be_changed_and_nobody_is_asked(incident: Path) -> None:
    async with before(incident, screen="servers") as seat:
        await seat.sees("REPLAY 14:47:19")
        for key in ("d", "m", "u", "plus", "minus", "R", "delete"):
            await seat.press(key)
            assert len(seat.app.screen_stack) == 1
        await seat.sees(lambda _: "this is a recording: nothing can be changed in it" in toasts(seat))
        assert seat.app.client is None
        assert "acts" not in vars(seat.app)


async def test_nothing_ages_in_a_recording(incident: Path) -> None:
    async with before(incident) as seat:
        await seat.sees("REPLAY 14:47:19")
        seat.app.link = seat.app.link.aged(seat.app.link.since + 3_600)
        assert seat.app.link.is_trusted and not seat.app.look.dimmed


@pytest.fixture
def cut(incident: Path) -> Path:
    incident.write_bytes(incident.read_bytes()[:-10])
    return incident


async def test_what_is_not_shown_of_it_is_said(cut: Path) -> None:
    async with before(cut) as seat:
        await seat.sees(lambda _: "599" in toasts(seat))
        await seat.sees("REPLAY 14:47:18")


def run(*arguments: str) -> tuple[int, str, str]:
    done = CliRunner(env={"POINTSMAN_URL": "nats://127.0.0.1:9"}).invoke(pointsman, ["tui", *arguments])
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done.exit_code, done.stdout, done.stderr


def test_a_picture_is_printed_of_a_moment_in_a_file(incident: Path) -> None:
    code, text, _ = run("servers", "--replay", str(incident), "--at", "14:42:20", "--snapshot", "text")
    assert code == 0
    assert "REPLAY 14:42:20 of 2025-11-29 14:37:20-14:47:19  incident.rec" in text
    assert "✖ DOWN" in text


def test_what_cannot_be_shown_is_one_line_and_an_exit_code(incident: Path, tmp_path: Path) -> None:
    picture = ("--snapshot", "text")
    name = str(incident)
    for content, why in (
        (b"", "it is empty"),
        (b"\x7fELF" + bytes(99), "it is no recording"),
        (b'{"pointsman":"recording","format":7}\n', "format 7"),
        (b'{"pointsman":"recording","format":1}\n' + struct.pack(">I", 1 << 31), "no keyframe in it"),
    ):
        (tmp_path / "broken").write_bytes(content)
        code, out, said = run("--replay", str(tmp_path / "broken"), *picture)
        assert (code, out, len(said.splitlines())) == (1, "", 1) and why in said
    assert run("--replay", str(tmp_path / "none"), *picture)[0] == 2
    assert run("--replay", str(tmp_path), *picture)[0] == 2
    for wrong, why in (
        (("--at", "soon"), "--at: must be a time of day"),
        (("--at", "13:00"), "the recording is of 14:37:20-14:47:19 UTC"),
        (("--at", "20m"), "the recording is of"),
        (("--url", "nats://127.0.0.1:9"), "--replay shows a file"),
    ):
        code, out, said = run("--replay", name, *picture, *wrong)
        assert (code, out) == (2, "") and why in said
    code, _, said = run("--replay", name, "--plain")
    assert (code, "--plain follows a running system" in said) == (2, True)
