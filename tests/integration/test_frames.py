"""Frames on a real broker: who gets them and how often, what they say of known work, who goes on when the teller dies."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec
import pytest

from pointsman.client.bus import Bus
from pointsman.client.client import Client
from pointsman.contracts.actor import Actor, Role
from pointsman.contracts.lifecycle import is_terminal
from pointsman.contracts.server import Endpoints, ServerRequest
from pointsman.contracts.task import TaskRequest
from pointsman.services.balancer import service as balancer
from pointsman.services.instance import service as instance
from pointsman.services.registry import service as registry
from pointsman.services.runtime import buckets
from pointsman.services.runtime.context import RunningService
from pointsman.services.statistics import service as statistics
from pointsman.services.task import service as task
from tests.support.backends import Backend
from tests.support.viewing import Viewer
from tests.support.worlds import RealWorld, context

ADMIN = Actor(sub="root", roles=(Role.ADMIN,))
WITHIN_S = 30.0


@dataclass
class Stage:
    world: RealWorld
    bus: Bus
    client: Client
    statistics: RunningService

    async def register(self, name: str, backend: Backend, **more: object) -> None:
        endpoints = Endpoints(predict=f"{backend.url}/predict", health=f"{backend.url}/health")
        await self.client.servers.register(ServerRequest(id=name, endpoints=endpoints, is_async=False, **more))  # type: ignore[arg-type]

    async def run(self, count: int, behave: str = "ok") -> None:
        """So many tasks, to their ends."""
        payload = msgspec.Raw(b'{"behave":"%b"}' % behave.encode())
        requests = [TaskRequest(type="resize", payload=payload) for _ in range(count)]
        accepted = await self.client.tasks.submit_many(requests)
        ids = [one.id for one in accepted.results if one.id is not None]
        assert len(ids) == count
        ended = await asyncio.gather(*(self.client.tasks.wait(one, WITHIN_S) for one in ids))
        assert all(is_terminal(one.status) for one in ended)


@asynccontextmanager
async def staged(tmp_path: Path) -> AsyncIterator[Stage]:
    async with AsyncExitStack() as stack:
        world = RealWorld(tmp_path)
        await world.start()
        stack.push_async_callback(world.close)
        bus = await world.connect()
        await buckets.ensure(bus, relaxed=True, replicas=1)
        started = {}
        for module in (registry, task, balancer, instance, statistics):
            running = started[module] = module.build(context(world, bus))
            await running.start()
            stack.push_async_callback(running.stop)
        yield Stage(world, bus, Client(bus, ADMIN), started[statistics])


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    async with staged(tmp_path) as stage:
        yield stage


@pytest.fixture
async def backend() -> AsyncIterator[Backend]:
    async with await Backend.start() as backend:
        yield backend


async def test_a_viewer_sees_the_work_that_was_done(stage: Stage, backend: Backend) -> None:
    async with Viewer(stage.bus) as viewer:
        await stage.register("gpu-1", backend, max_concurrent=4)
        await viewer.until(lambda sight: "gpu-1" in sight.rows and sight.last.flow.slots == 4, "the server takes tasks")  # type: ignore[union-attr]
        await stage.run(40)
        await stage.run(3, "fail:422")
        frame = await viewer.until(lambda sight: sight.last.flow.failed, "failures are told")  # type: ignore[union-attr]
        await viewer.until(lambda sight: (sight.pulses["gpu-1"].error_rate or 0) > 0, "its errors are told")
    flow, pulse = frame.flow, viewer.sight.pulses["gpu-1"]
    print(flow, pulse)
    assert flow.fail_rate == pytest.approx(3 / 43, abs=0.001)
    assert pulse.error_rate == pytest.approx(3 / 43, abs=0.001)
    assert (pulse.share, pulse.fair) == (1.0, 1.0)
    assert flow.run_p95 is not None
    assert viewer.snapshots == 1
