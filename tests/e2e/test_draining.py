"""Taking a server out at noon: nothing new within a second, nothing lost, and what does not end is handed back."""

import asyncio
import time

from tests.e2e.conftest import Fleet, Server
from tests.support.rest import Json, Rest
from tests.support.system_up import eventually

AT_ONCE, PAUSE_S, ROUNDS, DRAIN_AT = 5, 0.1, 40, 15
NEW_MS_MAX = 1_000


async def drained(admin: Rest, server: Server, **body: object) -> int:
    """Orders maintenance; answers with the time of the command in ms since the epoch."""
    ordered = time.time_ns() // 1_000_000
    await admin.call("POST", f"/api/servers/{server.id}/maintenance", {"enabled": True, **body}, expect=(200,))
    return ordered


def begun_on(server: Server, tasks: list[Json]) -> list[int]:
    return [a["startedAt"] for task in tasks for a in task["attempts"] if a["serverId"] == server.id]


async def is_out(admin: Rest, server: Server) -> bool:
    shown = (await admin.call("GET", f"/api/servers/{server.id}", expect=(200,))).body
    return bool(shown["status"] == "maintenance")


async def test_a_drain_under_load_stops_new_work_within_a_second_and_loses_none(admin: Rest, fleet: Fleet) -> None:
    leaving, staying = await fleet.server(mode="slow:300"), await fleet.server(mode="slow:300")
    sent: list[str] = []
    ordered = 0
    for number in range(ROUNDS):
        if number == DRAIN_AT:
            ordered = await drained(admin, leaving)
        sent += await asyncio.gather(*(admin.accepted(fleet.task()) for _ in range(AT_ONCE)))
        await asyncio.sleep(PAUSE_S)
    ended = await asyncio.gather(*(admin.finished(task_id) for task_id in sent))
    assert [task["status"] for task in ended] == ["COMPLETED"] * len(sent)
    assert {len(task["attempts"]) for task in ended} == {1}
    begun = begun_on(leaving, ended)
    assert any(at < ordered for at in begun), "the server had work before the order"
    latest = max(begun) - ordered
    print(f"last new task {latest} ms after the order; {len(begun)} of {len(sent)} tasks ran there, none lost")
    assert latest <= NEW_MS_MAX
    assert begun_on(staying, ended)
    await eventually(lambda: is_out(admin, leaving), "the drained server is in maintenance")


async def test_what_does_not_end_in_time_is_handed_back_without_spending_an_attempt(admin: Rest, fleet: Fleet) -> None:
    slow = await fleet.server(mode="slow:25000")
    running = await admin.accepted(fleet.task(maxAttempts=1))

    async def is_called() -> bool:
        return int((await slow.backend.stats())["calls"]) == 1

    await eventually(is_called, "the task runs")
    other = await fleet.server()
    await drained(admin, slow, drainTimeoutMs=1_000)
    task = await admin.finished(running, within_s=20)
    assert (task["status"], task["serverId"]) == ("COMPLETED", other.id)


async def test_a_server_that_says_it_drains_gets_nothing_new_and_comes_back(admin: Rest, fleet: Fleet) -> None:
    server = await fleet.server()
    path = f"/api/servers/{server.id}/heartbeat"
    assert (await admin.call("POST", path, {"status": "draining"}, expect=(200,))).body["drain"]
    await eventually(lambda: is_out(admin, server), "what drained is in maintenance")
    waiting = await admin.accepted(fleet.task())
    assert (await server.backend.stats())["calls"] == 0

    async def is_back() -> bool:
        return not (await admin.call("POST", path, {"status": "healthy"}, expect=(200,))).body["drain"]

    await eventually(is_back, "the server is back")
    assert (await admin.finished(waiting))["status"] == "COMPLETED"
