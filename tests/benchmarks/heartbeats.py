"""What heartbeats cost: `python -m tests.benchmarks.heartbeats`, one process with the registry and 1,000 servers.

Every server proves itself with its credential, as it would. CPU is that of the registry process alone, as a share of one
core: at `--rate` beats a second, then with `--at-once` askers who never pause.
"""

import argparse
import asyncio
import tempfile
import time
from itertools import count
from pathlib import Path

from pointsman.client import nats_bus
from pointsman.client.call import answer_of, identity
from pointsman.client.client import Client
from pointsman.client.nats_bus import NatsBus
from pointsman.contracts import subjects
from pointsman.contracts.actor import Actor, Role
from pointsman.contracts.base import encode
from pointsman.contracts.commands import BeatServer
from pointsman.contracts.server import HeartbeatRequest, ServerRequest
from pointsman.services.registry import service as registry
from pointsman.services.runtime import buckets
from pointsman.services.runtime.clock import SystemClock
from pointsman.services.runtime.context import Context
from pointsman.services.runtime.settings import Settings
from tests.benchmarks.processes import child, cpu_s_of
from tests.support.systems import embedded

SUBJECT = subjects.verb("registry", "heartbeat")
ADMIN = Actor(sub="bench", roles=(Role.ADMIN,))
NOBODY = identity(Actor(sub="server", roles=()))


async def serve_registry(url: str, user: str, password: str) -> None:
    settings = Settings(
        nats_url=url,
        nats_user=user,
        nats_password=password,
        jwt_secret="a secret of the benchmark, long enough",
        egress_allow=("127.0.0.0/8",),
    )
    bus = await nats_bus.connect(url, name="registry", user=user, password=password)
    await registry.build(Context(bus, settings, SystemClock(), "bench-1")).start()
    print("ready", flush=True)
    await asyncio.Event().wait()


class Beats:
    """Asks as each server in turn; counts what was taken."""

    def __init__(self, bus: NatsBus, credentials: dict[str, str]) -> None:
        self._bus = bus
        self._headers = {
            name: NOBODY | {subjects.HEADER_SERVER_CREDENTIAL: credential} for name, credential in credentials.items()
        }
        self._names = list(credentials)
        self._numbers = count()
        self.taken = 0

    async def one(self) -> None:
        number = next(self._numbers)
        name = self._names[number % len(self._names)]
        beat = HeartbeatRequest(active_tasks=1, seq=number, boot_id="b", free_slots=9)
        message = encode(BeatServer(id=name, heartbeat=beat))
        answer_of(await self._bus.request(SUBJECT, message, headers=self._headers[name], timeout_s=5.0))
        self.taken += 1

    async def at_rate(self, per_s: float, seconds: float) -> None:
        end, due = time.monotonic() + seconds, time.monotonic()
        async with asyncio.TaskGroup() as group:
            while (now := time.monotonic()) < end:
                while due <= now:
                    group.create_task(self.one())
                    due += 1 / per_s
                await asyncio.sleep(0.01)

    async def without_pause(self, at_once: int, seconds: float) -> None:
        end = time.monotonic() + seconds

        async def asker() -> None:
            while time.monotonic() < end:
                await self.one()

        await asyncio.gather(*(asker() for _ in range(at_once)))


async def main(options: argparse.Namespace) -> None:
    with tempfile.TemporaryDirectory() as folder:
        async with embedded(Path(folder)) as stores:
            given = stores.nats_settings
            bus = await nats_bus.connect(given.url, name="bench", user=given.user, password=given.password)
            await buckets.ensure(bus, relaxed=False, replicas=1)
            arguments = ("tests.benchmarks.heartbeats", "--registry", given.url, given.user, given.password)
            async with child(*arguments) as (pid, _):
                client, credentials = Client(bus, ADMIN), {}
                for number in range(options.servers):
                    server = ServerRequest(id=f"s{number:04}", url=f"http://127.0.0.1:9000/s{number}")
                    answer = await client.servers.register(server)
                    credentials[answer.server_id] = answer.credential or ""
                beats = Beats(bus, credentials)
                await beats.at_rate(options.rate, 2.0)
                for name, run in (
                    (f"{options.rate:g} a second", beats.at_rate(options.rate, options.seconds)),
                    (
                        f"{options.at_once} askers without a pause",
                        beats.without_pause(options.at_once, options.seconds),
                    ),
                ):
                    taken, spent, began = beats.taken, cpu_s_of(pid), time.monotonic()
                    await run
                    took, taken, spent = time.monotonic() - began, beats.taken - taken, cpu_s_of(pid) - spent
                    print(
                        f"{options.servers} servers, {name}: {taken / took:,.0f} heartbeats/s, "
                        f"{spent / took:.1%} of a core, {spent / taken * 1e6:,.0f} us each",
                        flush=True,
                    )
            await bus.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--servers", type=int, default=1_000)
    parser.add_argument("--rate", type=float, default=500)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--at-once", type=int, default=64)
    parser.add_argument("--registry", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    asyncio.run(serve_registry(*options.registry) if options.registry else main(options))
