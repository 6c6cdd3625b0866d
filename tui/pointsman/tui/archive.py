"""Reads keyframes back from the stream that keeps them for an hour: a batch of direct gets, which needs no consumer."""

import asyncio
from collections.abc import AsyncGenerator
from datetime import UTC, datetime

import msgspec

from pointsman.client.bus import Bus, BusDown, Message
from pointsman.contracts.subjects import STREAM_FRAMES, VIEW_KEYFRAME

BATCH_MAX = 900
BYTES_MAX = 16 << 20
SILENCE_S = 2.0
LOOK_AGAIN_S = 5.0
STATUS, KEPT_AT = "Status", "Nats-Time-Stamp"


async def keyframes(bus: Bus, from_ms: int, count: int) -> list[bytes]:
    """Up to `count` packed frames from that moment on. Raises BusError; [] when nobody keeps any."""
    return [message.data for message in await _kept(bus, _text(from_ms), count)]


class Tape:
    """All keyframes from a moment on, each once, in order, over outages too."""

    def __init__(self, bus: Bus, from_ms: int) -> None:
        self._bus = bus
        self._after = _text(from_ms)
        self._is_new = asyncio.Event()

    async def until_now(self) -> AsyncGenerator[bytes]:
        """What is kept by now and was not told yet. Raises BusError."""
        while True:
            kept = await _kept(self._bus, self._after, BATCH_MAX)
            new = [message for message in kept if message.headers.get(KEPT_AT, "") != self._after]
            for message in new:
                self._after = message.headers.get(KEPT_AT, "")
                yield message.data
            if not new:
                return

    async def listen(self) -> None:
        """From now on `more` knows when there may be one. Raises BusError."""
        await self._bus.subscribe(VIEW_KEYFRAME, self._on_keyframe)

    async def more(self, within_s: float) -> None:
        """Wait until there may be one that was not told: what is published is a hint, which may be lost."""
        try:
            async with asyncio.timeout(min(within_s, LOOK_AGAIN_S)):
                await self._is_new.wait()
        except TimeoutError:
            return
        self._is_new.clear()

    async def _on_keyframe(self, _message: Message) -> None:
        self._is_new.set()


async def _kept(bus: Bus, since: str, count: int) -> list[Message]:
    """From that moment of the broker's on."""
    arrived: asyncio.Queue[Message | None] = asyncio.Queue()

    async def on_message(message: Message) -> None:
        arrived.put_nowait(None if STATUS in message.headers else message)

    inbox = bus.new_inbox()
    subscription = await bus.subscribe(inbox, on_message)
    try:
        await bus.barrier()
        await bus.publish(f"$JS.API.DIRECT.GET.{STREAM_FRAMES}", _wanted(since, count), reply=inbox)
        found: list[Message] = []
        while len(found) < count:
            async with asyncio.timeout(SILENCE_S):
                message = await arrived.get()
            if message is None:
                break
            found.append(message)
        return found
    except TimeoutError as error:
        raise BusDown("the stream of keyframes does not answer") from error
    finally:
        await subscription.unsubscribe()


def _wanted(since: str, count: int) -> bytes:
    return msgspec.json.encode(
        {"start_time": since, "next_by_subj": VIEW_KEYFRAME, "batch": min(count, BATCH_MAX), "max_bytes": BYTES_MAX}
    )


def _text(at: int) -> str:
    return datetime.fromtimestamp(at / 1000, UTC).isoformat().replace("+00:00", "Z")
