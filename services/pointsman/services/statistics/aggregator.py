"""The aggregator: every replica folds what is told, the elected one tells frames and keeps an hour of them."""

import asyncio
import math
import zlib
from contextlib import suppress

import msgspec
import structlog

from pointsman.client.bus import Bus, BusDown, BusTimeout, Message, NoResponders, Subscription
from pointsman.contracts.errors import forbidden
from pointsman.contracts.flow import VIEWER_GONE_S
from pointsman.contracts.frames import KEPT_S, RATE_HZ, encode_frame
from pointsman.contracts.search import AuditEntry
from pointsman.contracts.server import Heartbeat, ServerHealth
from pointsman.contracts.subjects import (
    BUCKET_SERVERS,
    STREAM_FRAMES,
    VIEW_ALARMS,
    VIEW_FLOW,
    VIEW_FRAME,
    VIEW_HEALTH,
    VIEW_HEARTBEAT,
    VIEW_KEYFRAME,
    VIEW_VIEWER,
    audit_subject,
    stream_of,
)
from pointsman.services.runtime.context import Context
from pointsman.services.runtime.follow import Followed, Follower
from pointsman.services.runtime.leader import Leadership
from pointsman.services.runtime.loop import Background
from pointsman.services.runtime.serve import Answer, Call, Serving, Verb, serve
from pointsman.services.statistics.alert_desk import ANSWERS_MAX, READERS, AlertDesk
from pointsman.services.statistics.board import Board
from pointsman.services.statistics.flow_windows import of_bytes
from pointsman.services.statistics.framing import Framer
from pointsman.services.statistics.news import NewsDesk
from pointsman.services.version import VERSION

log = structlog.get_logger()

KEY_EVERY_S = 1.0
KEY_ANSWER_S = 2.0
FRAME_SPACE_S = 0.9 / RATE_HZ
FRAME_LATEST_S = 1.5 / RATE_HZ
ARCHIVE_EVERY_S, STORAGE_EVERY_S, TIDY_EVERY_S = 5.0, 15.0, 1.0
KEPT_BYTES_MAX = 256 << 20
COMPRESSION = 3
_HEARTBEAT = msgspec.json.Decoder(Heartbeat)
_CHECKS = msgspec.json.Decoder(dict[str, ServerHealth])
_AUDITED = msgspec.json.Decoder(AuditEntry)


class Aggregator:
    """A frame follows the leader's flow, so that it is as new as it can be; without flow it comes by itself."""

    def __init__(self, context: Context) -> None:
        self._bus: Bus = context.bus
        self._clock = context.clock
        self._board = Board()
        self._framer = Framer(self._board)
        self._news = NewsDesk()
        self._alerts = AlertDesk(context, self._board, leads_since_s=self._leads_since_s)
        self._leadership = Leadership(context, "statistics.frames", on_change=self._on_leadership)
        self._follower = Follower(context.bus, stream_of(BUCKET_SERVERS), self._on_record)
        self._background = Background()
        self._subscriptions: list[Subscription] = []
        self._serving: Serving | None = None
        self._serving_lock = asyncio.Lock()
        self._is_live = False
        self._led_s = self._viewed_until_s = self._framed_s = self._kept_s = float("-inf")
        self._keep_every_s = KEY_EVERY_S
        self._woken = asyncio.Event()

    async def start(self) -> None:
        await self._follower.start()
        await self._follower.caught_up()
        self._is_live = True
        for subject, handler in (
            (VIEW_FLOW, self._on_flow),
            (VIEW_HEALTH, self._on_checks),
            (VIEW_HEARTBEAT, self._on_beat),
            (VIEW_VIEWER, self._on_viewer),
            (VIEW_ALARMS, self._alerts.on_alarms),
            (audit_subject(">"), self._on_audited),
        ):
            self._subscriptions.append(await self._bus.subscribe(subject, handler))
        await self._alerts.start()
        await self._leadership.start()
        self._background.every(0, self._tell, "frames told")
        self._background.every(0, self._keep, "frames kept")
        self._background.every(ARCHIVE_EVERY_S, self._alerts.ask_archive, "archive asked")
        self._background.every(STORAGE_EVERY_S, self._alerts.ask_storage, "storage asked")
        self._background.every(TIDY_EVERY_S, self._alerts.tidy, "alert marks tidied")

    async def stop(self) -> None:
        if self._serving is not None:
            await self._serving.drain()
        await self._background.stop()
        await self._leadership.stop()
        for subscription in self._subscriptions:
            await subscription.unsubscribe()
        await self._alerts.stop()
        await self._follower.stop()

    @property
    def _is_watched(self) -> bool:
        return self._clock.monotonic_s() < self._viewed_until_s

    def _leads_since_s(self) -> float | None:
        return self._led_s if self._leadership.is_leader() else None

    def _on_leadership(self, leads: bool) -> None:
        self._led_s = self._clock.monotonic_s()
        self._framer.begin()
        self._background.run(self._offer() if leads else self._withdraw(), "frames leadership change")

    async def _offer(self) -> None:
        """The leader alone answers: only it knows which frame was the last."""
        async with self._serving_lock:
            if self._serving is None and self._leadership.is_leader():
                verbs = [Verb("frame", self._snapshot, ANSWERS_MAX), *self._alerts.verbs()]
                self._serving = await serve(self._bus, "statistics", VERSION, verbs)

    async def _withdraw(self) -> None:
        async with self._serving_lock:
            serving, self._serving = self._serving, None
            if serving is not None:
                await serving.drain()

    async def _tell(self) -> None:
        """Wait for the next moment of a frame, then tell it to who looks. Who does not lead keeps its alerts ready."""
        await self._pause()
        self._look()
        if not self._is_watched or not self._leadership.is_leader():
            self._framer.unwatched()
            return
        self._framed_s = self._clock.monotonic_s()
        frame = self._framer.changed(self._leadership.epoch, self._clock.now_ms(), self._framed_s)
        with suppress(BusDown):
            await self._bus.publish(VIEW_FRAME, encode_frame(frame))

    async def _pause(self) -> None:
        try:
            async with asyncio.timeout(FRAME_LATEST_S if self._is_watched else KEY_EVERY_S):
                await self._woken.wait()
        except TimeoutError:
            return
        await asyncio.sleep(max(0.0, self._framed_s + FRAME_SPACE_S - self._clock.monotonic_s()))
        self._woken.clear()

    def _look(self) -> None:
        self._framer.alerts, self._framer.archive = self._alerts.rows(), self._alerts.archive

    async def _keep(self) -> None:
        """A keyframe a second, or so seldom that the hour stays within its bytes. Its acknowledgement shows that the
        broker still keeps what it is given."""
        await asyncio.sleep(max(0.0, self._kept_s + self._keep_every_s - self._clock.monotonic_s()))
        self._kept_s = now_s = self._clock.monotonic_s()
        if not self._leadership.is_leader():
            return
        await self._offer()
        self._look()
        frame = self._framer.key(self._leadership.epoch, self._clock.now_ms(), now_s, is_watched=self._is_watched)
        packed = zlib.compress(encode_frame(frame), COMPRESSION)
        self._keep_every_s = keep_every_s(len(packed))
        with suppress(BusDown):
            self._alerts.refusal = await self._kept(packed)

    async def _kept(self, packed: bytes) -> str:
        """Why it was not kept, "" when it was."""
        try:
            return refusal_of((await self._bus.request(VIEW_KEYFRAME, packed, timeout_s=KEY_ANSWER_S)).data)
        except BusTimeout:
            return "no answer"
        except NoResponders:
            return f"there is no stream {STREAM_FRAMES}"

    async def _snapshot(self, call: Call) -> Answer:
        if not call.actor.has(*READERS):
            raise forbidden("Viewer role required")
        self._look()
        now, now_s = self._clock.now_ms(), self._clock.monotonic_s()
        return Answer(encode_frame(self._framer.snapshot(self._leadership.epoch, now, now_s)))

    def _on_record(self, entry: Followed) -> None:
        try:
            self._board.fold_record(entry)
            news = list(self._news.record(entry, self._clock.now_ms()))
        except msgspec.MsgspecError as error:
            log.error("server record not understood", key=entry.subject, error=str(error))
            return
        if self._is_live and news:
            self._framer.happened(news)
            self._alerts.stir()
            self._woken.set()

    async def _on_flow(self, message: Message) -> None:
        told = of_bytes(message.data)
        if told is not None and self._board.fold_flow(told, self._clock.monotonic_s()):
            self._framer.heard(told)
            self._framer.happened(self._news.flowed(told))
            self._woken.set()

    async def _on_audited(self, message: Message) -> None:
        self._framer.happened(self._news.audited(_AUDITED.decode(message.data)))

    async def _on_checks(self, message: Message) -> None:
        self._board.fold_checks(_CHECKS.decode(message.data))

    async def _on_beat(self, message: Message) -> None:
        self._board.fold_beat(_HEARTBEAT.decode(message.data))

    async def _on_viewer(self, _message: Message) -> None:
        if not self._is_watched:
            self._woken.set()
        self._viewed_until_s = self._clock.monotonic_s() + VIEWER_GONE_S


def keep_every_s(size: int) -> float:
    """How often a keyframe of this many bytes may be kept for all of them to stay within their bound."""
    return float(max(1, math.ceil(size * KEPT_S / KEPT_BYTES_MAX)))


class _Refused(msgspec.Struct):
    description: str = ""


class _Ack(msgspec.Struct):
    error: _Refused | None = None


def refusal_of(answer: bytes) -> str:
    """What JetStream said against keeping a message, "" when it has kept it."""
    error = msgspec.json.decode(answer, type=_Ack).error
    return (error.description or "refused") if error is not None else ""
