"""A real fleet under load: servers crash, freeze and lie, what is shown of them is true, and no task is lost.

HEALTH_SERVERS sets the size of the fleet (8; the whole test has 20).
"""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Coroutine, Iterable
from contextlib import AsyncExitStack, asynccontextmanager

from tests.e2e.conftest import Fleet
from tests.support.backends import Backend
from tests.support.rest import Json, Rest
from tests.support.system_up import eventually

SERVERS = int(os.environ.get("HEALTH_SERVERS", "8"))
BEAT_S, SUBMIT_S = 2.0, 0.1
OUT = ("offline", "UNHEALTHY")


class Scene:
    """A fleet in one pool, its heartbeats, and a stream of tasks that goes round: a liar that is avoided is not found out."""

    def __init__(self, rest: Rest, fleet: Fleet, stack: AsyncExitStack) -> None:
        self.rest = rest
        self.fleet = fleet
        self.stack = stack
        self.backends: dict[str, Backend] = {}
        self.silent: set[str] = set()
        self.accepted: list[str] = []

    async def open(self, count: int) -> None:
        for number in range(count):
            backend = await self.stack.enter_async_context(await Backend.start(mode="slow:20"))
            server_id = f"{self.fleet.pool}-{number:02}"
            self.backends[server_id] = backend
            request = {
                "id": server_id,
                "pool": self.fleet.pool,
                "endpoints": backend.endpoints,
                "maxConcurrent": 4,
                "cancelOnDisconnect": True,
            }
            await self.rest.call("POST", "/api/servers", request, expect=(201,))
        in_turn = {"algorithm": "round-robin", "pool": self.fleet.pool}
        await self.rest.call("POST", "/api/stats/load-balancer/algorithm", in_turn, expect=(200,))

    async def start_again(self, server_id: str) -> None:
        port = self.backends[server_id].port
        self.backends[server_id] = await self.stack.enter_async_context(await Backend.start(mode="slow:20", port=port))

    async def states(self) -> dict[str, tuple[str, str]]:
        page = (await self.rest.call("GET", f"/api/servers?pool={self.fleet.pool}", expect=(200,))).body
        return {server["id"]: (server["status"], server["health"]["state"]) for server in page["servers"]}

    async def beat_for_ever(self) -> None:
        while True:
            beating = [server_id for server_id in self.backends if server_id not in self.silent]
            body = {"status": "healthy"}
            await asyncio.gather(
                *(self.rest.call("POST", f"/api/servers/{name}/heartbeat", body, expect=(200,)) for name in beating)
            )
            await asyncio.sleep(BEAT_S)

    async def submit_for_ever(self) -> None:
        while True:
            self.accepted.append(await self.rest.accepted(self.fleet.task(timeoutMs=2000, maxAttempts=10)))
            await asyncio.sleep(SUBMIT_S)

    async def become(self, servers: Iterable[str], *wanted: tuple[str, str], within_s: float) -> float:
        """Seconds until each of the servers was shown in one of these states."""
        waiting, began_s = set(servers), time.monotonic()

        async def all_have() -> bool:
            states = await self.states()
            waiting.difference_update({name for name in waiting if states[name] in wanted})
            return not waiting

        await eventually(all_have, f"{sorted(waiting)} are {wanted}", within_s=within_s)
        return time.monotonic() - began_s


@asynccontextmanager
async def scene_of(rest: Rest, fleet: Fleet) -> AsyncIterator[Scene]:
    async with AsyncExitStack() as stack:
        scene = Scene(rest, fleet, stack)
        await scene.open(SERVERS)
        try:
            yield scene
        finally:
            for server_id in scene.backends:
                await rest.call("DELETE", f"/api/servers/{server_id}", expect=(200, 404))


@asynccontextmanager
async def running(*works: Coroutine[None, None, None]) -> AsyncIterator[None]:
    """Meanwhile; the first of the works that fails fails the test."""
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(work) for work in works]
        yield
        for task in tasks:
            task.cancel()


async def test_a_fleet_is_shown_as_it_is_and_loses_no_task(admin: Rest, fleet: Fleet) -> None:
    async with scene_of(admin, fleet) as scene:
        names = sorted(scene.backends)
        dead, frozen, liar = names[: max(1, SERVERS // 8)], names[-1], names[-2]
        others = [name for name in names if name not in (*dead, frozen, liar)]
        up = ("online", "WARMING"), ("online", "HEALTHY")
        async with running(scene.beat_for_ever(), scene.submit_for_ever()):
            await scene.become(names, *up, within_s=15)
            seen = await break_and_mend(scene, dead, frozen, liar, up)
            states = await scene.states()
            assert {states[name] for name in others} <= set(up), states
        ended = await asyncio.gather(*(admin.finished(task_id) for task_id in scene.accepted))
        assert {task["status"] for task in ended} == {"COMPLETED"}, summary(ended)
        print({"servers": SERVERS, "tasks": len(ended), **{what: round(s, 1) for what, s in seen.items()}})


async def break_and_mend(
    scene: Scene, dead: list[str], frozen: str, liar: str, up: tuple[tuple[str, str], ...]
) -> dict[str, float]:
    """Seconds until each kind of trouble was shown, and until all were back."""
    scene.silent |= {*dead, frozen}
    await asyncio.gather(*(scene.backends[name].kill() for name in dead))
    scene.backends[frozen].freeze()
    await scene.backends[liar].set_mode("fail:502")
    crashed_s, lied_s, froze_s = await asyncio.gather(
        scene.become(dead, OUT, within_s=10),
        scene.become([liar], OUT, within_s=15),
        scene.become([frozen], OUT, within_s=20),
    )
    await asyncio.gather(*(scene.start_again(name) for name in dead))
    scene.backends[frozen].thaw()
    await scene.backends[liar].set_mode("slow:20")
    scene.silent.clear()
    back_s = await scene.become([*dead, frozen, liar], ("degraded", "RECOVERING"), *up, within_s=45)
    return {"crash": crashed_s, "lie": lied_s, "freeze": froze_s, "back": back_s}


def summary(tasks: list[Json]) -> list[Json]:
    return [task for task in tasks if task["status"] != "COMPLETED"][:3]
