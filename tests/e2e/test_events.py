"""Events over HTTP: the life of a task replayed and live, everything with a cursor, and no reader kept for ever."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest

from tests.e2e.conftest import Fleet
from tests.support.rest import Rest
from tests.support.system_up import SystemUp

pytestmark = pytest.mark.asyncio(loop_scope="session")
WITHIN_S = 30.0

Frame = dict[str, Any]


async def frames(response: aiohttp.ClientResponse) -> AsyncIterator[Frame]:
    """Events as they come: id, event, data; comments are left out."""
    frame: Frame = {}
    async for raw in response.content:
        line = raw.decode().rstrip("\n")
        if not line:
            if "data" in frame:
                yield frame
            frame = {}
        elif not line.startswith(":"):
            name, _, value = line.partition(": ")
            frame[name] = json.loads(value) if name == "data" else value


@asynccontextmanager
async def following(
    system: SystemUp, path: str, *, last: str = "", sub: str = "ada", role: str = "admin"
) -> AsyncIterator[AsyncIterator[Frame]]:
    headers = {"Authorization": f"Bearer {await system.token(sub, role)}"} | ({"Last-Event-ID": last} if last else {})
    async with aiohttp.ClientSession() as session, session.get(system.url + path, headers=headers) as response:
        assert response.status == 200, await response.text()
        assert response.headers["Content-Type"] == "text/event-stream"
        async with asyncio.timeout(WITHIN_S):
            yield frames(response)


async def until_end(events: AsyncIterator[Frame]) -> list[Frame]:
    found = []
    async for frame in events:
        found.append(frame)
        if frame["event"] in ("end", "interrupted"):
            break
    return found


async def test_a_task_s_life_is_told_live_and_ends(system: SystemUp, admin: Rest, fleet: Fleet) -> None:
    await fleet.server(mode="slow:300")
    task = (await admin.call("POST", "/api/task", fleet.task(), expect=(202,))).body
    async with following(system, f"/api/task/{task['id']}/events") as events:
        found = await until_end(events)
    assert [frame["event"] for frame in found] == ["submitted", "assigned", "attempt-ended", "completed", "end"]
    assert found[-2]["data"]["status"] == "COMPLETED"
    assert found[1]["data"]["serverId"] == f"{fleet.pool}-0"


async def test_a_reader_that_comes_back_gets_the_rest_and_after_the_end_nothing(
    system: SystemUp, admin: Rest, fleet: Fleet
) -> None:
    await fleet.server("bad", mode="fail:500")
    await fleet.server("good", maxConcurrent=50)
    task = await admin.done(fleet.task(maxAttempts=5))
    path = f"/api/task/{task['id']}/events"
    async with following(system, path) as events:
        whole = await until_end(events)
    ids = [frame["id"] for frame in whole if "id" in frame]
    async with following(system, path, last=ids[1]) as events:
        rest = await until_end(events)
    assert [frame.get("id") for frame in rest] == [frame.get("id") for frame in whole][2:]
    answer = await admin.call("GET", path, headers={"Last-Event-ID": ids[-1]})
    assert answer.status == 204


async def test_everything_is_told_and_a_cursor_replays_what_was_missed(
    system: SystemUp, admin: Rest, fleet: Fleet
) -> None:
    await fleet.server()
    async with following(system, "/api/events") as events:
        first = await admin.done(fleet.task())
        cursor, kinds = "", []
        async for frame in events:
            if frame["data"].get("taskId") == first["id"]:
                kinds.append(frame["event"])
                cursor = frame["id"]
                if frame["event"] == "completed":
                    break
    assert kinds[0] == "submitted"
    assert "assigned" in kinds
    missed = await admin.done(fleet.task())
    async with following(system, f"/api/events?cursor={cursor}") as events:
        async for frame in events:
            assert frame["data"].get("taskId") != first["id"] or frame["event"] != "submitted"
            if frame["data"].get("taskId") == missed["id"] and frame["event"] == "completed":
                break


@pytest.mark.parametrize("cursor", ["x", "1", "1-2-3", "1--2", "-1-2", "9" * 60, "1-２"])
async def test_a_bad_cursor_is_refused_by_name(admin: Rest, cursor: str) -> None:
    answer = await admin.call("GET", f"/api/events?cursor={cursor}")
    assert answer.status == 400
    assert answer.body["errors"][0]["field"] == "cursor"
    answer = await admin.call("GET", "/api/events", headers={"Last-Event-ID": "nonsense"})
    assert (answer.status, answer.body["errors"][0]["field"]) == (400, "Last-Event-ID")


async def test_events_are_for_those_who_may_read(system: SystemUp, admin: Rest, fleet: Fleet) -> None:
    await fleet.server(mode="slow:2000")
    task = (await admin.call("POST", "/api/task", fleet.task(), expect=(202,))).body
    async with system.client("eve", "user") as eve:
        assert (await eve.call("GET", f"/api/task/{task['id']}/events")).status == 404
        assert (await eve.call("GET", "/api/events")).status == 403
