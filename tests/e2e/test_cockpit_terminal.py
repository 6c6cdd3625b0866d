"""The cockpit on a real terminal, in tmux: what is shown, what keys do, and that the terminal is as before."""

import asyncio
import os
import shutil
import subprocess
import sys
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import psutil
import pytest

from tests.support.cockpit_broker import announced, broker
from tests.support.cockpit_world import World

TMUX = shutil.which("tmux")
pytestmark = pytest.mark.skipif(TMUX is None, reason="tmux is not installed (Debian: apt install tmux)")
COMMAND = Path(sys.executable).with_name("pointsman")
SEEN_WITHIN_S = 40.0
FORGOTTEN = ("COLUMNS", "LINES", "TMUX", "NO_COLOR")


class Tmux:
    """One window with a shell in it, on a server of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._socket = f"pointsman-{uuid.uuid4().hex[:8]}"
        self._environment = {name: value for name, value in os.environ.items() if name not in FORGOTTEN}

    async def run(self, *arguments: str) -> str:
        process = await asyncio.create_subprocess_exec(
            TMUX or "tmux",
            "-L",
            self._socket,
            *arguments,
            env=self._environment | {"LANG": "C.UTF-8"},
            cwd=self.folder,
            stdout=subprocess.PIPE,
        )
        out, _ = await process.communicate()
        return out.decode()

    async def types(self, text: str) -> None:
        await self.run("send-keys", "-t", "w", "-l", text)
        await self.run("send-keys", "-t", "w", "Enter")

    async def presses(self, *keys: str) -> None:
        await self.run("send-keys", "-t", "w", *keys)

    async def text(self) -> str:
        return await self.run("capture-pane", "-p", "-t", "w")

    async def sees(self, words: str) -> str:
        async with asyncio.timeout(SEEN_WITHIN_S):
            while words not in (text := await self.text()):
                await asyncio.sleep(0.05)
        return text

    async def file(self, name: str) -> str:
        async with asyncio.timeout(SEEN_WITHIN_S):
            while not (path := self.folder / name).exists() or not path.read_text().endswith("\n"):
                await asyncio.sleep(0.05)
        return path.read_text()


@asynccontextmanager
async def terminal(folder: Path, columns: int = 120, lines: int = 36) -> AsyncIterator[Tmux]:
    tmux = Tmux(folder)
    await tmux.run("-f", "/dev/null", "new-session", "-d", "-s", "w", "-x", str(columns), "-y", str(lines), "sh")
    await tmux.run("set-option", "-g", "window-size", "manual")
    try:
        yield tmux
    finally:
        await tmux.run("kill-server")


async def start(tmux: Tmux, arguments: str) -> None:
    """Writes the terminal's settings before and after, the exit code, and the cursor's state when it is over."""
    await tmux.types(f"stty -g >before; {COMMAND} tui {arguments}; echo $? >code; stty -g >after")


async def is_restored(tmux: Tmux) -> None:
    assert await tmux.file("before") == await tmux.file("after")
    assert (
        await tmux.run("display-message", "-p", "-t", "w", "#{cursor_flag} #{alternate_on} #{mouse_any_flag}")
    ).split() == [
        "1",
        "0",
        "0",
    ]


async def test_a_session_from_start_to_quit(tmp_path: Path) -> None:
    async with broker(tmp_path) as nats, announced(nats, World()), terminal(tmp_path) as tmux:
        await start(tmux, f"--url {nats.url}")
        await tmux.sees("● live")
        await tmux.sees("needs attention 2")
        await tmux.presses("2")
        text = await tmux.sees("RUN/CAP")
        assert "srv-0134" in text and "✖ DOWN" in text
        await tmux.run("resize-window", "-t", "w", "-x", "80", "-y", "24")
        await tmux.sees("2 Servers 200]")
        text = await tmux.text()
        assert len(text.rstrip("\n").splitlines()) <= 24 and all(len(line) <= 80 for line in text.splitlines())
        await tmux.run("resize-window", "-t", "w", "-x", "54", "-y", "15")
        await tmux.sees("needs 60x16, this is 54x15")
        await tmux.presses("q")
        assert await tmux.file("code") == "0\n"
        await is_restored(tmux)


@pytest.mark.parametrize("how", ["C-c", "SIGTERM"])
async def test_the_terminal_is_given_back_however_it_ends(how: str, tmp_path: Path) -> None:
    async with broker(tmp_path) as nats, announced(nats, World(servers=5)), terminal(tmp_path) as tmux:
        await start(tmux, f"servers --url {nats.url}")
        await tmux.sees("● live")
        if how == "SIGTERM":
            pane = (await tmux.run("display-message", "-p", "-t", "w", "#{pane_pid}")).strip()
            for child in psutil.Process(int(pane)).children():
                child.terminate()
        else:
            await tmux.presses(how)
        await tmux.file("code")
        await is_restored(tmux)
        assert "Traceback" not in await tmux.text()


async def test_it_starts_without_anybody_there_and_can_be_left(tmp_path: Path) -> None:
    async with terminal(tmp_path) as tmux:
        await start(tmux, "--url nats://127.0.0.1:9")
        await tmux.sees("connecting, try")
        assert "queued --" in await tmux.text()
        await tmux.presses("q")
        await tmux.file("code")
        await is_restored(tmux)


async def test_a_terminal_that_goes_away_takes_the_cockpit_with_it(tmp_path: Path) -> None:
    async with broker(tmp_path) as nats, announced(nats, World()), terminal(tmp_path) as tmux:
        await tmux.types(f"exec {COMMAND} tui servers --url {nats.url}")
        await tmux.sees("● live")
        pane = (await tmux.run("display-message", "-p", "-t", "w", "#{pane_pid}")).strip()
        cockpit = psutil.Process(int(pane))
        await tmux.run("kill-session", "-t", "w")
        async with asyncio.timeout(SEEN_WITHIN_S):
            while cockpit.is_running() and cockpit.status() != psutil.STATUS_ZOMBIE:
                await asyncio.sleep(0.05)


async def test_an_ascii_terminal_gets_ascii(tmp_path: Path) -> None:
    async with broker(tmp_path) as nats, announced(nats, World()), terminal(tmp_path, 80, 24) as tmux:
        await start(tmux, f"servers --ascii --url {nats.url}")
        text = await tmux.sees("X DOWN")
        assert text.isascii()
        await tmux.presses("q")
        await is_restored(tmux)


async def test_a_picture_and_a_line_per_change_need_no_terminal(tmp_path: Path) -> None:
    async with broker(tmp_path) as nats, announced(nats, World(servers=5)) as cluster:
        shot = await asyncio.create_subprocess_exec(
            str(COMMAND),
            "tui",
            "servers",
            "--snapshot",
            "text",
            "--url",
            nats.url,
            stdout=subprocess.PIPE,
            cwd=tmp_path,
        )
        out, _ = await asyncio.wait_for(shot.communicate(), SEEN_WITHIN_S)
        assert shot.returncode == 0 and "srv-0005" in out.decode() and "● UP" in out.decode()
        plain = await asyncio.create_subprocess_exec(
            str(COMMAND), "tui", "--plain", "--url", nats.url, stdout=subprocess.PIPE, cwd=tmp_path
        )
        assert plain.stdout is not None
        await heard(plain.stdout, b"cluster servers 5")
        cluster.world.change("srv-0002", state="UNHEALTHY", error="refused")
        cluster.extra = ("srv-0002",)
        assert b"up -> down (refused)" in await heard(plain.stdout, b"srv-0002")
        plain.terminate()
        await plain.wait()


async def heard(stream: asyncio.StreamReader, words: bytes) -> bytes:
    async with asyncio.timeout(SEEN_WITHIN_S):
        async for told in stream:
            if words in told:
                return told
    raise AssertionError(f"the output ended without {words!r}")


async def test_nobody_there_is_said_with_the_code_for_it(tmp_path: Path) -> None:
    shot = await asyncio.create_subprocess_exec(
        str(COMMAND), "tui", "--snapshot", "text", "--url", "nats://127.0.0.1:9", stderr=subprocess.PIPE, cwd=tmp_path
    )
    _, told = await asyncio.wait_for(shot.communicate(), SEEN_WITHIN_S)
    assert shot.returncode == 69 and b"no frame within 10 s" in told
