"""A hard limit holds although the process that called the server is gone and the server works on."""

import time

import pytest

from tests.support.backends import Backend
from tests.support.rest import Rest
from tests.support.system_up import eventually, system_up

STUBBORN_S = 9.0
LIMIT = 2


@pytest.mark.timeout(400)
async def test_a_server_that_works_on_for_a_dead_caller_is_not_given_more_than_its_limit():
    async with system_up() as system, await Backend.start(mode=f"stubborn:{STUBBORN_S * 1000:g}") as backend:
        token = await system.token("chaos", "admin")
        async with Rest.connect(system.url, token) as rest:
            server = {"id": "stubborn", "endpoints": backend.endpoints, "async": False, "maxConcurrent": LIMIT}
            await rest.call("POST", "/api/servers", server, expect=(201,))
            tasks = [await rest.accepted({"type": "slow", "timeoutMs": 60_000}) for _ in range(2 * LIMIT)]

            async def both_run() -> bool:
                return (await backend.stats())["running"] == LIMIT

            await eventually(both_run, "the server is busy", within_s=60)
            killed_s = time.monotonic()
            system.kill("instance")
            ended = [await rest.finished(task_id, within_s=150) for task_id in tasks]
            assert {task["status"] for task in ended} == {"COMPLETED"}
            lost = [a for task in ended for a in task["attempts"] if a["outcome"] == "lost"]
            assert len(lost) == LIMIT
            assert all(attempt["finishedAt"] - attempt["startedAt"] < 12_000 for attempt in lost)
            assert (await backend.stats())["peak"] == LIMIT
            print(f"all ended {time.monotonic() - killed_s:.1f} s after the kill")
