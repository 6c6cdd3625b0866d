"""The commands that steer, as processes of their own, against a real broker with balancer and task service."""

import asyncio
import json
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from pointsman.client.client import Client
from pointsman.contracts.actor import Actor, Role
from pointsman.contracts.task import TaskRequest
from pointsman.services.balancer.service import BalancerService
from pointsman.services.runtime import buckets
from pointsman.services.task.service import TaskService
from tests.support.system_up import COMMAND, REPOSITORY
from tests.support.worlds import RealWorld, context

ANN = Actor(sub="ann", roles=(Role.USER,))


class Shell:
    """Runs commands of this installation with the settings of one broker."""

    def __init__(self, **settings: str) -> None:
        self._settings = {f"POINTSMAN_{name.upper()}": value for name, value in settings.items()}

    async def run(self, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        return await asyncio.to_thread(
            subprocess.run,
            (*COMMAND, *arguments),
            cwd=REPOSITORY,
            env={"PATH": "/usr/bin:/bin", "USER": "olga", **self._settings},
            input=stdin,
            capture_output=True,
            text=True,
            timeout=60,
        )

    async def says(self, *arguments: str, stdin: str = "") -> str:
        done = await self.run(*arguments, stdin=stdin)
        assert done.returncode == 0, done.stderr
        return done.stdout

    async def json(self, *arguments: str) -> Any:
        return json.loads(await self.says(*arguments, "-o", "json"))

    async def fails(self, *arguments: str) -> tuple[int, str]:
        done = await self.run(*arguments)
        assert done.stdout == "", done.stdout
        return done.returncode, done.stderr


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[RealWorld]:
    world = RealWorld(tmp_path)
    await world.start()
    try:
        bus = await world.connect()
        await buckets.ensure(bus, relaxed=False, replicas=1)
        services = BalancerService(context(world, bus)), TaskService(context(world, bus))
        for service in services:
            await service.start()
        yield world
        for service in reversed(services):
            await service.stop()
    finally:
        await world.close()


@pytest.fixture
def shell(world: RealWorld) -> Shell:
    nats = world._nats
    return Shell(nats_url=nats.url, nats_user=nats.user, nats_password=nats.password)


async def test_pools_are_listed_shown_set_and_set_back(shell: Shell) -> None:
    assert await shell.says("balancer", "algorithm", "p2c") == "Algorithm of pool default is now p2c\n"
    changed = await shell.json("pool", "set", "default", "--share", "a=3", "--max-backlog", "50")
    assert (changed["algorithm"], changed["shares"], changed["maxBacklog"]) == ("p2c", {"a": 3}, 50)
    assert changed["by"] == "local:olga"
    assert (await shell.json("pool", "set", "default", "--max-backlog", "none"))["maxBacklog"] is None
    assert (await shell.json("pool", "undo", "default"))["maxBacklog"] == 50
    shown = await shell.says("pool", "show", "default")
    assert "p2c" in shown and "a=3" in shown and '{"algorithm":"p2c"}' in shown
    assert "default  p2c" in await shell.says("pool", "list")


async def test_limits_and_types_are_set_and_cleared(shell: Shell) -> None:
    await shell.says("limit", "set", "key", "a/b", "--max-concurrent", "2", "--rate", "1.5")
    assert "2 at once; 1.5/s, burst 1" in await shell.says("limit", "list")
    assert await shell.says("limit", "clear", "key", "a/b") == "Key a/b has no limit any more\n"
    declare = ("type", "declare", "resize", "--timeout-after", "2m", "--capability", "gpu", "--schema", "-")
    declared = await shell.says(*declare, stdin='{"required": ["a"]}')
    assert "120000 ms" in declared and '{"required":["a"]}' in declared
    assert "resize" in await shell.says("type", "list")
    await shell.says("type", "remove", "resize")
    assert (await shell.json("type", "undo", "resize"))["timeoutMs"] == 120_000


async def test_a_waiting_task_is_explained(shell: Shell, world: RealWorld) -> None:
    task = await Client(await world.connect(), ANN).tasks.submit(TaskRequest(type="resize"))
    explained = await shell.says("task", "explain", task.id)
    assert "PENDING" in explained and "why" in explained and "gate" in explained
    assert (await shell.json("task", "explain", task.id))["id"] == task.id


async def test_each_refusal_has_its_exit_code_and_says_why_on_standard_error(shell: Shell) -> None:
    await shell.says("pool", "set", "default", "--max-backlog", "5")
    for code, said, *arguments in (
        (2, "consistent-hash", "balancer", "algorithm", "psychic"),
        (2, "pool, type, key", "limit", "set", "moon", "x", "--max-concurrent", "1"),
        (2, "maxConcurrent", "limit", "set", "key", "x", "--max-concurrent", "-1"),
        (2, "retryPercent", "pool", "set", "default", "--retry-percent", "-1"),
        (2, "nothing to change", "pool", "set", "default"),
        (3, "default", "pool", "show", "no-such-pool"),
        (3, "not declared", "type", "remove", "resize"),
        (3, "not found", "task", "explain", "task_0"),
        (4, "revision", "pool", "undo", "default", "--if-match", "999"),
    ):
        exit_code, error = await shell.fails(*arguments)
        assert (exit_code, said in error) == (code, True), (arguments, exit_code, error)
    nowhere = Shell(nats_url="nats://127.0.0.1:9")
    assert (await nowhere.fails("pool", "list"))[0] == 69
