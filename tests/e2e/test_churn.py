"""Limits of every kind that come and go while servers refuse at random: afterwards everything runs."""

import asyncio
from random import Random

from tests.e2e.conftest import Fleet, Server
from tests.support.rest import Json, Rest
from tests.support.system_up import eventually

TASKS, CHURN_S = 800, 10.0
DRAINED_WITHIN_S = 60.0
MODES = ("ok", "retry-after:429:1", "retry-after:429:2", "retry-after:503:1")


async def test_all_tasks_end_once_limits_are_lifted_and_servers_take_them_again(admin: Rest, fleet: Fleet) -> None:
    rng, servers = Random(7), [await fleet.server(name, maxConcurrent=10) for name in ("a", "b", "c")]
    types = [f"{fleet.pool}-{n}" for n in range(3)]
    keys = [f"{fleet.pool}-k{n}" for n in range(3)]
    paths = [f"/api/limits/{kind}/{name}" for kind, names in (("type", types), ("key", keys)) for name in names]
    paths.append(f"/api/limits/pool/{fleet.pool}")
    tasks = [fleet.task(type=rng.choice(types), concurrencyKey=rng.choice(keys)) for _ in range(TASKS)]
    batch = (await admin.call("POST", "/api/tasks/batch", {"tasks": tasks})).body
    ids = {item["id"] for item in batch["results"]}
    assert len(ids) == TASKS
    await churned(admin, paths, servers, rng)
    for server in servers:
        await server.backend.set_mode("ok")
    for path in paths:
        await admin.call("DELETE", path)

    async def left() -> int:
        found = await admin.call(
            "GET", f"/api/tasks?pool={fleet.pool}&status=PENDING,PROCESSING&limit=200", expect=(200,)
        )
        return len(found.body["tasks"])

    async def drained() -> bool:
        return await left() == 0

    assert await left() > 0
    await eventually(drained, "all tasks have ended", within_s=DRAINED_WITHIN_S)


async def churned(admin: Rest, paths: list[str], servers: list[Server], rng: Random) -> None:
    loop = asyncio.get_running_loop()
    until = loop.time() + CHURN_S
    while loop.time() < until:
        path = rng.choice(paths)
        if rng.random() < 0.3:
            await admin.call("DELETE", path)
        else:
            await admin.call("PUT", path, a_limit(rng))
        await rng.choice(servers).backend.set_mode(rng.choice(MODES))


def a_limit(rng: Random) -> Json:
    wishes: tuple[Json, ...] = (
        {"maxConcurrent": 0},
        {"maxConcurrent": rng.randrange(1, 4)},
        {"rate": {"perSecond": rng.choice((0.1, 1, 20)), "burst": rng.randrange(1, 5)}},
        {"maxConcurrent": 1, "rate": {"perSecond": 5, "burst": 1}},
    )
    return rng.choice(wishes)
