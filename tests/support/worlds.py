"""A bus with a broker behind it, fake or real behind one face, and the fixtures that give either to a test."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from pointsman.client import nats_bus
from pointsman.client.bus import Bus
from pointsman.services.runtime import buckets
from pointsman.services.runtime.clock import Clock, SystemClock
from pointsman.services.runtime.context import Context
from pointsman.services.runtime.embedded import folder
from pointsman.services.runtime.embedded.kept import Kept
from pointsman.services.runtime.embedded.nats import Nats
from pointsman.services.runtime.settings import Settings
from tests.support.fake_bus import FakeBroker, FakeBus
from tests.support.lossy_proxy import LossyProxy
from tests.support.virtual_time import LoopClock, VirtualTime

WITHIN_S = 40.0
SECRET = "a secret of the tests, long enough for HS256"


class FakeWorld:
    kind = "fake"

    def __init__(self, _tmp_path: Path) -> None:
        loop = asyncio.get_running_loop()
        self.time = VirtualTime(loop)
        self.clock: Clock = LoopClock(loop)
        self.broker = FakeBroker(loop.time)
        self.settings = Settings(jwt_secret=SECRET, egress_allow=("127.0.0.0/8",))

    async def start(self) -> None:
        return

    async def connect(self, name: str = "test") -> Bus:
        return self.broker.connect(name)

    def cut(self, bus: Bus) -> None:
        assert isinstance(bus, FakeBus)
        bus.cut()

    async def mend(self, bus: Bus) -> None:
        assert isinstance(bus, FakeBus)
        bus.mend()

    def lose_ack(self, _bus: Bus) -> None:
        self.broker.lose_answer("$KV.>")

    async def kill_broker(self) -> None:
        """kill -9, and it starts again; returns when the buses are connected again."""
        self.broker.stop()
        await asyncio.sleep(0.1)
        self.broker.start()

    async def close(self) -> None:
        for bus in tuple(self.broker.buses):
            await bus.close()
        self.broker.close()
        self.time.restore()


class RealWorld:
    kind = "nats"

    def __init__(self, tmp_path: Path) -> None:
        self._nats = Nats(folder.make(tmp_path / "data"))
        self._kept = Kept(self._nats)
        self._proxies: dict[Bus, LossyProxy] = {}
        self.clock: Clock = SystemClock()
        self.settings = Settings(jwt_secret=SECRET, egress_allow=("127.0.0.0/8",))

    @property
    def monitor_url(self) -> str:
        return self._nats.monitor_url

    async def start(self) -> None:
        self._kept.start()
        await self._kept.ready(within_s=WITHIN_S)

    async def connect(self, name: str = "test") -> Bus:
        host, _, port = self._nats.url.removeprefix("nats://").partition(":")
        proxy = LossyProxy(host, int(port))
        url = f"nats://127.0.0.1:{await proxy.start()}"
        bus = await nats_bus.connect(url, name=name, user=self._nats.user, password=self._nats.password)
        self._proxies[bus] = proxy
        return bus

    def cut(self, bus: Bus) -> None:
        self._proxies[bus].cut()

    async def mend(self, bus: Bus) -> None:
        back = asyncio.Event()
        forget = bus.on_reconnect(back.set)
        self._proxies[bus].mend()
        async with asyncio.timeout(WITHIN_S):
            await back.wait()
        forget()

    def lose_ack(self, bus: Bus) -> None:
        self._proxies[bus].lost_acks += 1

    async def kill_broker(self) -> None:
        """kill -9; `Kept` starts it again. Returns when the buses are connected again."""
        back = [asyncio.Event() for _ in self._proxies]
        forget = [bus.on_reconnect(event.set) for bus, event in zip(self._proxies, back, strict=True)]
        assert self._kept.pid is not None
        os.kill(self._kept.pid, signal.SIGKILL)
        async with asyncio.timeout(WITHIN_S):
            for event in back:
                await event.wait()
        for one in forget:
            one()

    async def close(self) -> None:
        for bus, proxy in self._proxies.items():
            if proxy.is_cut:
                await self.mend(bus)
            await bus.close()
            await proxy.stop()
        await self._kept.stop()


World = FakeWorld | RealWorld


def context(world: World, bus: Bus, instance: str = "host-1") -> Context:
    return Context(bus, world.settings, world.clock, instance)


async def until[T](claim: Callable[[], T], within_s: float = WITHIN_S) -> T:
    """Poll until the claim holds; under virtual time this costs nothing."""
    async with asyncio.timeout(within_s):
        while not (value := claim()):
            await asyncio.sleep(0.01)
    return value


async def a_world(kind: str, tmp_path: Path) -> AsyncIterator[World]:
    world = FakeWorld(tmp_path) if kind == "fake" else RealWorld(tmp_path)
    try:
        await world.start()
        yield world
    finally:
        await world.close()


@pytest.fixture(params=["fake", "nats"])
async def world(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[World]:
    """Either bus, nothing on it yet: a test must pass on both with the same assertions."""
    async for one in a_world(request.param, tmp_path):
        yield one


@pytest.fixture
async def bus(world: World) -> Bus:
    """A connection to a broker that has the streams of Pointsman."""
    connected = await world.connect()
    await buckets.ensure(connected, relaxed=False, replicas=1)
    return connected


@pytest.fixture
async def fake(tmp_path: Path) -> AsyncIterator[FakeWorld]:
    """The fake alone, with virtual time and the streams of Pointsman."""
    async for one in a_world("fake", tmp_path):
        assert isinstance(one, FakeWorld)
        await buckets.ensure(await one.connect("setup"), relaxed=False, replicas=1)
        yield one
