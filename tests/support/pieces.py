"""Pointsman in pieces: a broker, and services in processes of their own, each behind its own proxy to be cut off by."""

import os
import signal
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path

import msgspec

from pointsman.client import nats_bus
from pointsman.client.bus import Bus, BusError
from pointsman.client.client import Client
from pointsman.contracts.actor import Actor, Role
from pointsman.contracts.errors import PointsmanError
from pointsman.contracts.subjects import BUCKET_LEADERS
from pointsman.services.runtime.embedded import child, folder, ports
from pointsman.services.runtime.embedded.kept import Kept
from pointsman.services.runtime.embedded.nats import HOST, Nats
from pointsman.services.runtime.embedded.service import python
from pointsman.services.runtime.kv import KvBucket
from pointsman.services.runtime.leader import LeaderRecord
from pointsman.services.runtime.settings import Settings
from tests.support.proxy import ChaosProxy
from tests.support.system_up import LOUD, eventually, short_folder

SECRET = "a secret of the tests, long enough for HS256"
READY_WITHIN_S = 60.0
TAIL_BYTES = 6_000
ADMIN = Actor(sub="chaos", roles=(Role.ADMIN,))
EXECUTORS = 2


class Piece:
    """One process of services. A frozen one lives, says nothing and goes on later as if no time had passed."""

    def __init__(self, name: str, services: Sequence[str], settings: Settings, proxy: ChaosProxy, logs: Path) -> None:
        self.name = name
        self.proxy = proxy
        self.log = logs / f"{name}.log"
        own = msgspec.structs.replace(settings, nats_url=f"nats://{HOST}:{proxy.port}")
        self._program = python("-m", "pointsman.services", *services, settings=own, log=self.log, keeps=())
        self._process: Process | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def runs(self) -> bool:
        return self._process is not None and self._process.returncode is None

    async def start(self) -> None:
        self._process = await child.spawn(self._program)

    def freeze(self) -> None:
        os.kill(self.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        os.kill(self.pid, signal.SIGCONT)

    async def kill(self) -> None:
        """SIGKILL, as a crash would."""
        if self._process is not None and self.runs:
            with suppress(ProcessLookupError):
                self._process.kill()
            await self._process.wait()


class Pieces:
    """The broker is started again by itself when a test kills it; a killed piece is not."""

    def __init__(self, broker: Kept, nats: Nats, pieces: Mapping[str, Piece], bus: Bus, home: Path) -> None:
        self.broker = broker
        self.nats = nats
        self.pieces = pieces
        self.bus = bus
        self.client = Client(bus, ADMIN)
        self._home = home
        self._leaders = KvBucket(bus, BUCKET_LEADERS)

    def freeze_broker(self) -> None:
        assert self.broker.pid is not None
        os.kill(self.broker.pid, signal.SIGSTOP)

    def thaw_broker(self) -> None:
        assert self.broker.pid is not None
        os.kill(self.broker.pid, signal.SIGCONT)

    def kill_broker(self) -> None:
        assert self.broker.pid is not None
        os.kill(self.broker.pid, signal.SIGKILL)

    async def leader(self) -> Piece:
        """The balancer that holds the lease now."""
        found: Piece = await eventually(self._holder, "some balancer leads", within_s=READY_WITHIN_S)
        return found

    async def _holder(self) -> Piece | None:
        try:
            entry = await self._leaders.get("balancer", latest=True)
        except BusError:
            return None
        if entry is None or not entry.data:
            return None
        pid = msgspec.json.decode(entry.data, type=LeaderRecord).holder.rsplit("-", 2)[1]
        return next((piece for piece in self.pieces.values() if piece.runs and str(piece.pid) == pid), None)

    async def dispatching(self, *, within_s: float = READY_WITHIN_S) -> None:
        """Some leader knows all and answers."""

        async def answers() -> bool:
            try:
                return bool((await self.client.balancer.status()).epoch)
            except (PointsmanError, BusError):
                return False

        await eventually(answers, "the balancer answers", within_s=within_s)

    def logs(self) -> dict[str, str]:
        return {file.name: file.read_text(errors="replace") for file in sorted((self._home / "logs").glob("*.log"))}

    def tails(self) -> str:
        return "\n".join(f"--- {name}\n{text[-TAIL_BYTES:]}" for name, text in self.logs().items())

    def count(self, *words: str) -> int:
        """Log lines with all of these words."""
        lines = (line for text in self.logs().values() for line in text.splitlines())
        return sum(all(word in line for word in words) for line in lines)

    def outcries(self) -> list[str]:
        """Lines that only a bug writes."""
        lines = ((name, line) for name, text in self.logs().items() for line in text.splitlines())
        return [f"{name}: {line[:3000]}" for name, line in lines if any(sign in line for sign in LOUD)]


@asynccontextmanager
async def pieces(*, balancers: int = 2, gateway: bool = False, **settings: object) -> AsyncIterator[Pieces]:
    """Balancers, two executors, one process for tasks and servers, and a gateway where servers call back."""
    async with AsyncExitStack() as stack:
        home = folder.make(stack.enter_context(short_folder()) / "d")
        nats = Nats(home)
        broker = Kept(nats)
        stack.push_async_callback(broker.stop)
        broker.start()
        await broker.ready(within_s=READY_WITHIN_S)
        bus = await nats_bus.connect(nats.url, name="test", user=nats.user, password=nats.password)
        stack.push_async_callback(bus.close)
        common = _settings(nats, settings)
        made: dict[str, Piece] = {}
        for name, services in _named(balancers, gateway).items():
            proxy = await stack.enter_async_context(ChaosProxy(*_address(nats)))
            made[name] = Piece(name, services, common, proxy, home / "logs")
            stack.push_async_callback(made[name].kill)
            await made[name].start()
        system = Pieces(broker, nats, made, bus, home)
        try:
            await system.dispatching()
            yield system
        except BaseException:
            print(system.tails())
            raise


def _named(balancers: int, gateway: bool) -> dict[str, tuple[str, ...]]:
    named: dict[str, tuple[str, ...]] = {"task": ("task", "registry")}
    named |= {f"balancer-{number}": ("balancer",) for number in range(balancers)}
    named |= {f"instance-{number}": ("instance",) for number in range(EXECUTORS)}
    return named | ({"gateway": ("gateway",)} if gateway else {})


def _address(nats: Nats) -> tuple[str, int]:
    host, _, port = nats.url.removeprefix("nats://").partition(":")
    return host, int(port)


def _settings(nats: Nats, more: Mapping[str, object]) -> Settings:
    common = Settings(
        nats_url=nats.url,
        nats_user=nats.user,
        nats_password=nats.password,
        nats_monitor_url=nats.monitor_url,
        jwt_secret=SECRET,
        port=ports.free(HOST),
        egress_allow=("127.0.0.0/8", "::1/128"),
        result_ttl_s=7_200,
    )
    return msgspec.structs.replace(common, **more)
