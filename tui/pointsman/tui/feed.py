"""Where frames come from: the bus, connected for ever. Nothing that happens here ends the app; it is told as a fact.

The order is: subscribe, then ask for a whole frame, so that nothing falls between the two. A connection that breaks is
made anew by ourselves, not by the NATS library: an embedded system may have moved, and tries are to be shown.
"""

import asyncio
import contextlib
import secrets
import threading
from collections.abc import Callable
from time import monotonic
from typing import Any, Protocol

import msgspec

from pointsman.client.bus import Bus, BusError, Message
from pointsman.client.call import call
from pointsman.contracts.actor import Actor, Role
from pointsman.contracts.base import encode
from pointsman.contracts.errors import PointsmanError
from pointsman.contracts.frames import VIEWER_BEAT_S, ViewerBeat, decode_frame
from pointsman.contracts.subjects import VIEW_FRAME, VIEW_VIEWER, verb
from pointsman.tui.options import Address
from pointsman.tui.told import Connected, FrameCame, Lost, Refused, RoundTrip, Told

CONNECT_TIMEOUT_S = 2.0
RETRY_S = 0.25
RETRY_MAX_S = 2.0
SNAPSHOT_TIMEOUT_S = 2.0
SNAPSHOT_RETRY_S = 0.5
ROUND_TRIP_EVERY_S = 2.0
CLOSE_TIMEOUT_S = 1.0
REFUSALS = ("authorization", "authentication", "permissions violation", "maximum connections")


class Source(Protocol):
    """What the app needs of a feed; the tests have one of their own."""

    @property
    def bus(self) -> Bus | None:
        """The bus while there is a connection."""

    async def run(self) -> None:
        """For ever."""

    def want_snapshot(self) -> None:
        """A whole frame is needed; it comes like any other."""


type Tell = Callable[[Told], None]
type MakeSource = Callable[[Tell], Source]


class Feed:
    def __init__(self, locate: Callable[[], Address], actor: str, tell: Tell) -> None:
        self._locate = locate
        self._actor = Actor(sub=actor, roles=(Role.OPERATOR, Role.ADMIN))
        self._tell = tell
        self._viewer = secrets.token_hex(4)
        self._bus: Bus | None = None
        self._snapshot_wanted = asyncio.Event()

    @property
    def bus(self) -> Bus | None:
        return self._bus

    def want_snapshot(self) -> None:
        self._snapshot_wanted.set()

    async def run(self) -> None:
        tries, wait_s = 0, RETRY_S
        while True:
            try:
                await self._stay_connected()
                tries, wait_s = 0, RETRY_S
                self._tell(Lost("the connection broke", 0, wait_s))
            except Exception as error:  # noqa: BLE001 - the edge of a loop that must not end
                tries += 1
                self._tell(_told(error, tries, wait_s))
                wait_s = min(RETRY_MAX_S, 2 * wait_s)
            await asyncio.sleep(wait_s)

    async def _stay_connected(self) -> None:
        """Returns when the connection broke; raises when it cannot be made."""
        from pointsman.client import nats_bus

        lost = asyncio.Event()
        address = await _beside(self._locate)
        bus = await nats_bus.connect(
            address.url,
            name="pointsman cockpit",
            user=address.user,
            password=address.password,
            credentials_file=address.credentials_file,
            connect_timeout_s=CONNECT_TIMEOUT_S,
            on_error=self._on_error,
            on_lost=lost.set,
        )
        self._bus = bus
        self._tell(Connected(bus.round_trip_url))
        try:
            await self._follow(bus, lost)
        finally:
            self._bus = None
            with contextlib.suppress(TimeoutError, BusError):
                await asyncio.wait_for(bus.leave(), CLOSE_TIMEOUT_S)

    async def _follow(self, bus: Bus, lost: asyncio.Event) -> None:
        await bus.subscribe(VIEW_FRAME, self._on_frame)
        await bus.barrier()
        self.want_snapshot()
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(loop(bus)) for loop in (self._beat, self._fetch_snapshots, self._time_round_trips)
            ]
            await lost.wait()
            for task in tasks:
                task.cancel()

    async def _on_frame(self, message: Message) -> None:
        with contextlib.suppress(msgspec.MsgspecError):
            self._tell(FrameCame(decode_frame(message.data), len(message.data)))

    async def _beat(self, bus: Bus) -> None:
        """Without viewers nobody publishes frames."""
        data = encode(ViewerBeat(viewer=self._viewer))
        while True:
            with contextlib.suppress(BusError):
                await bus.publish(VIEW_VIEWER, data)
            await asyncio.sleep(VIEWER_BEAT_S)

    async def _fetch_snapshots(self, bus: Bus) -> None:
        while True:
            await self._snapshot_wanted.wait()
            self._snapshot_wanted.clear()
            try:
                answer = await call(bus, verb("statistics", "frame"), b"{}", self._actor, timeout_s=SNAPSHOT_TIMEOUT_S)
                await self._on_frame(answer)
            except (BusError, PointsmanError):
                self._snapshot_wanted.set()
            await asyncio.sleep(SNAPSHOT_RETRY_S)

    async def _time_round_trips(self, bus: Bus) -> None:
        """So that "nobody tells" and "NATS does not answer" can be told apart."""
        while True:
            began = monotonic()
            try:
                async with asyncio.timeout(ROUND_TRIP_EVERY_S):
                    await bus.barrier()
                self._tell(RoundTrip(1000 * (monotonic() - began)))
            except (BusError, TimeoutError):
                self._tell(RoundTrip(None))
            await asyncio.sleep(ROUND_TRIP_EVERY_S)

    def _on_error(self, reason: str) -> None:
        if _is_refusal(reason):
            self._tell(Refused(reason))


async def _beside[T](work: Callable[[], T]) -> T:
    """In a thread that nobody waits for at the end: a command that tells a secret may take half a minute."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[T] = loop.create_future()

    def tell(settle: Callable[[Any], None], result: object) -> None:
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(lambda: None if done.done() else settle(result))

    def run() -> None:
        try:
            tell(done.set_result, work())
        except Exception as error:  # noqa: BLE001 - it is raised where it is waited for
            tell(done.set_exception, error)

    threading.Thread(target=run, daemon=True).start()
    return await done


def _is_refusal(reason: str) -> bool:
    return any(word in reason.lower() for word in REFUSALS)


def _told(error: Exception, tries: int, wait_s: float) -> Told:
    reason = str(error) or type(error).__name__
    return Refused(reason) if _is_refusal(reason) else Lost(reason, tries, wait_s)
