"""`pointsman serve` against stores that somebody else runs, and what `doctor` says of them."""

import asyncio
import os
import shutil
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace

import msgspec
import pytest

from pointsman.cli import findings
from pointsman.client import nats_bus
from pointsman.client.client import Client
from pointsman.contracts.actor import Actor
from pointsman.contracts.errors import PointsmanError
from pointsman.contracts.lifecycle import Status
from pointsman.contracts.task import TaskRequest
from pointsman.services.runtime.embedded import nats as embedded_nats
from pointsman.services.runtime.embedded.kept import Kept
from pointsman.services.runtime.embedded.nats import Nats
from pointsman.services.runtime.settings import Settings, to_env
from tests.support.system_up import eventually

WITHIN_S = 60.0
SECRET = "a secret of the tests, long enough for HS256"


class Run:
    """One `pointsman serve task` and what it printed."""

    def __init__(self, process: asyncio.subprocess.Process, output: Path) -> None:
        self._process = process
        self._output = output

    @property
    def printed(self) -> str:
        return self._output.read_text()

    async def code(self) -> int:
        return await asyncio.wait_for(self._process.wait(), WITHIN_S)

    async def has_started(self) -> bool:
        assert self._process.returncode is None, self.printed
        return '"event": "started"' in self.printed


@asynccontextmanager
async def served(folder: Path, settings: Mapping[str, str], *names: str) -> AsyncIterator[Run]:
    output = folder / "serve.out"
    foreign = {key: value for key, value in os.environ.items() if not key.startswith("POINTSMAN_")}
    with output.open("wb") as file:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "pointsman.cli.main",
            "serve",
            *names,
            stdout=file,
            stderr=file,
            env=foreign | settings,
        )
    try:
        yield Run(process, output)
    finally:
        if process.returncode is None:
            process.terminate()
            await asyncio.wait_for(process.wait(), WITHIN_S)


@asynccontextmanager
async def broker(folder: Path) -> AsyncIterator[Settings]:
    launcher = Nats(folder)
    kept = Kept(launcher)
    kept.start()
    try:
        await kept.ready(within_s=WITHIN_S)
        yield Settings(
            nats_url=launcher.url,
            nats_user=launcher.user,
            nats_password=launcher.password,
            nats_monitor_url=launcher.monitor_url,
            jwt_secret=SECRET,
        )
    finally:
        await kept.stop()


def changed(settings: Settings, **changes: object) -> dict[str, str]:
    return to_env(msgspec.structs.replace(settings, **changes))


@pytest.fixture
def lazy(monkeypatch: pytest.MonkeyPatch) -> None:
    """The broker as it is by default: it acknowledges before it syncs."""
    without = embedded_nats.CONFIG.template.replace("  sync_interval: always\n", "")
    monkeypatch.setattr(embedded_nats, "CONFIG", type(embedded_nats.CONFIG)(without))


@pytest.mark.usefixtures("lazy")
async def test_a_broker_that_acknowledges_before_it_syncs_is_not_run_as_durable(tmp_path: Path) -> None:
    async with broker(tmp_path) as settings:
        async with served(tmp_path, changed(settings), "task") as run:
            assert await run.code() == 1
            assert "NATS acknowledges before it syncs" in run.printed
            assert "Traceback" not in run.printed
        said = await findings.broker_keeps(settings)
        assert [finding.is_fine for finding in said] == [True, False, True]
        async with served(tmp_path, changed(settings, durability="relaxed"), "task") as run:
            await eventually(run.has_started, "serves as relaxed", within_s=WITHIN_S)


async def test_a_full_store_refuses_at_once_and_holds_all_that_it_took(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded_nats, "STORE_BYTES_MAX", 8 << 20)
    task = TaskRequest(type="large", payload=msgspec.Raw(b'{"text":"' + b"x" * 200_000 + b'"}'))
    async with broker(tmp_path) as settings, served(tmp_path, changed(settings), "task") as run:
        await eventually(run.has_started, "serves", within_s=WITHIN_S)
        bus = await nats_bus.connect(
            settings.nats_url, name="test", user=settings.nats_user, password=settings.nats_password
        )
        tasks = Client(bus, Actor(sub="ann")).tasks
        accepted: list[str] = []
        async with asyncio.timeout(WITHIN_S):
            with pytest.raises(PointsmanError) as refused:
                while True:
                    accepted.append((await tasks.submit(task)).id)
        assert (refused.value.status, bool(refused.value.retry_after_s)) == (503, True)
        assert "insufficient" in refused.value.detail
        assert {(await tasks.get(one)).status for one in accepted} == {Status.PENDING}
        await bus.close()


def test_the_store_is_never_given_more_than_the_disk_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for free in (40 << 20, 1 << 30, 1 << 40):
        monkeypatch.setattr(shutil, "disk_usage", lambda _path, free=free: SimpleNamespace(free=free))
        assert embedded_nats._store_bytes(tmp_path / "store") <= free


async def test_what_nothing_shows_is_not_believed(tmp_path: Path) -> None:
    async with broker(tmp_path) as settings:
        for monitor in ("", settings.nats_monitor_url + "/healthz?"):
            async with served(tmp_path, changed(settings, nats_monitor_url=monitor), "task") as run:
                assert await run.code() == 1
                assert "nothing shows that NATS syncs each write" in run.printed
            said = await findings.broker_keeps(msgspec.structs.replace(settings, nats_monitor_url=monitor))
            assert not all(finding.is_fine for finding in said)
        async with served(tmp_path, changed(settings), "task") as run:
            await eventually(run.has_started, "serves as strict", within_s=WITHIN_S)


async def test_what_hinders_the_start_is_said_in_one_line(tmp_path: Path) -> None:
    async with broker(tmp_path) as settings:
        port = settings.nats_url.rpartition(":")[2]
        for changes, said in (({"jwt_secret": ""}, "jwt_secret: not set"), ({"port": int(port)}, f"{port} is in use")):
            async with served(tmp_path, changed(settings, **changes), "gateway") as run:
                assert await run.code() == 1
                assert said in run.printed
                assert "Traceback" not in run.printed
