"""What the prober costs: `python -m tests.benchmarks.prober`, one process with the instance service and 1,000 servers.

Broker, health answers and heartbeats come from processes of their own; the servers are 1,000 paths of one light HTTP
server. CPU is that of the instance process alone, as a share of one core, from `--settle` seconds after its start on.
"""

import argparse
import asyncio
import tempfile
from collections import Counter
from pathlib import Path

import msgspec

from pointsman.client import nats_bus
from pointsman.client.bus import Message
from pointsman.client.nats_bus import NatsBus
from pointsman.contracts import subjects
from pointsman.contracts.base import encode
from pointsman.contracts.execution import Evidence, Results
from pointsman.contracts.ids import new_operation_id
from pointsman.contracts.server import HealthState, Heartbeat, ServerConfig, ServerHealth
from pointsman.services.instance import service as instance
from pointsman.services.runtime import buckets
from pointsman.services.runtime.clock import SystemClock
from pointsman.services.runtime.context import Context
from pointsman.services.runtime.kv import KvBucket
from pointsman.services.runtime.settings import Settings
from tests.benchmarks.processes import child, cpu_s_of
from tests.support.systems import embedded

POOL_MIX = 10
BEAT_S = 2.0
CASES = {"beats": (True, 0), "silent": (False, 0), "work": (True, 1_000)}
ANSWER = b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 20\r\n\r\n{"status":"healthy"}'


class Light(asyncio.Protocol):
    """Answers every request that comes with a good health, and counts."""

    probes = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        if data.startswith(b"GET /count"):
            body = str(Light.probes).encode()
            self._transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
            return
        Light.probes += 1
        self._transport.write(ANSWER)


async def serve_health() -> None:
    server = await asyncio.get_running_loop().create_server(Light, "127.0.0.1", 0, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


async def serve_instance(url: str, user: str, password: str) -> None:
    settings = Settings(
        nats_url=url,
        nats_user=user,
        nats_password=password,
        jwt_secret="a secret of the benchmark, long enough",
        egress_allow=("127.0.0.0/8",),
    )
    bus = await nats_bus.connect(url, name="instance", user=user, password=password)
    service = instance.build(Context(bus, settings, SystemClock(), "bench-1"))
    await service.start()
    print("ready", flush=True)
    await asyncio.Event().wait()


async def register(bus: NatsBus, servers: int, port: str) -> None:
    bucket = KvBucket(bus, subjects.BUCKET_SERVERS)
    for n in range(servers):
        name, url = f"s{n:04}", f"http://127.0.0.1:{port}/s{n:04}"
        config = ServerConfig(id=name, name=name, predict=f"{url}/predict", health=f"{url}/health", registered_at=1)
        health = ServerHealth(state=HealthState.HEALTHY, registered_at=1)
        for kind, record in (("config", config), ("health", health)):
            await bucket.update(f"{kind}.{name}", encode(record), revision=0, operation=new_operation_id())


async def beat(bus: NatsBus, servers: int) -> None:
    """Each server every 2 s, evenly."""
    clock, gap_s = SystemClock(), BEAT_S / servers * POOL_MIX
    while True:
        for first in range(0, servers, POOL_MIX):
            for n in range(first, min(first + POOL_MIX, servers)):
                told = Heartbeat(server_id=f"s{n:04}", at=clock.now_ms(), status="healthy", active_tasks=1)
                await bus.publish(subjects.VIEW_HEARTBEAT, encode(told))
            await asyncio.sleep(gap_s)


async def work(bus: NatsBus, servers: int, tasks_per_s: int) -> None:
    """What one executor tells once a second of so many tasks, spread over all servers."""
    per_server = max(1, tasks_per_s // servers)
    while True:
        rows = tuple(
            Results(server_id=f"s{n:04}", type="t", succeeded=per_server, elapsed=50 * per_server, slowest=80)
            for n in range(min(servers, tasks_per_s))
        )
        await bus.publish(subjects.VIEW_EVIDENCE, encode(Evidence(executor="e", at=0, results=rows)))
        await asyncio.sleep(1.0)


async def count(port: str) -> int:
    reader, writer = await asyncio.open_connection("127.0.0.1", int(port))
    writer.write(b"GET /count HTTP/1.1\r\n\r\n")
    answer = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)
    length = int(answer.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
    body = await asyncio.wait_for(reader.readexactly(length), 10)
    writer.close()
    return int(body)


async def measure(options: argparse.Namespace, *, beats: bool, tasks_per_s: int) -> None:
    states: Counter[str] = Counter()
    writes = 0

    async def on_checks(message: Message) -> None:
        for check in msgspec.json.decode(message.data, type=dict[str, ServerHealth]).values():
            states[check.state] += 1

    async def on_write(message: Message) -> None:
        nonlocal writes
        writes += 1

    with tempfile.TemporaryDirectory() as folder:
        async with embedded(Path(folder)) as stores, child("tests.benchmarks.prober", "--health") as (_, port):
            given = stores.nats_settings
            bus = await nats_bus.connect(given.url, name="bench", user=given.user, password=given.password)
            await buckets.ensure(bus, relaxed=False, replicas=1)
            await register(bus, options.servers, port)
            await bus.subscribe(subjects.VIEW_HEALTH, on_checks)
            await bus.subscribe(subjects.key(subjects.BUCKET_SERVERS, "health.*"), on_write)
            connection = ("tests.benchmarks.prober", "--instance", given.url, given.user, given.password)
            async with child(*connection) as (pid, _), asyncio.TaskGroup() as group:
                loads = [group.create_task(beat(bus, options.servers))] if beats else []
                loads += [group.create_task(work(bus, options.servers, tasks_per_s))] if tasks_per_s else []
                first = await count(port)
                await asyncio.sleep(1.0)
                peak = await count(port) - first
                await asyncio.sleep(options.settle - 1)
                writes, before, cpu_s = 0, await count(port), cpu_s_of(pid)
                states.clear()
                await asyncio.sleep(options.seconds)
                share, probes = (cpu_s_of(pid) - cpu_s) / options.seconds, await count(port) - before
                for load in loads:
                    load.cancel()
            await bus.close()
    print(
        f"{options.servers} servers, {'beats every 2 s' if beats else 'no beats':<16}{tasks_per_s:>6} tasks/s: "
        f"{share:6.1%} of a core, {probes / options.seconds:6.1f} probes/s, {writes} writes of health, "
        f"first second {peak} probes, told {dict(states)}",
        flush=True,
    )


async def main(options: argparse.Namespace) -> None:
    for name in options.cases.split(","):
        beats, tasks_per_s = CASES[name]
        await measure(options, beats=beats, tasks_per_s=tasks_per_s)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--servers", type=int, default=1_000)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--settle", type=float, default=230)
    parser.add_argument("--cases", default=",".join(CASES), help="some of %(default)s")
    parser.add_argument("--health", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--instance", nargs=3, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.health:
        asyncio.run(serve_health())
    elif given.instance:
        asyncio.run(serve_instance(*given.instance))
    else:
        asyncio.run(main(given))
