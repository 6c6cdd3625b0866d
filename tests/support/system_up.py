"""A real `pointsman up` for tests: in processes of its own, on a fresh folder, stopped without leaving one behind."""

import asyncio
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import asyncpg
import psutil

from tests.support.rest import Rest

REPOSITORY = Path(__file__).resolve().parents[2]
COMMAND = (sys.executable, "-m", "pointsman.cli.main")
READY_S_MAX = 240.0
STOP_S_MAX = 60.0
TOKEN_S_MAX = 60.0
TAIL_BYTES = 4_000
OUTCRY_LINES = 40
PROGRAMS = ("nats", "postgres", "gateway", "task-registry", "balancer", "instance", "history-statistics")
LOUD = ("Traceback (most recent call last)", '"exception"', "Task exception was never retrieved", "was never awaited")


async def eventually(claim: Callable[[], Awaitable[object]], what: str, *, within_s: float = 20.0) -> Any:
    """What `claim` answers once that is true; AssertionErrors on the way count as not yet."""
    last: object = None
    try:
        async with asyncio.timeout(within_s):
            while True:
                try:
                    if last := await claim():
                        return last
                except AssertionError as error:
                    last = error
                await asyncio.sleep(0.05)
    except TimeoutError:
        raise AssertionError(f"not within {within_s:g} s: {what}; last: {last!r:.800}") from None


class SystemUp:
    """One data folder and the `up` that runs on it; `start` may be called again after `kill_supervisor`."""

    def __init__(self, data_dir: Path, settings: Mapping[str, str]) -> None:
        self.data_dir = data_dir
        self._settings = settings
        self._process: subprocess.Popen[bytes] | None = None
        self._output = data_dir.with_name(data_dir.name + ".out")
        self._tokens: dict[tuple[str, tuple[str, ...]], str] = {}
        self.url = ""
        self.port = 0

    async def start(self) -> None:
        """Ready within two minutes, on the port it had before if it ran before."""
        offset = self._output.stat().st_size if self._output.exists() else 0
        self._process = self._spawned()
        self.url = await eventually(lambda: self._ready(offset), "pointsman up is ready", within_s=READY_S_MAX)
        self.port = int(self.url.rpartition(":")[2])

    def _spawned(self) -> subprocess.Popen[bytes]:
        with self._output.open("ab") as output:
            return subprocess.Popen(
                (*COMMAND, "up", "--data-dir", str(self.data_dir), "--port", str(self.port)),
                env=self._environment(),
                cwd=REPOSITORY,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    async def _ready(self, offset: int) -> str:
        printed = self._output.read_bytes()[offset:].decode(errors="replace")
        if self._process is not None and self._process.poll() is not None:
            raise RuntimeError(f"pointsman up ended with {self._process.returncode}:\n{printed}\n{self.tails()}")
        lines = [line for line in printed.splitlines() if line.startswith("ready http")]
        return lines[-1].partition(" ")[2].rstrip("/") if lines else ""

    async def stop(self) -> None:
        """SIGTERM; fails when it does not end by itself in time, or when a process of it is left."""
        process = self._process
        if process is None:
            return
        process.send_signal(signal.SIGTERM)
        try:
            await asyncio.to_thread(process.wait, STOP_S_MAX)
        except subprocess.TimeoutExpired:
            self._end_what_is_left()
            await asyncio.to_thread(process.wait)
            raise AssertionError(f"pointsman up did not stop within {STOP_S_MAX:g} s\n{self.tails()}") from None
        code, self._process = process.returncode, None
        left = self._end_what_is_left()
        assert not left, f"left behind: {left}"
        assert code == 0, f"pointsman up ended with code {code}\n{self.tails()}"

    async def kill_supervisor(self) -> None:
        """SIGKILL, as a crash would; what it started ends by itself."""
        assert self._process is not None
        self._process.kill()
        await asyncio.to_thread(self._process.wait)
        self._process = None

    def kill(self, program: str) -> int:
        """SIGKILL to one program; answers with its old pid."""
        pid = self.pids()[program]
        os.kill(pid, signal.SIGKILL)
        return pid

    async def restarted(self, program: str, old_pid: int, *, within_s: float = 60.0) -> None:
        async def is_new() -> bool:
            pid = self.pids().get(program, old_pid)
            return pid != old_pid and psutil.pid_exists(pid)

        await eventually(is_new, f"{program} runs again", within_s=within_s)

    def pids(self) -> dict[str, int]:
        return dict(self._run_file()["pids"])

    @property
    def dsn(self) -> str:
        return str(self._run_file()["postgres"])

    @property
    def nats(self) -> tuple[str, str, str]:
        """URL, user and password."""
        run = self._run_file()
        return run["nats"], run["settings"]["nats_user"], run["settings"]["nats_password"]

    async def token(self, sub: str, *roles: str) -> str:
        known = self._tokens.get((sub, roles))
        if known is None:
            known = self._tokens[sub, roles] = await asyncio.to_thread(self._made_token, sub, roles)
        return known

    @contextlib.asynccontextmanager
    async def client(self, sub: str, *roles: str) -> AsyncIterator[Rest]:
        async with Rest.connect(self.url, await self.token(sub, *roles)) as rest:
            yield rest

    async def rows(self, sql: str, *arguments: object) -> list[asyncpg.Record]:
        """Asks the archive; raises what asyncpg does when it is away."""
        connection = await asyncpg.connect(self.dsn, timeout=20)
        try:
            return await connection.fetch(sql, *arguments, timeout=20)
        finally:
            await connection.close()

    def logs(self) -> dict[str, str]:
        """By file name, as far as they exist."""
        files = sorted((self.data_dir / "logs").glob("*.log"))
        return {file.name: file.read_text(errors="replace") for file in (*files, self._output) if file.exists()}

    def tails(self) -> str:
        return "\n".join(f"--- {name}\n{text[-TAIL_BYTES:]}" for name, text in self.logs().items())

    def outcries(self) -> list[str]:
        """Lines of logs that only a bug writes, each with what follows it."""
        return [
            "\n".join([f"{name}: {line[:4000]}", *lines[number + 1 : number + 1 + OUTCRY_LINES]])
            for name, text in self.logs().items()
            for lines in [text.splitlines()]
            for number, line in enumerate(lines)
            if any(sign in line for sign in LOUD)
        ]

    def left(self) -> list[psutil.Process]:
        """Every process that has this data folder in its command line or environment."""
        return [process for process in psutil.process_iter() if _is_of(process, str(self.data_dir))]

    def _end_what_is_left(self) -> list[str]:
        left = self.left()
        told = []
        for process in left:
            with contextlib.suppress(psutil.Error):
                told.append(f"{process.pid} {' '.join(process.cmdline())[:200]}")
                process.kill()
        return told

    def end(self) -> None:
        """For a test that failed halfway: no process and no folder stays."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        self._end_what_is_left()
        self._output.unlink(missing_ok=True)

    def _run_file(self) -> dict[str, Any]:
        try:
            return dict(json.loads((self.data_dir / "run.json").read_bytes()))
        except FileNotFoundError:
            raise AssertionError("no run.json: the system does not run") from None

    def _made_token(self, sub: str, roles: tuple[str, ...]) -> str:
        wanted = [part for role in roles for part in ("--role", role)]
        made = subprocess.run(
            (*COMMAND, "token", "--sub", sub, *wanted, "--ttl", "1d", "--data-dir", str(self.data_dir)),
            cwd=REPOSITORY,
            env=self._environment(),
            capture_output=True,
            check=True,
            timeout=TOKEN_S_MAX,
        )
        return made.stdout.decode().split()[-1]

    def _environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("POINTSMAN_")}
        return kept | dict(self._settings)


def _is_of(process: psutil.Process, data_dir: str) -> bool:
    try:
        if process.pid == os.getpid() or process.status() == psutil.STATUS_ZOMBIE:
            return False
        return any(data_dir in part for part in process.cmdline()) or data_dir in process.environ().values()
    except psutil.Error:
        return False


@contextlib.contextmanager
def short_folder() -> Iterator[Path]:
    """A socket's path may have 107 bytes, and the database's user must be able to pass through."""
    folder = Path(tempfile.mkdtemp(prefix="pm", dir="/tmp"))
    folder.chmod(0o711)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.asynccontextmanager
async def system_up(**settings: str) -> AsyncIterator[SystemUp]:
    """`settings` by name, e.g. result_ttl_s="10"."""
    with short_folder() as folder:
        system = SystemUp(folder / "d", {f"POINTSMAN_{name.upper()}": value for name, value in settings.items()})
        try:
            await system.start()
            yield system
            await system.stop()
        finally:
            system.end()
