"""The backend kit against a running system: it registers, beats, verifies, reports, cancels, and comes back."""

import contextlib
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest_asyncio

from pointsman.services.runtime.embedded import ports
from tests.support.rest import Json, Rest
from tests.support.system_up import SystemUp, eventually

EXAMPLES = Path(__file__).resolve().parents[2] / "deploy" / "examples"
ID = "kit"
SOURCE = "def a():\n    return 1\n\n\ndef b():\n    return a()\n"


class Backend:
    """The example `kit_backend.py` as a process."""

    def __init__(self, system: SystemUp, folder: Path, token: str) -> None:
        self._folder = folder
        self._url = system.url
        self._token = folder / "token"
        self._token.write_text(token)
        self._process: subprocess.Popen[bytes] | None = None
        self.port = ports.free("127.0.0.1")

    async def start(self, *, step_ms: int) -> None:
        self._spawn(step_ms)
        await eventually(self.answers, "the kit's backend listens")

    def _spawn(self, step_ms: int) -> None:
        self._process = subprocess.Popen(
            (
                *(sys.executable, str(EXAMPLES / "kit_backend.py"), "--port", str(self.port), "--id", ID),
                *("--pointsman", self._url, "--token-file", str(self._token), "--step-ms", str(step_ms)),
                *("--keep", str(self._folder / "credentials.json")),
            )
        )

    async def answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None
        with contextlib.suppress(aiohttp.ClientError):
            return await self.status("GET", "/health") == 200
        return False

    async def status(self, method: str, path: str) -> int:
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5)) as session,
            session.request(method, f"http://127.0.0.1:{self.port}{path}", data=b"{}") as answer,
        ):
            return answer.status

    def stop(self) -> int:
        """SIGTERM; its exit code."""
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        try:
            return self._process.wait(20)
        finally:
            self._process.kill()


@pytest_asyncio.fixture(loop_scope="session")
async def kit(system: SystemUp, admin: Rest, tmp_path: Path) -> AsyncIterator[Backend]:
    backend = Backend(system, tmp_path, await system.token("ada", "admin"))
    await backend.start(step_ms=150)
    try:
        yield backend
    finally:
        backend.stop()
        await admin.call("DELETE", f"/api/servers/{ID}", expect=(200, 404))


def task(**fields: object) -> Json:
    payload = {"module": "m", "source": SOURCE}
    return {"type": "analyse", "capabilities": ["python-analysis"], "payload": payload, **fields}


async def test_it_beats_reports_and_answers(admin: Rest, kit: Backend) -> None:
    task_id = await admin.accepted(task())

    async def is_on_its_way() -> bool:
        seen = (await admin.call("GET", f"/api/task/{task_id}", expect=(200,))).body
        return seen["status"] == "PROCESSING" and 0 < (seen["progress"] or 0) < 100

    await eventually(is_on_its_way, "progress is seen")
    ended = await admin.finished(task_id)
    assert (ended["status"], ended["serverId"], len(ended["attempts"])) == ("COMPLETED", ID, 1)
    assert ended["result"]["functions"] == 2

    async def is_heard() -> bool:
        return (await admin.call("GET", f"/api/servers/{ID}", expect=(200,))).body["lastHeartbeat"] is not None

    await eventually(is_heard, "a heartbeat is seen")


async def test_a_payload_it_cannot_use_fails_for_good(admin: Rest, kit: Backend) -> None:
    ended = await admin.done(task(payload={}, maxAttempts=5))
    assert (ended["status"], len(ended["attempts"]), ended["errorCode"]) == ("FAILED", 1, "bad-payload")


async def test_a_cancelled_task_ends_there_too(admin: Rest, kit: Backend) -> None:
    task_id = await admin.accepted(task())

    async def runs() -> bool:
        return (await admin.call("GET", f"/api/task/{task_id}", expect=(200,))).body["status"] == "PROCESSING"

    await eventually(runs, "the task runs")
    await admin.call("POST", f"/api/task/{task_id}/cancel", {}, expect=(200,))

    async def is_free() -> bool:
        server = (await admin.call("GET", f"/api/servers/{ID}", expect=(200,))).body
        return server["activeTasks"] == 0

    await eventually(is_free, "its slot is free", within_s=10)
    assert (await admin.done(task()))["status"] == "COMPLETED"


async def test_a_stranger_is_refused(kit: Backend) -> None:
    assert await kit.status("POST", "/predict") == 401
    assert await kit.status("DELETE", "/predict/task_1") == 401


async def test_it_ends_what_it_runs_and_comes_back_with_its_credentials(admin: Rest, kit: Backend) -> None:
    task_id = await admin.accepted(task())

    async def runs() -> bool:
        return (await admin.call("GET", f"/api/task/{task_id}", expect=(200,))).body["status"] == "PROCESSING"

    await eventually(runs, "the task runs")
    assert kit.stop() == 0
    ended = await admin.finished(task_id)
    assert (ended["status"], len(ended["attempts"])) == ("COMPLETED", 1)
    await kit.start(step_ms=10)
    assert (await admin.done(task()))["status"] == "COMPLETED"
