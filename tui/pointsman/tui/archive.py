"""Reads keyframes back from the stream that keeps them for an hour: a batch of direct gets, which needs no consumer."""

import asyncio
from datetime import UTC, datetime

import msgspec

from pointsman.client.bus import Bus, BusDown, Message
from pointsman.contracts.subjects import STREAM_FRAMES, VIEW_KEYFRAME

BATCH_MAX = 900
BYTES_MAX = 16 << 20
SILENCE_S = 2.0
STATUS = "Status"


async def keyframes(bus: Bus, from_ms: int, count: int) -> list[bytes]:
    """Up to `count` packed frames from that moment on. Raises BusError; [] when nobody keeps any."""
    arrived: asyncio.Queue[Message | None] = asyncio.Queue()

    async def on_message(message: Message) -> None:
        arrived.put_nowait(None if STATUS in message.headers else message)

    inbox = bus.new_inbox()
    subscription = await bus.subscribe(inbox, on_message)
    try:
        await bus.barrier()
        await bus.publish(f"$JS.API.DIRECT.GET.{STREAM_FRAMES}", _wanted(from_ms, count), reply=inbox)
        found: list[bytes] = []
        while len(found) < count:
            async with asyncio.timeout(SILENCE_S):
                message = await arrived.get()
            if message is None:
                break
            found.append(message.data)
        return found
    except TimeoutError as error:
        raise BusDown("the stream of keyframes does not answer") from error
    finally:
        await subscription.unsubscribe()


def _wanted(from_ms: int, count: int) -> bytes:
    start = datetime.fromtimestamp(from_ms / 1000, UTC).isoformat().replace("+00:00", "Z")
    return msgspec.json.encode(
        {"start_time": start, "next_by_subj": VIEW_KEYFRAME, "batch": min(count, BATCH_MAX), "max_bytes": BYTES_MAX}
    )
