"""A continuous pull from a JetStream consumer: a bounded window, heartbeats, and a new pull whenever one is lost."""

import asyncio
from collections.abc import Callable

import msgspec
import structlog

from pointsman.client.bus import Bus, BusDown, Message, Subscription
from pointsman.services.runtime.clock import Clock

log = structlog.get_logger()

WINDOW_MESSAGES = 2_000
WINDOW_BYTES = 32 << 20
ROOM_MESSAGES = WINDOW_MESSAGES // 4
ROOM_BYTES = 9 << 20
EXPIRES_S = 30.0
HEARTBEAT_S = 5.0
SILENCE_S = 2.2 * HEARTBEAT_S
FAULT_PAUSE_S = 0.25

HEARTBEAT, NO_MESSAGES, EXPIRED, ENDED = "100", "404", "408", "409"
USED_UP = ("Message Size Exceeds MaxBytes", "Batch Completed")


class PullRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Durations in ns."""

    batch: int
    max_bytes: int
    expires: int = int(EXPIRES_S * 1e9)
    idle_heartbeat: int = int(HEARTBEAT_S * 1e9)


class Puller:
    """Hands each message to `deliver` at once; the caller gives its place in the window back with `release`.

    One pull is open at a time, so what is asked for and what is held never exceed the window.
    """

    def __init__(self, bus: Bus, stream: str, consumer: str, deliver: Callable[[Message], None], clock: Clock) -> None:
        self._bus = bus
        self._subject = f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{consumer}"
        self._deliver = deliver
        self._clock = clock
        self._wake = asyncio.Event()
        self._inbox = ""
        self._pulls = 0
        self._asked = 0
        self._held = 0
        self._held_bytes = 0
        self._heard_s = 0.0
        self._fault = ""
        self._is_lost = False

    @property
    def held(self) -> int:
        """Messages delivered and not yet released."""
        return self._held

    def release(self, messages: int, size: int) -> None:
        self._held -= messages
        self._held_bytes -= size
        self._wake.set()

    async def run(self) -> None:
        """Pull until cancelled; on a fresh inbox after each reconnect or silence, so that no old pull is counted."""
        forget = self._bus.on_reconnect(self._lose)
        try:
            while True:
                await self._run_once()
        finally:
            forget()

    async def _run_once(self) -> None:
        self._inbox, self._asked, self._is_lost, self._fault = self._bus.new_inbox(), 0, False, ""
        try:
            subscription = await self._bus.subscribe(f"{self._inbox}.*", self._on_message)
        except BusDown:
            await asyncio.sleep(FAULT_PAUSE_S)
            return
        try:
            await self._keep_open()
        finally:
            await _leave(subscription)

    async def _keep_open(self) -> None:
        while not self._is_lost:
            if self._fault:
                await asyncio.sleep(FAULT_PAUSE_S)
            if not self._asked and self._has_room():
                await self._pull()
            if not await self._woken():
                log.warning("pull went silent", subject=self._subject)
                return

    async def _pull(self) -> None:
        request = PullRequest(batch=WINDOW_MESSAGES - self._held, max_bytes=WINDOW_BYTES - self._held_bytes)
        self._pulls += 1
        self._asked, self._heard_s, self._fault = request.batch, self._clock.monotonic_s(), ""
        try:
            await self._bus.publish(self._subject, msgspec.json.encode(request), reply=self._reply)
        except BusDown as error:
            self._asked, self._fault = 0, str(error)
            self._wake.set()

    async def _on_message(self, message: Message) -> None:
        self._heard_s = self._clock.monotonic_s()
        status = "" if message.data else message.headers.get("Status", "")
        if not status:
            self._take(message)
        elif status != HEARTBEAT and message.subject == self._reply:
            self._end(status, message.headers.get("Description", ""))

    @property
    def _reply(self) -> str:
        """One per pull: what the server says of an ended pull must not be taken for the next."""
        return f"{self._inbox}.{self._pulls}"

    def _take(self, message: Message) -> None:
        self._held += 1
        self._held_bytes += len(message.data)
        self._asked = max(0, self._asked - 1)
        if not self._asked:
            self._wake.set()
        self._deliver(message)

    def _end(self, status: str, description: str) -> None:
        """The server has closed the pull; some of its reasons do not pass at once."""
        self._asked = 0
        if status not in (NO_MESSAGES, EXPIRED) and not (status == ENDED and description.startswith(USED_UP)):
            log.warning("pull ended", subject=self._subject, status=status, description=description.strip()[:80])
            self._fault = status
        self._wake.set()

    def _has_room(self) -> bool:
        return WINDOW_MESSAGES - self._held >= ROOM_MESSAGES and WINDOW_BYTES - self._held_bytes >= ROOM_BYTES

    def _lose(self) -> None:
        self._is_lost = True
        self._wake.set()

    async def _woken(self) -> bool:
        """False when nothing was heard for too long."""
        try:
            async with asyncio.timeout(self._patience_s() if self._asked else None):
                await self._wake.wait()
        except TimeoutError:
            return self._patience_s() > 0
        self._wake.clear()
        return True

    def _patience_s(self) -> float:
        return max(0.0, self._heard_s + SILENCE_S - self._clock.monotonic_s())


async def _leave(subscription: Subscription) -> None:
    try:
        await subscription.drain()
    except BusDown as error:
        log.debug("inbox left behind", error=str(error))
