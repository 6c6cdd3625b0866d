"""Events over HTTP: the life of a task replayed and live, everything with a cursor, and no reader kept for ever."""

import asyncio
import json
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest

from pointsman.client import nats_bus
from pointsman.client.client import Client
from pointsman.contracts.actor import Actor, Role
from pointsman.contracts.errors import PointsmanError
from tests.e2e.conftest import Fleet
from tests.support.backends import Backend
from tests.support.rest import Rest
from tests.support.stuck import stuck_reader
from tests.support.system_up import COMMAND, REPOSITORY, SystemUp, eventually, system_up

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
            if path.startswith("/api/events"):
                await response.content.readuntil(b"\n\n")  # the greeting: from here on nothing is left out
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


async def test_an_id_of_another_task_hides_nothing(system: SystemUp, admin: Rest, fleet: Fleet) -> None:
    await fleet.server(mode="slow:300")
    task = (await admin.call("POST", "/api/task", fleet.task(), expect=(202,))).body
    for _ in ("while it runs", "when it has ended"):
        async with following(system, f"/api/task/{task['id']}/events", last="9-9-4-0") as events:
            told = [frame["event"] for frame in await until_end(events)]
        assert (told[0], told[-2:]) == ("submitted", ["completed", "end"])


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


@asynccontextmanager
async def client_of(system: SystemUp, *roles: Role, sub: str = "ada") -> AsyncIterator[Client]:
    url, user, password = system.nats
    bus = await nats_bus.connect(url, name="test", user=user, password=password)
    try:
        yield Client(bus, Actor(sub=sub, roles=roles))
    finally:
        await bus.close()


async def test_a_task_s_life_is_told_over_nats_too_and_to_those_who_may_see_it(
    system: SystemUp, admin: Rest, fleet: Fleet
) -> None:
    await fleet.server(mode="slow:300")
    task = (await admin.call("POST", "/api/task", fleet.task(), expect=(202,))).body
    async with client_of(system, Role.ADMIN) as client, asyncio.timeout(WITHIN_S):
        told = [event.event async for event in client.tasks.events(task["id"])]
        assert [event.event async for event in client.tasks.events(task["id"])] == told
    assert told == ["submitted", "assigned", "attempt-ended", "completed"]
    async with client_of(system, Role.USER, sub="eve") as client:
        with pytest.raises(PointsmanError, match="not found"):
            await anext(aiter(client.tasks.events(task["id"])))


async def printed(system: SystemUp, *arguments: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *(*COMMAND, "events", "--data-dir", str(system.data_dir), *arguments),
        cwd=REPOSITORY,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


async def test_the_command_prints_the_life_of_a_task(system: SystemUp, admin: Rest, fleet: Fleet) -> None:
    await fleet.server("bad", mode="fail:500")
    task = await admin.done(fleet.task(maxAttempts=1))
    process = await printed(system, "--task", task["id"])
    out, _ = await asyncio.wait_for(process.communicate(), WITHIN_S)
    assert [line.split()[2] for line in out.decode().splitlines()] == [
        "submitted",
        "assigned",
        "attempt-ended",
        "failed",
    ]
    process = await printed(system, "--task", "task_" + "0" * 32)
    _, err = await asyncio.wait_for(process.communicate(), WITHIN_S)
    assert (process.returncode, b"not found" in err) == (3, True)


async def test_the_command_follows_everything_from_a_cursor(system: SystemUp, admin: Rest, fleet: Fleet) -> None:
    await fleet.server()
    async with following(system, "/api/events") as events:
        first = await admin.done(fleet.task())
        async for frame in events:
            if frame["data"].get("taskId") == first["id"] and frame["event"] == "completed":
                break
    missed = await admin.done(fleet.task())
    process = await printed(system, "--since", frame["id"], "-o", "jsonl")
    try:
        assert process.stdout is not None
        async with asyncio.timeout(WITHIN_S):
            while True:
                event = json.loads(await process.stdout.readline())
                assert event["taskId"] != first["id"] or event["event"] != "completed"
                if event["taskId"] == missed["id"] and event["event"] == "completed":
                    break
    finally:
        process.send_signal(signal.SIGINT)
        await asyncio.wait_for(process.communicate(), WITHIN_S)
    assert process.returncode == 130
    process = await printed(system, "--since", "nonsense")
    await asyncio.wait_for(process.communicate(), WITHIN_S)
    assert process.returncode == 2


async def test_a_reader_that_stands_still_is_dropped_while_others_read_on(
    system: SystemUp, admin: Rest, fleet: Fleet
) -> None:
    await fleet.server(maxConcurrent=50)
    with stuck_reader(system, await system.token("ada", "admin"), "/api/events") as stuck:
        await stuck.served()
        async with following(system, "/api/events") as events:
            tasks = [{"type": "scan", "pool": fleet.pool, "labels": {"padding": "x" * 200}}] * 200
            batch = (await admin.call("POST", "/api/tasks/batch", {"tasks": tasks})).body
            left = {item["id"] for item in batch["results"]}
            async for frame in events:
                if frame["event"] == "completed":
                    left.discard(frame["data"]["taskId"])
                if not left:
                    break
        await stuck.dropped()


async def test_a_cursor_outlives_restarts_of_the_gateway_and_of_the_broker() -> None:
    async with (
        system_up() as system,
        await Backend.start() as backend,
        system.client("ada", "admin") as admin,
    ):
        server = {"id": "e", "endpoints": backend.endpoints, "maxConcurrent": 20}
        await admin.call("POST", "/api/servers", server, expect=(201,))
        for program in ("gateway", "nats"):
            async with following(system, "/api/events") as events:
                task = await admin.done({"type": "scan"}, within_s=60)
                cursor = ""
                async for frame in events:
                    cursor = frame.get("id", cursor)
                    if frame["data"].get("taskId") == task["id"] and frame["event"] == "completed":
                        break
            old = system.kill(program)
            await system.restarted(program, old)
            missed = await eventually_done(system)
            async with following(system, "/api/events", last=cursor) as events:
                found = [frame async for frame in until_completed(events, missed)]
            ended = [frame["data"].get("taskId") for frame in found if frame["event"] == "completed"]
            assert ended[-1] == missed
            assert task["id"] not in ended


async def eventually_done(system: SystemUp) -> str:
    async def done() -> str:
        try:
            async with system.client("ada", "admin") as admin:
                return str((await admin.done({"type": "scan"}, within_s=60))["id"])
        except (aiohttp.ClientError, OSError):
            raise AssertionError("the gateway is away") from None

    return str(await eventually(done, "a task is done", within_s=60))


async def until_completed(events: AsyncIterator[Frame], task_id: str) -> AsyncIterator[Frame]:
    async for frame in events:
        yield frame
        if frame["data"].get("taskId") == task_id and frame["event"] == "completed":
            return
