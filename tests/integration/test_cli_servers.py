"""`pointsman server`, as processes of their own, against a real broker with two registries."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from pointsman.client.client import Client
from pointsman.contracts.actor import Actor, Role
from pointsman.contracts.server import ServerRequest
from pointsman.services.registry import service as registry
from pointsman.services.runtime import buckets
from tests.integration.test_cli_settings import Shell
from tests.support.worlds import RealWorld, context

ANN = Actor(sub="ann", roles=(Role.ADMIN,))


@pytest.fixture
async def shell(tmp_path: Path) -> AsyncIterator[Shell]:
    """Servers a1 and a2 in pool a, b1 in pool b."""
    world = RealWorld(tmp_path)
    await world.start()
    try:
        bus = await world.connect()
        await buckets.ensure(bus, relaxed=False, replicas=1)
        service = registry.build(context(world, bus))
        await service.start()
        for name in ("a1", "a2", "b1"):
            request = ServerRequest(id=name, url="http://127.0.0.1:9000", pool=name[0], groups=(f"rack-{name[1]}",))
            await Client(bus, ANN).servers.register(request)
        yield Shell(nats_url=world._nats.url, nats_user=world._nats.user, nats_password=world._nats.password)
        await service.stop()
    finally:
        await world.close()


async def listed(shell: Shell, *filters: str) -> dict[str, str]:
    return {one["id"]: one["wanted"] for one in (await shell.json("server", "list", *filters))["servers"]}


async def test_a_pool_is_drained_brought_back_and_removed(shell: Shell) -> None:
    assert list(await listed(shell, "--pool", "a")) == ["a1", "a2"]
    assert "http://127.0.0.1:9000/predict" in await shell.says("server", "show", "a1")
    plan = await shell.json("server", "drain", "--pool", "a", "--dry-run")
    assert [(one["serverId"], one["change"], one["done"]) for one in plan["servers"]] == [
        ("a1", "drain", None),
        ("a2", "drain", None),
    ]
    assert await listed(shell, "--pool", "a") == {"a1": "ACTIVE", "a2": "ACTIVE"}
    assert "SLOTS BEFORE" in await shell.says("server", "drain", "--pool", "a", "--reason", "disk", "--yes")
    assert [server for server, wanted in (await listed(shell)).items() if wanted == "ACTIVE"] == ["b1"]
    back = await shell.json("server", "activate", "a1", "--yes")
    assert (back["changed"], (await listed(shell))["a1"]) == (1, "ACTIVE")
    gone = await shell.json("server", "remove", "--group", "rack-1", "--now", "--yes")
    assert [(one["serverId"], one["change"], one["done"]) for one in gone["servers"]] == [
        ("a1", "remove", True),
        ("b1", "remove", True),
    ]
    assert list(await listed(shell)) == ["a2"]


async def test_what_is_not_done_has_an_exit_code(shell: Shell) -> None:
    done = await shell.run("server", "drain", "nobody", "--yes")
    assert (done.returncode, "does not exist" in done.stdout) == (3, True)
    assert (await shell.fails("server", "show", "nobody"))[0] == 3
    for subject in ("*", ">"):
        assert (await shell.fails("server", "show", subject))[0] == 2
    assert (await shell.fails("server", "drain", "--yes"))[0] == 2
    code, why = await shell.fails("server", "drain", "a1")
    assert (code, "--yes" in why) == (2, True)
    assert (await listed(shell))["a1"] == "ACTIVE"
    code, why = await shell.fails("server", "list", "--status", "sleepy")
    assert (code, "degraded" in why) == (2, True)
