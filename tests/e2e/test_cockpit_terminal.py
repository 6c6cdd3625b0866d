"""The cockpit as a process on a terminal: what is shown, what keys do, and that the terminal is as before when it is over."""

import asyncio
import shlex
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support.cockpit_broker import announced, broker
from tests.support.cockpit_world import World
from tests.support.system_up import COMMAND
from tests.support.terminal import WITHIN_S, Terminal, terminal

NOWHERE = "nats://127.0.0.1:9"
MOUSE = 1000 << 5
ORDINARY_SCREEN = b"\x1b[?1049l"
SHOWN_BY = {
    b"?": "type to search",
    b":": "Search for",
    b"/": "name  pool:x",
    b"d": "No, go back",
    b"R": "Register a server",
    b"t": "t now",
}
FALLING = """
from pointsman.cli.main import main
from pointsman.tui.app import Cockpit

def fall(self):
    raise ValueError("made to fall")

Cockpit.action_toggle_zone = fall
main()
"""


@asynccontextmanager
async def cockpit(folder: Path, *arguments: str, servers: int = 5, **how: Any) -> AsyncIterator[Terminal]:
    """Over a made-up cluster, of which it has been told."""
    async with (
        broker(folder) as nats,
        announced(nats, World(servers=servers)),
        terminal("tui", *arguments, "--url", nats.url, **how) as screen,
    ):
        await screen.sees(f"Servers {servers}")
        assert screen.state != screen.before
        yield screen


async def is_left(screen: Terminal, codes: tuple[int, ...] = (0,)) -> None:
    assert await screen.ended() in codes
    assert screen.state == screen.before
    assert b"Traceback" not in screen.drawn


def fills(rows: int, *words: str) -> Callable[[str], bool]:
    """The keys stand in the last of so many lines, and nowhere is anything of another size."""

    def does(text: str) -> bool:
        lines = text.splitlines()
        return len(lines) == rows and "q Quit" in lines[-1] and all(text.count(word) == 1 for word in words)

    return does


async def test_a_session_from_start_to_quit(tmp_path: Path) -> None:
    async with cockpit(tmp_path, servers=200) as screen:
        await screen.sees("needs attention 2")
        screen.press(b"2")
        text = await screen.sees("╭─ srv-0134")
        assert "RUN/CAP" in text and "✖ DOWN" in text and "● live" in text
        screen.resize(80, 24)
        await screen.sees(fills(24, "[2 Servers 200]", "SERVER"))
        screen.resize(20, 5)
        await screen.sees(lambda text: text.split() == ["needs", "60x16,", "this", "is"])
        screen.resize(120, 36)
        await screen.sees(fills(36, "[2 Servers 200]", "SERVER", "╭─ srv-0134"))
        screen.press(b"j")
        await screen.sees("╭─ srv-0091")
        screen.press(b"q")
        await is_left(screen)


@pytest.mark.parametrize("key", SHOWN_BY, ids=lambda key: SHOWN_BY[key])
async def test_ctrl_c_leaves_from_anywhere(key: bytes, tmp_path: Path) -> None:
    async with cockpit(tmp_path, "servers") as screen:
        await screen.sees("srv-0005")
        screen.press(key)
        await screen.sees(SHOWN_BY[key])
        screen.press(b"\x03")
        await is_left(screen)


async def test_bytes_that_are_no_keys_are_passed_over(tmp_path: Path) -> None:
    async with cockpit(tmp_path, "servers") as screen:
        await screen.sees("srv-0005")
        screen.press("ä".encode("latin-1") + b"\xff\xc0")
        async with asyncio.timeout(WITHIN_S):
            while "[3 Tasks" not in screen.text:
                screen.press(b"3")
                await screen.draws_more()
        screen.press(b"q")
        await is_left(screen)


def back(text: str) -> bool:
    """All of it is drawn anew, over what the shell wrote."""
    return "Stopped" not in text and all(word in text for word in ("srv-0005", "sort attention", "q Quit"))


async def test_ctrl_z_goes_to_the_shell_and_fg_comes_back(tmp_path: Path) -> None:
    async with (
        broker(tmp_path) as nats,
        announced(nats, World(servers=5)),
        terminal("--norc", "-i", program=("/bin/bash",)) as screen,
    ):
        await screen.sees(str.strip)
        screen.press(f"{shlex.join(COMMAND)} tui servers --url {nats.url}\n".encode())
        await screen.sees("srv-0005")
        for _ in range(2):
            screen.press(b"\x1a")
            await screen.sees("Stopped")
            screen.press(b"clear; fg\n")
            await screen.sees(back)
        screen.press(b"q")
        await screen.sees(lambda _: screen.drawn.count(ORDINARY_SCREEN) == 3)
        screen.press(b"exit\n")
        await is_left(screen)


async def test_ctrl_z_says_so_where_no_shell_waits(tmp_path: Path) -> None:
    async with cockpit(tmp_path) as screen:
        screen.press(b"\x1a")
        await screen.sees("no shell waits behind")
        screen.press(b"q")
        await is_left(screen)


async def test_ctrl_c_leaves_before_anything_is_drawn() -> None:
    async with terminal("tui", "--url", NOWHERE) as screen:
        await screen.draws(b"connecting to")
        screen.press(b"\x03")
        await is_left(screen, codes=(0, -signal.SIGINT))


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT], ids=lambda how: how.name)
async def test_asked_to_end_it_gives_the_terminal_back(how: signal.Signals, tmp_path: Path) -> None:
    async with cockpit(tmp_path, "servers") as screen:
        screen.process.send_signal(how)
        await is_left(screen)


async def test_a_bug_gives_the_terminal_back_and_is_told_below(tmp_path: Path) -> None:
    async with cockpit(tmp_path, program=(sys.executable, "-c", FALLING)) as screen:
        screen.press(b"U")
        assert await screen.ended() == 1
        assert screen.state == screen.before
        assert b"made to fall" in screen.drawn[screen.drawn.rindex(ORDINARY_SCREEN) :]


async def test_a_terminal_that_goes_away_takes_the_cockpit_with_it(tmp_path: Path) -> None:
    async with cockpit(tmp_path, "servers") as screen:
        screen.hang_up()
        await asyncio.wait_for(screen.process.wait(), WITHIN_S)


async def test_an_outage_is_said_screens_stay_usable_and_it_comes_back_by_itself(tmp_path: Path) -> None:
    async with (
        broker(tmp_path) as nats,
        announced(nats, World(servers=12)),
        terminal("tui", "--url", nats.url) as screen,
    ):
        await screen.sees("Servers 12")
        nats.kill()
        await screen.sees("✖ DISCONNECTED")
        screen.press(b"2")
        words = ("[2 Servers 12]", "srv-0012", "✖ DISCONNECTED")
        await screen.sees(lambda text: all(word in text for word in words))
        await nats.start()
        await screen.sees("back after")
        await screen.sees("● live")
        screen.press(b"q")
        await is_left(screen)


async def test_it_starts_without_anybody_there_and_can_be_left() -> None:
    async with terminal("tui", "--url", NOWHERE) as screen:
        assert "queued --" in await screen.sees("connecting, try")
        screen.press(b"q")
        await is_left(screen)


async def test_an_ascii_terminal_gets_ascii_and_keeps_its_mouse(tmp_path: Path) -> None:
    async with cockpit(tmp_path, "servers", "--ascii", "--no-mouse", servers=200, columns=80, rows=24) as screen:
        text = await screen.sees("X DOWN")
        assert text.isascii()
        assert MOUSE not in screen.state.modes
        screen.press(b"q")
        await is_left(screen)


async def test_a_picture_and_a_line_per_change_need_no_terminal(tmp_path: Path) -> None:
    async with broker(tmp_path) as nats, announced(nats, World(servers=5)) as cluster:
        shot = await asyncio.create_subprocess_exec(
            *COMMAND,
            "tui",
            "servers",
            "--snapshot",
            "text",
            "--url",
            nats.url,
            stdout=subprocess.PIPE,
            cwd=tmp_path,
        )
        out, _ = await asyncio.wait_for(shot.communicate(), WITHIN_S)
        assert shot.returncode == 0 and "srv-0005" in out.decode() and "● UP" in out.decode()
        plain = await asyncio.create_subprocess_exec(
            *COMMAND, "tui", "--plain", "--url", nats.url, stdout=subprocess.PIPE, cwd=tmp_path
        )
        assert plain.stdout is not None
        await heard(plain.stdout, b"cluster servers 5")
        cluster.world.change("srv-0002", state="UNHEALTHY", error="refused")
        cluster.extra = ("srv-0002",)
        assert b"up -> down (refused)" in await heard(plain.stdout, b"srv-0002")
        plain.terminate()
        await plain.wait()


async def heard(stream: asyncio.StreamReader, words: bytes) -> bytes:
    async with asyncio.timeout(WITHIN_S):
        async for told in stream:
            if words in told:
                return told
    raise AssertionError(f"the output ended without {words!r}")


async def test_nobody_there_is_said_with_the_code_for_it(tmp_path: Path) -> None:
    shot = await asyncio.create_subprocess_exec(
        *COMMAND, "tui", "--snapshot", "text", "--url", "nats://127.0.0.1:9", stderr=subprocess.PIPE, cwd=tmp_path
    )
    _, told = await asyncio.wait_for(shot.communicate(), WITHIN_S)
    assert shot.returncode == 69 and b"no frame within 10 s" in told
