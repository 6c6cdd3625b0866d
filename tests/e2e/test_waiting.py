"""Waiting for a task at the command line: its end is told, over NATS and over REST."""

import asyncio

import pytest

from pointsman.cli import waiting
from tests.e2e.conftest import Fleet
from tests.e2e.test_cli import WAYS, shell_by
from tests.support.rest import Rest
from tests.support.system_up import SystemUp


@pytest.mark.parametrize("way", WAYS)
async def test_an_end_is_told_and_not_looked_for(
    way: str, admin: Rest, fleet: Fleet, system: SystemUp, monkeypatch: pytest.MonkeyPatch
) -> None:
    def looked(seconds: float) -> None:
        raise AssertionError(f"looked again after {seconds} s")

    monkeypatch.setattr(waiting, "pause", looked)
    shell = await shell_by(way, system)
    for goal, ends in (("state=completed", 0), ("state=ended", 0), ("state=failed", 1)):
        task_id = await admin.accepted(fleet.task(capabilities=["late"]))
        waits = asyncio.create_task(shell.run("task", "wait", task_id, "--for", goal, "--timeout", "50s", expect=ends))
        await asyncio.sleep(0)
        if goal == "state=completed":
            await fleet.server(capabilities=["late"])
        assert "COMPLETED" in (await waits).stdout


@pytest.mark.parametrize("way", WAYS)
async def test_a_state_on_the_way_is_looked_for(way: str, admin: Rest, fleet: Fleet, system: SystemUp) -> None:
    await fleet.server()
    task_id = await admin.accepted(fleet.task("slow:3000"))
    shell = await shell_by(way, system)
    assert "PROCESSING" in (await shell.run("task", "wait", task_id, "--for", "state=running")).stdout
    await shell.run("task", "result", task_id, "--wait")
