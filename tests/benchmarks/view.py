"""How soon frames tell what happens, over a real `pointsman up`: `python -m tests.benchmarks.view`.

Tasks come at `--rate` a second; the age of what a frame's sample tells, when the frame arrives at a viewer on NATS and at
one over HTTP. Then one server is killed: how old its change of state is in the frame that tells it.
"""

import argparse
import asyncio
import statistics
import time
from collections.abc import Sequence

import aiohttp

from pointsman.client import nats_bus
from pointsman.client.bus import Bus
from pointsman.client.client import Client
from pointsman.contracts.actor import Actor, Role
from pointsman.contracts.frames import Frame, decode_frame
from pointsman.contracts.server import Endpoints, ServerRequest
from pointsman.contracts.task import TaskRequest
from tests.support.backends import Backend
from tests.support.system_up import SystemUp, system_up
from tests.support.viewing import Viewer

ADMIN = Actor(sub="bench", roles=(Role.ADMIN,))
ENDED = {"completed", "failed"}


class Ages:
    """How old in ms what frames tell was when they arrived."""

    def __init__(self) -> None:
        self.tasks: list[float] = []
        self.servers: list[float] = []
        self.sizes: list[int] = []

    def heard(self, frame: Frame, size: int) -> None:
        now = time.time() * 1000
        self.sizes.append(size)
        self.tasks += [now - one.at for one in frame.sample if one.kind in ENDED]
        self.servers += [
            now - one.at for one in frame.news if one.kind == "server" and "->" in one.what and not frame.full
        ]

    def told(self, name: str) -> str:
        return (
            f"{name}: ends of tasks {_spread(self.tasks)}, changes of servers {_spread(self.servers)}, "
            f"{len(self.sizes)} frames of {statistics.median(self.sizes):,.0f} bytes"
        )


def _spread(ages: Sequence[float]) -> str:
    if len(ages) < 2:
        return ", ".join(f"{age:.0f} ms" for age in ages) or "none"
    p95 = statistics.quantiles(ages, n=20)[-1]
    return f"p50 {statistics.median(ages):.0f} p95 {p95:.0f} max {max(ages):.0f} ms (of {len(ages)})"


class Timed(Viewer):
    def __init__(self, bus: Bus, ages: Ages) -> None:
        super().__init__(bus)
        self._ages = ages

    def heard(self, frame: Frame, size: int) -> None:
        self._ages.heard(frame, size)


async def over_http(system: SystemUp, ages: Ages) -> None:
    headers = {"Authorization": f"Bearer {await system.token('viewer', 'viewer')}"}
    timeout = aiohttp.ClientTimeout(total=None)
    async with (
        aiohttp.ClientSession(system.url, headers=headers, timeout=timeout, read_bufsize=1 << 22) as session,
        session.get("/api/view/frames") as answer,
    ):
        async for line in answer.content:
            if line.startswith(b"data: ["):
                data = line.removeprefix(b"data: ")
                ages.heard(decode_frame(data), len(data))


async def load(client: Client, rate: float, seconds: float) -> int:
    sent, end = 0, time.monotonic() + seconds
    tasks: set[asyncio.Task[object]] = set()
    while time.monotonic() < end:
        task: asyncio.Task[object] = asyncio.create_task(client.tasks.submit(TaskRequest(type="resize")))
        tasks.add(task)
        task.add_done_callback(tasks.discard)
        sent += 1
        await asyncio.sleep(1 / rate)
    return sent


async def measure(rate: float, seconds: float) -> None:
    async with (
        system_up() as system,
        await Backend.start() as backend,
        await Backend.start() as doomed,
    ):
        url, user, password = system.nats
        bus = await nats_bus.connect(url, name="bench", user=user, password=password)
        client, near, far = Client(bus, ADMIN), Ages(), Ages()
        for name, one in (("gpu-1", backend), ("doomed", doomed)):
            endpoints = Endpoints(predict=f"{one.url}/predict", health=f"{one.url}/health")
            await client.servers.register(
                ServerRequest(id=name, endpoints=endpoints, is_async=False, max_concurrent=32)
            )
        async with Timed(bus, near) as viewer:
            reading = asyncio.create_task(over_http(system, far))
            await viewer.until(lambda sight: sight.flow.slots == 64, "the servers take tasks")
            await asyncio.sleep(2)
            sent = await load(client, rate, seconds)
            await doomed.kill()
            await viewer.until(
                lambda sight: sight.rows["doomed"].state == "UNHEALTHY", "the killed server is out", within_s=90
            )
            await asyncio.sleep(1)
            reading.cancel()
        await bus.close()
    print(f"{sent} tasks at {rate:g} a second")
    print(near.told("NATS"))
    print(far.told("HTTP"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rate", type=float, default=50.0)
    parser.add_argument("--seconds", type=float, default=20.0)
    args = parser.parse_args()
    asyncio.run(measure(args.rate, args.seconds))


if __name__ == "__main__":
    main()
