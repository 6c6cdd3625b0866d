"""Registry and prober on a real broker, with a real backend: from registration to health, and out again."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest

from pointsman.client import call, nats_bus
from pointsman.client.bus import Message
from pointsman.client.nats_bus import NatsBus
from pointsman.contracts.actor import Actor, Role
from pointsman.contracts.errors import PointsmanError
from pointsman.contracts.server import Server, ServerMetricsAnswer, ServerPage
from pointsman.contracts.subjects import HEADER_STATUS, verb
from pointsman.services.instance import service as instance
from pointsman.services.registry import service as registry
from pointsman.services.runtime import buckets
from pointsman.services.runtime.clock import SystemClock
from pointsman.services.runtime.context import Context, RunningService
from tests.support.backends import Backend
from tests.support.systems import Stores, embedded

ADMIN = Actor(sub="ann", roles=(Role.ADMIN,))
WITHIN_S = 40.0
TAKEN_OVER_WITHIN_S = 15.0

Build = Callable[[Context], RunningService]


@pytest.fixture
async def stores(tmp_path: Path) -> AsyncIterator[Stores]:
    async with embedded(tmp_path) as stores:
        yield stores


@asynccontextmanager
async def connected(stores: Stores) -> AsyncIterator[NatsBus]:
    given = stores.nats_settings
    bus = await nats_bus.connect(given.url, name="test", user=given.user, password=given.password)
    try:
        yield bus
    finally:
        await bus.close()


@asynccontextmanager
async def started(stores: Stores, bus: NatsBus, name: str, *builds: Build) -> AsyncIterator[None]:
    context = Context(bus, stores.settings, SystemClock(), name)
    running = [build(context) for build in builds]
    for service in running:
        await service.start()
    try:
        yield
    finally:
        for service in reversed(running):
            await service.stop()


@pytest.fixture
async def bus(stores: Stores) -> AsyncIterator[NatsBus]:
    """A broker with a registry and an instance service on it."""
    async with connected(stores) as bus:
        await buckets.ensure(bus, relaxed=False, replicas=1)
        async with started(stores, bus, "host-1", registry.build, instance.build):
            yield bus


async def ask(bus: NatsBus, name: str, actor: Actor = ADMIN, service: str = "registry", **body: object) -> Message:
    return await call.call(bus, verb(service, name), msgspec.json.encode(body), actor)


async def status_of(bus: NatsBus, server_id: str) -> tuple[str, str]:
    server = msgspec.json.decode((await ask(bus, "get", id=server_id)).data, type=Server)
    return server.status, server.health.state


async def becomes(bus: NatsBus, server_id: str, status: str, state: str) -> None:
    async def claim() -> bool:
        return await status_of(bus, server_id) == (status, state)

    await until(claim)


async def until(claim: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(WITHIN_S):
        while not await claim():
            await asyncio.sleep(0.05)


async def refused(work: Awaitable[object]) -> int:
    with pytest.raises(PointsmanError) as refusal:
        await work
    return refusal.value.status


async def test_a_server_s_way_from_registration_to_removal(bus: NatsBus) -> None:
    async with await Backend.start() as backend:
        server = {"id": "a.1", "name": "a", "endpoints": backend.endpoints, "async": False}
        first = await ask(bus, "register", server=server)
        again = await ask(bus, "register", server=server)
        assert (first.headers[HEADER_STATUS], again.headers[HEADER_STATUS]) == ("201", "200")
        await becomes(bus, "a.1", "online", "WARMING")

        await ask(bus, "maintenance", id="a.1", maintenance={"maintenance": True})
        await becomes(bus, "a.1", "maintenance", "WARMING")
        await ask(bus, "maintenance", id="a.1", maintenance={"maintenance": False})
        await becomes(bus, "a.1", "online", "WARMING")

        metrics = msgspec.json.decode((await ask(bus, "metrics", id="a.1")).data, type=ServerMetricsAnswer).metrics
        assert (metrics.tasks_processed, metrics.healthy, metrics.status) == (0, True, "online")

        draining = await ask(bus, "unregister", id="a.1", drain=True)
        assert draining.headers[HEADER_STATUS] == "202"

        async def is_gone() -> bool:
            page = msgspec.json.decode((await ask(bus, "list")).data, type=ServerPage)
            return page.servers == ()

        await until(is_gone)
        assert await refused(ask(bus, "get", id="a.1")) == 404
        assert (await ask(bus, "register", server=server)).headers[HEADER_STATUS] == "201"
        await becomes(bus, "a.1", "online", "WARMING")


async def test_a_dead_server_is_taken_out_and_comes_back(bus: NatsBus) -> None:
    async with await Backend.start() as backend:
        await ask(bus, "register", server={"id": "b", "endpoints": backend.endpoints})
        await becomes(bus, "b", "online", "WARMING")
        await backend.set_health("bad")
        await becomes(bus, "b", "offline", "UNHEALTHY")
        await backend.set_health("ok")
        await becomes(bus, "b", "degraded", "RECOVERING")
        checks = msgspec.json.decode((await ask(bus, "status", service="instance")).data)["checks"]
        assert checks["b"]["lastCheck"] > 0


async def test_a_prober_that_vanishes_is_replaced_within_seconds(stores: Stores) -> None:
    """A lease lasts 6 s and a standby asks for it every 0.75 s; then it looks at every server within 5 s."""
    async with connected(stores) as bus, connected(stores) as doomed, await Backend.start() as backend:
        await buckets.ensure(bus, relaxed=False, replicas=1)
        async with (
            started(stores, bus, "host-0", registry.build),
            started(stores, doomed, "host-1", instance.build),
        ):
            await ask(bus, "register", server={"id": "d", "endpoints": backend.endpoints})
            await becomes(bus, "d", "online", "WARMING")
            async with started(stores, bus, "host-2", instance.build):
                await doomed.close()
                seen, began_s = (await backend.stats())["healthCalls"], time.monotonic()
                await until(lambda: is_prober(bus, "host-2"))
                await backend.kill()
                await becomes(bus, "d", "degraded", "SUSPECT")
                took_s = time.monotonic() - began_s
    assert seen > 0
    assert took_s < TAKEN_OVER_WITHIN_S, took_s
    print(f"taken over, and the first change seen, {took_s:.1f} s after the prober vanished")


async def is_prober(bus: NatsBus, name: str) -> bool:
    status = msgspec.json.decode((await ask(bus, "status", service="instance")).data)
    return bool(status["prober"]) and status["executor"] == name


async def test_who_may_do_what(bus: NatsBus) -> None:
    viewer, user = Actor(sub="v", roles=(Role.VIEWER,)), Actor(sub="u", roles=(Role.USER,))
    server = {"id": "c", "url": "http://127.0.0.1:1024"}
    for actor in (viewer, user, Actor(sub="o", roles=(Role.OPERATOR,))):
        assert await refused(ask(bus, "register", actor, server=server)) == 403
        assert await refused(ask(bus, "unregister", actor, id="c")) == 403
    await ask(bus, "register", server=server)
    await ask(bus, "get", viewer, id="c")
    for name in ("get", "list", "metrics"):
        assert await refused(ask(bus, name, user, **({} if name == "list" else {"id": "c"}))) == 403
    assert await refused(ask(bus, "maintenance", viewer, id="c", maintenance={"enabled": True})) == 403
    assert await refused(ask(bus, "list", limit="5")) == 400
    assert await refused(ask(bus, "register", server=server | {"nonsense": 1})) == 400
    assert await refused(ask(bus, "register", server={"url": "http://10.0.0.1"})) == 422
