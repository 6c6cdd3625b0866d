"""Many stored messages at once: JetStream's batched direct get, answered as a stream of messages to one inbox."""

import asyncio
from collections.abc import AsyncIterator, Sequence

import msgspec

from pointsman.client.bus import Bus, BusTimeout, Message
from pointsman.services.runtime.kv import STATUS, Entry, entry_of

SUBJECTS_MAX = 200
BATCH = 1_000
BATCH_BYTES_MAX = 8 << 20
SILENCE_S = 5.0
END_OF_BATCH, NOTHING_FOUND = "204", "404"


async def last_of(bus: Bus, stream: str, subjects: Sequence[str]) -> dict[str, Entry]:
    """The last message of each subject by its key name; absent and deleted ones are left out. Raises BusError."""
    found: dict[str, Entry] = {}
    for first in range(0, len(subjects), SUBJECTS_MAX):
        wanted = list(subjects[first : first + SUBJECTS_MAX])
        for message in await _asked(bus, stream, {"multi_last": wanted}):
            if message.data and "KV-Operation" not in message.headers:
                entry = _entry(message)
                found[entry.key] = entry
    return found


async def every_message(bus: Bus, stream: str, subjects: str = ">") -> AsyncIterator[Message]:
    """All that the stream holds now, in order, with the headers it was stored with. Raises BusError."""
    sequence = 1
    while True:
        request = {"seq": sequence, "batch": BATCH, "max_bytes": BATCH_BYTES_MAX, "next_by_subj": subjects}
        batch = await _asked(bus, stream, request)
        if not batch:
            return
        for message in batch:
            yield message
        sequence = int(batch[-1].headers["Nats-Sequence"]) + 1


async def _asked(bus: Bus, stream: str, request: dict[str, object]) -> list[Message]:
    """Every message of one batch, up to the server's word that it was the last."""
    inbox, coming = bus.new_inbox(), asyncio.Queue[Message]()

    async def take(message: Message) -> None:
        coming.put_nowait(message)

    subscription = await bus.subscribe(inbox, take)
    try:
        await bus.publish(f"$JS.API.DIRECT.GET.{stream}", msgspec.json.encode(request), reply=inbox)
        return await _until_last(coming, stream)
    finally:
        await subscription.unsubscribe()


async def _until_last(coming: asyncio.Queue[Message], stream: str) -> list[Message]:
    found: list[Message] = []
    while True:
        try:
            async with asyncio.timeout(SILENCE_S):
                message = await coming.get()
        except TimeoutError:
            raise BusTimeout(f"{stream}: a batch of messages did not end") from None
        status = message.headers.get(STATUS, "") if not message.data else ""
        if status in (END_OF_BATCH, NOTHING_FOUND):
            return found
        if status and "Nats-Sequence" not in message.headers:
            raise BusTimeout(f"{stream}: {status} {message.headers.get('Description', '')}")
        found.append(message)


def _entry(message: Message) -> Entry:
    headers = message.headers
    return entry_of(headers["Nats-Subject"], int(headers["Nats-Sequence"]), message.data, headers)
