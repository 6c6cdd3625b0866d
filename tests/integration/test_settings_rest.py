"""Settings over REST on a real broker: gateway, balancer and task service together, without servers."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import quote

import jwt
import msgspec
import pytest

from pointsman.services.balancer.service import BalancerService
from pointsman.services.gateway import service as gateway
from pointsman.services.runtime import buckets
from pointsman.services.task.service import TaskService
from tests.support.rest import Rest
from tests.support.system_up import eventually
from tests.support.worlds import SECRET, RealWorld, context


@pytest.fixture
async def admin(tmp_path: Path) -> AsyncIterator[Rest]:
    world = RealWorld(tmp_path)
    await world.start()
    port = _free_port()
    world.settings = msgspec.structs.replace(world.settings, port=port)
    bus = await world.connect()
    await buckets.ensure(bus, relaxed=False, replicas=1)
    parts = [BalancerService(context(world, bus)), TaskService(context(world, bus)), gateway.build(context(world, bus))]
    for part in parts:
        await part.start()
    now = int(time.time())
    token = jwt.encode({"sub": "ada", "roles": ["admin"], "iat": now, "exp": now + 600}, SECRET, "HS256")
    try:
        async with Rest.connect(f"http://127.0.0.1:{port}", token) as rest:
            yield rest
    finally:
        for part in reversed(parts):
            await part.stop()
        await world.close()


async def test_changes_carry_entity_tags_and_can_be_undone(admin: Rest) -> None:
    path = "/api/pools/p"
    first = await admin.call("PATCH", path, {"algorithm": "first"}, expect=(200,))
    second = await admin.call("PATCH", path, {"algorithm": "round-robin"}, expect=(200,))
    undone = await admin.call("POST", f"{path}/undo", expect=(200,))
    assert (undone.body["algorithm"], undone.body["by"]) == ("first", "ada")
    assert (await admin.call("POST", f"{path}/undo", expect=(200,))).body["algorithm"] == "round-robin"
    stale = {"If-Match": second.headers["ETag"]}
    assert (await admin.call("PUT", path, {}, headers=stale)).is_problem(412)
    shown = await admin.call("GET", path, expect=(200,))
    assert shown.body["revision"] > first.body["revision"]
    replaced = await admin.call(
        "PUT", path, {"maxBacklog": 9}, headers={"If-Match": shown.headers["ETag"]}, expect=(200,)
    )
    assert (replaced.body["algorithm"], replaced.body["maxBacklog"]) == ("response-time", 9)
    assert replaced.body in (await admin.call("GET", "/api/pools", expect=(200,))).body["pools"]


async def test_bad_input_lists_what_exists(admin: Rest) -> None:
    assert (await admin.call("PATCH", "/api/pools/p", {"algorithm": "psychic"})).is_problem(400, "consistent-hash")
    assert (await admin.call("GET", "/api/pools/none")).is_problem(404, "default")
    assert (await admin.call("POST", "/api/pools/none/undo")).is_problem(404, "default")
    assert (await admin.call("PUT", "/api/limits/moon/x", {"maxConcurrent": 1})).is_problem(400, "pool, type, key")
    assert (await admin.call("PUT", "/api/limits/key/x", {"maxConcurrent": -1})).is_problem(400, "maxConcurrent")
    assert (await admin.call("DELETE", "/api/limits/pool/a%20b")).is_problem(400, "name")
    assert (await admin.call("GET", "/api/types/nothing")).is_problem(404, "not declared")
    assert (await admin.call("PUT", "/api/types/x", {"schema": {"type": "strange"}})).is_problem(400, "schema")


async def test_a_limit_of_any_key_is_set_listed_and_cleared(admin: Rest) -> None:
    for name in ("a/b", "//", "ä ?#%2F", "a.b", "*"):
        path = f"/api/limits/key/{quote(name, safe='')}"
        made = await admin.call("PUT", path, {"maxConcurrent": 3, "rate": {"perSecond": 2}}, expect=(200,))
        assert (made.body["kind"], made.body["name"]) == ("key", name)
        assert made.body["limit"] == {"maxConcurrent": 3, "rate": {"perSecond": 2.0, "burst": 1}}
        listed = (await admin.call("GET", "/api/limits", expect=(200,))).body["limits"]
        assert [one["limit"] for one in listed if one["name"] == name] == [made.body["limit"]]
        await admin.call("DELETE", path, expect=(200,))
        assert (await admin.call("DELETE", path)).is_problem(404)
    assert (await admin.call("PUT", "/api/limits/key/a/b", {"maxConcurrent": 1})).is_problem(404)


async def test_a_full_backlog_refuses_and_lets_in_what_goes_out(admin: Rest) -> None:
    """Nobody serves the pool, so it fills up to its limit exactly: one replica of the task service knows its own."""
    await admin.call("PATCH", "/api/pools/p", {"maxBacklog": 20}, expect=(200,))
    task = {"type": "x", "pool": "p"}
    first = (await admin.submit(task)).body["id"]

    async def is_known() -> bool:
        return (await admin.call("GET", "/api/pools/p", expect=(200,))).body["maxBacklog"] == 20

    await eventually(is_known, "the limit is known")
    replies = await asyncio.gather(*(admin.submit(task) for _ in range(50)))
    refused = [reply for reply in replies if reply.status == 429]
    assert len(refused) == 31
    assert refused[0].is_problem(429, "pool p")
    assert all(1 <= int(reply.headers["Retry-After"]) <= 300 for reply in refused)
    items = {"tasks": [task, {"type": "x", "pool": "q"}]}
    full, elsewhere = (await admin.call("POST", "/api/tasks/batch", items, expect=(200,))).body["results"]
    assert (full["code"], elsewhere["status"]) == (429, "PENDING")
    await admin.call("DELETE", f"/api/task/{first}", expect=(200,))

    async def is_let_in() -> bool:
        return (await admin.submit(task)).status == 202

    await eventually(is_let_in, "there is room for one again", within_s=5)


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port
