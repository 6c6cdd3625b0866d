"""Completion webhooks of a whole system: told though what tells them is killed, checked with the printed secret."""

import asyncio
import subprocess

import pytest

from tests.e2e.conftest import Fleet
from tests.support.backends import Backend
from tests.support.receiver import receiving, until
from tests.support.rest import Rest
from tests.support.system_up import COMMAND, REPOSITORY, SystemUp, system_up

pytestmark = pytest.mark.asyncio(loop_scope="session")
TASKS = 150
POOL = "webhooks"


async def test_the_submitter_is_called_back_with_what_it_would_read(
    system: SystemUp, admin: Rest, fleet: Fleet
) -> None:
    await fleet.server()
    async with receiving() as receiver:
        task = await admin.done(fleet.task(callbackUrl=receiver.url))
        await until(lambda: receiver.taken[task["id"]] == 1, "told")
        read = (await admin.call("GET", f"/api/task/{task['id']}", expect=(200,))).body
        [body] = receiver.bodies()
    assert body == read | {"payload": body.get("payload")}
    assert not body.get("payload")
    printed = await asyncio.to_thread(
        subprocess.run,
        (*COMMAND, "webhook-secret", "--owner", read["owner"], "--data-dir", str(system.data_dir)),
        cwd=REPOSITORY,
        capture_output=True,
        check=True,
        timeout=30,
    )
    assert receiver.are_signed(printed.stdout.decode().strip())


async def test_a_forbidden_url_is_refused_by_name(admin: Rest, fleet: Fleet) -> None:
    answer = await admin.call("POST", "/api/task", fleet.task(callbackUrl="http://169.254.169.254/latest"))
    assert answer.is_problem(422, "callbackUrl")


async def test_nothing_is_lost_when_history_executor_and_broker_are_killed() -> None:
    async with (
        system_up() as system,
        await Backend.start(mode="slow:50") as backend,
        system.client("ada", "admin") as admin,
        receiving() as receiver,
    ):
        server = {"id": "w", "pool": POOL, "endpoints": backend.endpoints, "maxConcurrent": 20}
        await admin.call("POST", "/api/servers", server, expect=(201,))
        accepted: list[str] = []

        async def submit() -> None:
            while len(accepted) < TASKS:
                task = {"type": "scan", "pool": POOL, "callbackUrl": receiver.url, "maxAttempts": 20}
                answer = await admin.call("POST", "/api/task", task, expect=(202, 429, 503))
                if answer.status == 202:
                    accepted.append(answer.body["id"])
                await asyncio.sleep(0.05)

        submitting = asyncio.create_task(submit())
        for number, program in enumerate(("history-statistics", "instance", "nats"), 1):
            await until(lambda floor=number * TASKS // 5: len(accepted) >= floor, "load", within_s=90)  # type: ignore[misc]
            old = system.kill(program)
            await system.restarted(program, old)
        await submitting
        await until(lambda: set(accepted) <= set(receiver.taken), "every end is told", within_s=120)
