"""Acts from the cockpit on services behind a real broker: what the dialogs promise is what the store then holds."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from textual.widgets import Button, Input

from pointsman.client.bus import Bus
from pointsman.client.client import Client
from pointsman.contracts.actor import Actor, Role
from pointsman.contracts.errors import PointsmanError
from pointsman.contracts.lifecycle import Status
from pointsman.contracts.server import MaintenanceRequest, ServerRequest, Wanted
from pointsman.contracts.task import TaskRequest
from pointsman.services.balancer.service import BalancerService
from pointsman.services.registry.service import RegistryService
from pointsman.services.runtime import buckets
from pointsman.services.task.service import TaskService
from pointsman.tui.acts import Act, Thing, Verb
from pointsman.tui.dialogs.confirm import ConfirmDialog
from tests.support.cockpit_acts import asked, at_server, beat, told
from tests.support.cockpit_world import World
from tests.support.cockpits import Seat, cockpit
from tests.support.worlds import RealWorld, context

NAMES = ("srv-0001", "srv-0002", "srv-0003")
BOB = Actor(sub="bob@ops", roles=(Role.OPERATOR, Role.ADMIN))


@dataclass
class System:
    bus: Bus
    bob: Client
    world: World

    async def told(self) -> None:
        """The rows say what the registry knows."""
        for name in NAMES:
            server = await self.bob.servers.get(name)
            revision = await self.bob.servers.revision(name)
            self.world.change(name, wanted=server.wanted, weight=server.weight, revision=revision)


@pytest.fixture
async def system(tmp_path: Path) -> AsyncIterator[System]:
    real = RealWorld(tmp_path)
    await real.start()
    bus = await real.connect()
    await buckets.ensure(bus, relaxed=False, replicas=1)
    parts = [build(context(real, bus)) for build in (RegistryService, BalancerService, TaskService)]
    for part in parts:
        await part.start()
    bob = Client(bus, BOB)
    for name in NAMES:
        await bob.servers.register(ServerRequest(id=name, url="http://127.0.0.1:19999", weight=10))
    system = System(bus, bob, World(servers=len(NAMES)))
    await system.told()
    try:
        yield system
    finally:
        for part in reversed(parts):
            await part.stop()
        await real.close()


@asynccontextmanager
async def seated(system: System) -> AsyncIterator[Seat]:
    async with cockpit(system.world, bus=system.bus) as seat:
        beating = asyncio.create_task(beat(seat))
        try:
            yield seat
        finally:
            beating.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await beating


async def becomes(claim: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(20):
        while not await claim():
            await asyncio.sleep(0.05)


async def is_gone(system: System, name: str) -> bool:
    try:
        await system.bob.servers.get(name)
    except PointsmanError as error:
        return error.status == 404
    return False


async def test_a_server_is_drained_with_a_plan_and_brought_back(system: System) -> None:
    async with seated(system) as seat:
        await at_server(seat, "srv-0002")
        assert "slots ->" in await asked(seat, "d")
        assert (await system.bob.servers.get("srv-0002")).wanted is Wanted.ACTIVE
        await seat.press("y")
        await told(seat, "srv-0002 drains")
        assert (await system.bob.servers.get("srv-0002")).wanted is not Wanted.ACTIVE
        await system.told()
        seat.source.frame(system.world.tell("srv-0002"))
        await seat.press("u")
        await told(seat, "srv-0002 active again")
        assert (await system.bob.servers.get("srv-0002")).wanted is Wanted.ACTIVE


async def test_what_somebody_else_did_meanwhile_is_told_with_their_name_and_stands(system: System) -> None:
    async with seated(system) as seat:
        await at_server(seat, "srv-0002")
        await asked(seat, "d")
        await system.bob.servers.maintain("srv-0002", MaintenanceRequest(enabled=True, drain_timeout_ms=0))
        text = await seat.sees(lambda text: "changed since the plan" in text or "conflict" in text)
        assert "bob@ops" in text
        await seat.press("y", "enter")
        server = await system.bob.servers.get("srv-0002")
        assert server.wanted is Wanted.MAINTENANCE


async def test_a_row_that_is_older_than_the_store_is_no_ground_to_act_on(system: System) -> None:
    async with seated(system) as seat:
        await at_server(seat, "srv-0003")
        await system.bob.servers.maintain("srv-0003", MaintenanceRequest(enabled=True, drain_timeout_ms=0))
        text = await asked(seat, "d")
        assert "changed meanwhile" in text
        await seat.press("y")
        await seat.pilot.pause(0.2)
        assert (await system.bob.servers.get("srv-0003")).reason is None


async def test_a_server_is_unregistered_when_its_name_was_typed(system: System) -> None:
    async with seated(system) as seat:
        await at_server(seat, "srv-0001")
        await asked(seat, "delete")
        assert isinstance(seat.app.screen, ConfirmDialog)
        seat.app.screen.query_one("#typed", Input).focus()
        await seat.press(*"srv-0001", "enter")
        assert not seat.app.screen.query_one("#yes", Button).disabled
        await seat.press("enter")
        await told(seat, "leaves once its tasks have ended")

        await becomes(lambda: is_gone(system, "srv-0001"))


async def test_weights_tasks_and_algorithms_are_changed_too(system: System) -> None:
    task = await system.bob.tasks.submit(TaskRequest(type="resize"))
    async with seated(system) as seat:
        await at_server(seat, "srv-0001")
        assert "weight 10 -> 20" in await asked(seat, "plus")
        await seat.press("y")
        await told(seat, "srv-0001 has weight 20")
        assert (await system.bob.servers.get("srv-0001")).weight == 20
        seat.app.begin(Act(verb=Verb.CANCEL, things=(Thing(task.id, 1),)))
        await asked(seat)
        await seat.press("y")
        await told(seat, f"{task.id} is cancelled")
        assert (await system.bob.tasks.get(task.id)).status is Status.CANCELLED
        seat.app.begin(Act(verb=Verb.SWITCH, things=(Thing("default"),), algorithm="round-robin"))
        assert "response-time" in await asked(seat)
        await seat.press("y")
        await told(seat, "pool default uses round-robin now")
        assert (await system.bob.pools.get("default")).algorithm == "round-robin"
        undoable = seat.app.acts.undoable
        assert undoable is not None
        seat.app.begin(Act(verb=Verb.UNDO, things=(Thing(undoable.pool, undoable.revision),)))
        await told(seat, "pool default uses response-time again")
