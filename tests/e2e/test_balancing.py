"""Which task goes where and when: order, limits, algorithms, maintenance, leaving."""

import asyncio

import pytest

from tests.e2e.conftest import Fleet
from tests.support.rest import Rest
from tests.support.system_up import eventually


async def test_the_urgent_go_first(admin: Rest, fleet: Fleet) -> None:
    await fleet.server(mode="slow:30", maxConcurrent=1)
    blocker = await admin.accepted(fleet.task("slow:800"))
    waiting = [await admin.accepted(fleet.task(priority=priority)) for priority in (0, 5, 10, 0, 10, 5)]
    ended = [await admin.finished(task_id) for task_id in (blocker, *waiting)]
    started = sorted(ended[1:], key=lambda task: task["startedAt"])
    assert [task["priority"] for task in started] == [10, 10, 5, 5, 0, 0]
    assert started[0]["startedAt"] >= ended[0]["finishedAt"]


async def test_a_task_nobody_can_take_holds_up_nobody(admin: Rest, fleet: Fleet) -> None:
    await fleet.server(capabilities=["cpu"])
    stuck = [await admin.accepted(fleet.task(capabilities=["gpu"], priority=10)) for _ in range(20)]
    ended = await admin.all_done([fleet.task(capabilities=["cpu"]) for _ in range(10)], within_s=30)
    assert {task["status"] for task in ended} == {"COMPLETED"}
    assert {(await admin.task(task_id))["status"] for task_id in stuck} == {"PENDING"}
    await fleet.server("gpu", capabilities=["gpu", "cpu"])
    assert {(await admin.finished(task_id))["status"] for task_id in stuck} == {"COMPLETED"}


async def test_a_server_never_has_more_than_its_limit(admin: Rest, fleet: Fleet) -> None:
    sync = await fleet.server("sync", mode="slow:25", maxConcurrent=3)
    later = await fleet.server("later", mode="accepted:25", maxConcurrent=2)
    ended = await admin.all_done([fleet.task() for _ in range(150)])
    assert {task["status"] for task in ended} == {"COMPLETED"}
    assert {task["serverId"] for task in ended} == {sync.id, later.id}
    for server, limit in ((sync, 3), (later, 2)):
        stats = await server.backend.stats()
        assert stats["peak"] == limit
        assert all(count == 1 for count in stats["tasks"].values())


async def test_the_algorithm_is_switched_at_run_time(admin: Rest, fleet: Fleet) -> None:
    servers = [await fleet.server(name, maxConcurrent=100) for name in "abc"]

    async def switch(algorithm: str) -> None:
        body = {"algorithm": algorithm, "pool": fleet.pool}
        answer = await admin.call("POST", "/api/stats/load-balancer/algorithm", body, expect=(200,))
        assert answer.body["algorithm"] == algorithm

    async def shares(count: int) -> list[int]:
        before = [(await server.backend.stats())["calls"] for server in servers]
        for _ in range(count):
            await admin.submit(fleet.task(), wait=10)
        return [(await s.backend.stats())["calls"] - b for s, b in zip(servers, before, strict=True)]

    await switch("first")
    assert await shares(12) == [12, 0, 0]
    await switch("round-robin")
    assert await shares(12) == [4, 4, 4]
    balance = (await admin.call("GET", "/api/stats/load-balancer", expect=(200,))).body
    assert balance["pools"][fleet.pool]["algorithm"] == "round-robin"
    unknown = await admin.call("POST", "/api/stats/load-balancer/algorithm", {"algorithm": "psychic"})
    assert unknown.is_problem(400, "consistent-hash")


@pytest.mark.parametrize(
    "algorithm",
    [
        "weighted-round-robin",
        "least-connections",
        "weighted-least-connections",
        "response-time",
        "p2c",
        "consistent-hash",
        "random",
    ],
)
async def test_every_algorithm_finishes_the_work(admin: Rest, fleet: Fleet, algorithm: str) -> None:
    await fleet.server(mode="slow:5", weight=3)
    await fleet.server(mode="slow:5")
    body = {"algorithm": algorithm, "pool": fleet.pool}
    await admin.call("POST", "/api/stats/load-balancer/algorithm", body, expect=(200,))
    ended = await admin.all_done([fleet.task(affinityKey=f"k{n % 5}") for n in range(40)])
    assert {task["status"] for task in ended} == {"COMPLETED"}


async def test_a_server_in_maintenance_finishes_what_runs_and_gets_nothing_new(admin: Rest, fleet: Fleet) -> None:
    server = await fleet.server(mode="slow:1500")
    running = await admin.accepted(fleet.task())

    async def is_called() -> bool:
        return int((await server.backend.stats())["calls"]) == 1

    await eventually(is_called, "the task runs")
    path = f"/api/servers/{server.id}/maintenance"
    answer = await admin.call("POST", path, {"maintenance": True, "reason": "new driver"}, expect=(200,))
    assert answer.body["message"] == f"Maintenance mode enabled for server {server.id}"
    waiting = await admin.accepted(fleet.task("ok"))
    assert (await admin.finished(running))["status"] == "COMPLETED"

    async def is_out() -> bool:
        shown = (await admin.call("GET", f"/api/servers/{server.id}", expect=(200,))).body
        return bool(shown["status"] == "maintenance")

    await eventually(is_out, "the server is in maintenance")
    assert (await admin.task(waiting))["status"] == "PENDING"
    assert (await server.backend.stats())["calls"] == 1
    await admin.call("POST", path, {"enabled": False}, expect=(200,))
    assert (await admin.finished(waiting))["status"] == "COMPLETED"


async def test_an_unregistered_server_gets_nothing_more(admin: Rest, fleet: Fleet) -> None:
    leaving, staying = await fleet.server("leaving"), await fleet.server("staying")
    answer = await admin.call("DELETE", f"/api/servers/{leaving.id}", expect=(200,))
    assert answer.body == {"serverId": leaving.id, "message": "Server unregistered"}
    before = (await leaving.backend.stats())["calls"]
    ended = await admin.all_done([fleet.task() for _ in range(12)])
    assert {task["serverId"] for task in ended} == {staying.id}
    assert (await leaving.backend.stats())["calls"] == before
    assert (await admin.call("GET", f"/api/servers/{leaving.id}")).is_problem(404)
    assert (await admin.call("DELETE", f"/api/servers/{leaving.id}")).is_problem(404)


async def test_a_draining_server_ends_its_work_and_goes(admin: Rest, fleet: Fleet) -> None:
    server = await fleet.server(mode="slow:800")
    running = await admin.accepted(fleet.task())

    async def is_called() -> bool:
        return int((await server.backend.stats())["calls"]) == 1

    await eventually(is_called, "the task runs")
    await admin.call("DELETE", f"/api/servers/{server.id}?drain=true", expect=(202,))
    assert (await admin.finished(running))["status"] == "COMPLETED"

    async def is_gone() -> bool:
        return (await admin.call("GET", f"/api/servers/{server.id}")).status == 404

    await eventually(is_gone, "the server is gone")


async def test_a_server_gets_nothing_before_its_first_good_probe(admin: Rest, fleet: Fleet) -> None:
    server = await fleet.server(health="bad")
    waiting = [await admin.accepted(fleet.task()) for _ in range(5)]

    async def was_probed() -> bool:
        return int((await server.backend.stats())["healthCalls"]) >= 2

    await eventually(was_probed, "the server was probed twice")
    assert (await server.backend.stats())["calls"] == 0
    assert {(await admin.task(task_id))["status"] for task_id in waiting} == {"PENDING"}
    await server.backend.set_health("ok")
    ended = await asyncio.gather(*(admin.finished(task_id) for task_id in waiting))
    assert {task["status"] for task in ended} == {"COMPLETED"}
