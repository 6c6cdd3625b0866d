"""Follow a stream in order and without gaps, over broker restarts: an ordered push consumer of our own (NATS.md §8)."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

import structlog

from pointsman.client.bus import Bus, BusError, Message, Subscription
from pointsman.contracts.errors import PointsmanError
from pointsman.contracts.ids import new_operation_id
from pointsman.services.runtime.buckets import api

log = structlog.get_logger()

HEARTBEAT_S = 1.0
SILENCE_S = 3.5
INACTIVE_S = 15
RETRY_S = 0.25
ACK_TOKENS = 9
SIZE, TTL = "Nats-Msg-Size", "Nats-TTL"


@dataclass(frozen=True, slots=True)
class Followed:
    """One message of the stream; `deleted` for a delete marker or an empty body, `expires` when it has a TTL."""

    subject: str
    sequence: int
    data: bytes
    deleted: bool
    expires: bool = False


class Follower:
    """Calls `on_entry` for each message in stream order, of those `after` a sequence.

    `replay`: after a reconnect read the whole stream again, because a relaxed stream may have lost its tail and
    given the lost sequences to other messages. `on_replay` is called just before the first entry of a replay.
    `headers_only` leaves the bodies out.
    """

    def __init__(
        self,
        bus: Bus,
        stream: str,
        on_entry: Callable[[Followed], None],
        *,
        filter_subject: str = "",
        after: int = 0,
        replay: bool = False,
        on_replay: Callable[[], None] | None = None,
        headers_only: bool = False,
    ) -> None:
        self._bus = bus
        self._stream = stream
        self._on_entry = on_entry
        self._filter = filter_subject
        self._replay = replay
        self._on_replay = on_replay
        self._headers_only = headers_only
        self._sequence = after
        self._expected = 1
        self._generation = 0
        self._seen_s = 0.0
        self._subscription: Subscription | None = None
        self._is_replay = True
        self._caught_up = asyncio.Event()
        self._broken = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._forget_reconnect: Callable[[], None] = lambda: None

    @property
    def sequence(self) -> int:
        """The last stream sequence seen."""
        return self._sequence

    async def start(self) -> None:
        self._forget_reconnect = self._bus.on_reconnect(self._reconnected)
        self._broken.set()
        self._task = asyncio.create_task(self._keep_open(), name=f"follow {self._stream}")

    async def caught_up(self) -> None:
        """Return when everything that was in the stream at the last (re)start has been handed over."""
        await self._caught_up.wait()

    @property
    def is_caught_up(self) -> bool:
        return self._caught_up.is_set()

    async def refresh(self) -> None:
        """Return when everything that is in the stream now, as its leader has it, has been handed over."""
        self._interrupt()
        await self._caught_up.wait()

    async def stop(self) -> None:
        self._forget_reconnect()
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        await self._close()

    def _reconnected(self) -> None:
        if self._replay:
            self._sequence = 0
            self._is_replay = True
        self._interrupt()

    def _interrupt(self) -> None:
        """Open anew; what the present consumer still says no longer counts."""
        self._generation += 1
        self._caught_up.clear()
        self._broken.set()

    async def _keep_open(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                async with asyncio.timeout(HEARTBEAT_S):
                    await self._broken.wait()
            except TimeoutError:
                if loop.time() - self._seen_s < SILENCE_S:
                    continue
                log.warning("follower heard nothing, opening anew", stream=self._stream)
                self._interrupt()
            try:
                self._broken.clear()
                await self._close()
                await self._open()
            except (BusError, PointsmanError) as error:
                log.warning("follower could not open", stream=self._stream, error=str(error))
                self._broken.set()
                await asyncio.sleep(RETRY_S)

    async def _open(self) -> None:
        self._name = f"follow-{new_operation_id()}"
        self._generation += 1
        self._expected = 1
        self._seen_s = asyncio.get_running_loop().time()
        inbox, generation = self._bus.new_inbox(), self._generation
        if self._is_replay and self._on_replay is not None:
            self._on_replay()
        self._is_replay = False

        async def handle(message: Message) -> None:
            if generation == self._generation:
                await self._handle(message)

        self._subscription = await self._bus.subscribe(inbox, handle)
        await self._bus.barrier()
        answer = await api(self._bus, self._create_subject(), self._consumer(inbox))
        if generation == self._generation and answer.get("num_pending", 0) == 0:
            self._caught_up.set()

    def _create_subject(self) -> str:
        subject = f"CONSUMER.CREATE.{self._stream}.{self._name}"
        return f"{subject}.{self._filter}" if self._filter else subject

    def _consumer(self, inbox: str) -> dict[str, object]:
        config: dict[str, object] = {
            "name": self._name,
            "deliver_subject": inbox,
            "deliver_policy": "by_start_sequence",
            "opt_start_seq": self._sequence + 1,
            "ack_policy": "none",
            "max_deliver": 1,
            "flow_control": True,
            "idle_heartbeat": int(HEARTBEAT_S * 1e9),
            "inactive_threshold": INACTIVE_S * 1_000_000_000,
            "mem_storage": True,
            "num_replicas": 1,
        }
        if self._filter:
            config["filter_subject"] = self._filter
        if self._headers_only:
            config["headers_only"] = True
        return {"stream_name": self._stream, "config": config}

    async def _close(self) -> None:
        subscription, self._subscription = self._subscription, None
        self._generation += 1
        if subscription is not None:
            try:
                await subscription.unsubscribe()
                await self._bus.request(f"$JS.API.CONSUMER.DELETE.{self._stream}.{self._name}", b"", timeout_s=2.0)
            except BusError:
                return

    async def _handle(self, message: Message) -> None:
        self._seen_s = asyncio.get_running_loop().time()
        if not message.data and message.headers.get("Status") == "100":
            await self._handle_control(message)
            return
        tokens = message.reply.split(".")
        if len(tokens) < ACK_TOKENS:
            return
        sequence, consumer_sequence, pending = int(tokens[5]), int(tokens[6]), int(tokens[8])
        if consumer_sequence != self._expected:
            self._interrupt()
            return
        self._expected += 1
        self._sequence = sequence
        self._on_entry(_followed(message, sequence))
        if pending == 0:
            self._caught_up.set()

    async def _handle_control(self, message: Message) -> None:
        """Flow control asks for an answer; an idle heartbeat tells of a stalled consumer or of messages we missed."""
        stalled = message.headers.get("Nats-Consumer-Stalled", "")
        if message.reply or stalled:
            await self._bus.publish(message.reply or stalled, b"")
        last = message.headers.get("Nats-Last-Consumer")
        if last is not None and int(last) != self._expected - 1:
            self._interrupt()
        elif last is not None and not stalled:
            self._caught_up.set()


def _followed(message: Message, sequence: int) -> Followed:
    is_empty = not message.data and message.headers.get(SIZE, "0") == "0"
    deleted = is_empty or "KV-Operation" in message.headers
    return Followed(message.subject, sequence, message.data, deleted, TTL in message.headers)
