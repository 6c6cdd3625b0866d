"""What operators set while all runs: over REST, and what tasks then meet."""

import asyncio

from tests.e2e.conftest import Fleet
from tests.support.rest import Json, Rest
from tests.support.system_up import SystemUp, eventually


async def test_a_pool_is_switched_within_a_second_and_switched_back_by_undo(admin: Rest, fleet: Fleet) -> None:
    servers = [await fleet.server(name, maxConcurrent=100) for name in "abc"]
    path = f"/api/pools/{fleet.pool}"

    async def used(count: int = 6) -> list[int]:
        before = [(await server.backend.stats())["calls"] for server in servers]
        for _ in range(count):
            await admin.submit(fleet.task(), wait=10)
        return [(await s.backend.stats())["calls"] - b for s, b in zip(servers, before, strict=True)]

    shown = await admin.call("GET", path, expect=(200,))
    assert (shown.body["revision"], shown.body["changes"], shown.headers["ETag"]) == (0, [], '"0"')
    await admin.call("PATCH", path, {"algorithm": "first"}, expect=(200,))
    assert await used() == [6, 0, 0]
    switched = await admin.call("PATCH", path, {"algorithm": "round-robin"}, expect=(200,))
    assert await used() == [2, 2, 2]
    assert [change["by"] for change in switched.body["changes"]] == ["ada", "ada"]
    undone = await admin.call("POST", f"{path}/undo", expect=(200,))
    assert undone.body["algorithm"] == "first"
    assert await used() == [6, 0, 0]
    redone = await admin.call("POST", f"{path}/undo", expect=(200,))
    assert redone.body["algorithm"] == "round-robin"
    stale = {"If-Match": switched.headers["ETag"]}
    assert (await admin.call("PUT", path, {"algorithm": "p2c"}, headers=stale)).is_problem(412)
    fresh = {"If-Match": redone.headers["ETag"]}
    replaced = await admin.call("PUT", path, {"maxBacklog": 9}, headers=fresh, expect=(200,))
    assert (replaced.body["algorithm"], replaced.body["maxBacklog"]) == ("response-time", 9)
    again = await admin.call("PUT", path, {"maxBacklog": 9}, expect=(200,))
    assert again.body["revision"] == replaced.body["revision"]
    listed = (await admin.call("GET", "/api/pools", expect=(200,))).body["pools"]
    assert replaced.body in listed


async def test_a_limit_holds_at_once_and_lets_go_at_once(admin: Rest, fleet: Fleet) -> None:
    await fleet.server(maxConcurrent=10)
    path = f"/api/limits/pool/{fleet.pool}"
    await admin.call("PUT", path, {"maxConcurrent": 0}, expect=(200,))
    task_id = await admin.accepted(fleet.task())

    async def is_stopped() -> bool:
        explained = await admin.call("GET", f"/api/task/{task_id}/explain", expect=(200,))
        return bool(explained.body["gate"] == "pool-limit")

    await eventually(is_stopped, "the task waits at the limit of its pool")
    await admin.call("DELETE", path, expect=(200,))
    assert (await admin.finished(task_id, within_s=5))["status"] == "COMPLETED"


async def test_a_declared_type_fills_in_defaults_and_checks_payloads(admin: Rest, fleet: Fleet) -> None:
    await fleet.server(capabilities=["gpu", "fast"])
    name = f"{fleet.pool}.resize"
    declared = {
        "pool": fleet.pool,
        "priority": 7,
        "capabilities": ["gpu"],
        "timeoutMs": 4_000,
        "maxAttempts": 2,
        "schema": {"required": ["url"], "properties": {"url": {"type": "string", "pattern": "^s3://"}}},
    }
    made = await admin.call("PUT", f"/api/types/{name}", declared, expect=(200,))
    assert made.body["schema"] == declared["schema"]
    wanted: Json = {"type": name, "payload": {"url": "s3://a"}, "capabilities": ["fast"]}

    async def is_known() -> Json:
        task = (await admin.submit(wanted, wait=10)).body
        assert task["priority"] == 7, task
        return dict(task)

    task = await eventually(is_known, "the declaration is known", within_s=1)
    assert (task["status"], task["pool"], task["timeoutMs"], task["maxAttempts"]) == ("COMPLETED", fleet.pool, 4_000, 2)
    assert task["capabilities"] == ["fast", "gpu"]
    own = (await admin.submit({**wanted, "priority": 0, "timeoutMs": 5_000}, wait=10)).body
    assert (own["priority"], own["timeoutMs"]) == (0, 5_000)
    bad = {**wanted, "payload": {"url": "http://a"}}
    assert (await admin.submit(bad)).is_problem(400, "payload.url")
    batch = await admin.call("POST", "/api/tasks/batch", {"tasks": [wanted, bad]}, expect=(200,))
    good, refused = batch.body["results"]
    assert good["status"] == "PENDING"
    assert refused["code"] == 400 and "payload.url" in refused["error"] and "pattern" in refused["error"]
    await admin.call("DELETE", f"/api/types/{name}", expect=(200,))
    assert (await admin.call("GET", f"/api/types/{name}")).is_problem(404)
    back = await admin.call("POST", f"/api/types/{name}/undo", expect=(200,))
    assert (back.body["declared"], back.body["timeoutMs"]) == (True, 4_000)


async def test_a_full_backlog_refuses_with_an_honest_retry_after(admin: Rest, fleet: Fleet) -> None:
    """Nobody serves the pool, so it fills up; then what is let in is what goes out."""
    await admin.call("PATCH", f"/api/pools/{fleet.pool}", {"maxBacklog": 20}, expect=(200,))
    replies = await asyncio.gather(*(admin.submit(fleet.task()) for _ in range(50)))
    accepted = [reply.body["id"] for reply in replies if reply.status == 202]
    refused = [reply for reply in replies if reply.status == 429]
    assert (len(accepted), len(refused)) == (20, 30)
    assert refused[0].is_problem(429, fleet.pool)
    assert all(1 <= int(reply.headers["Retry-After"]) <= 300 for reply in refused)
    assert refused[0].body["type"].endswith("overloaded")
    batch = await admin.call("POST", "/api/tasks/batch", {"tasks": [fleet.task(), {"type": "e2e"}]}, expect=(200,))
    full, elsewhere = batch.body["results"]
    assert full["code"] == 429 and elsewhere["status"] == "PENDING"
    await fleet.server()
    assert {(await admin.finished(task_id))["status"] for task_id in accepted} == {"COMPLETED"}

    async def is_let_in() -> bool:
        return (await admin.submit(fleet.task())).status == 202

    await eventually(is_let_in, "there is room again", within_s=3)
    await admin.call("DELETE", f"/api/task/{elsewhere['id']}", expect=(200,))


async def test_one_owner_does_not_fill_the_line_of_another(admin: Rest, fleet: Fleet, system: SystemUp) -> None:
    await admin.call("PATCH", f"/api/pools/{fleet.pool}", {"maxBacklogPerOwner": 5}, expect=(200,))
    async with system.client("greedy", "user") as greedy, system.client("modest", "user") as modest:
        statuses = [(await greedy.submit(fleet.task())).status for _ in range(8)]
        assert statuses == [202] * 5 + [429] * 3
        assert (await modest.submit(fleet.task())).status == 202
