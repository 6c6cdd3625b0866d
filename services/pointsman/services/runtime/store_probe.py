"""Whether the broker's store takes writes: asked by writing, for nothing else tells.

A stream whose write once failed acknowledges none until the broker is started again, even when its disk has room by
then, while everything that only reads goes on. The probe is larger than the room that a file may have left in its last
block, so it fails no later than others.
"""

import msgspec

from pointsman.client.bus import Bus, BusDown, BusTimeout, NoResponders
from pointsman.contracts.subjects import PROBE

PADDING = bytes(8 * 1024)
SILENT = "acknowledges no write: its disk is or was full; free space, then restart nats-server"


class _Error(msgspec.Struct):
    description: str = ""


class _Ack(msgspec.Struct):
    error: _Error | None = None


_ACK = msgspec.json.Decoder(_Ack)


async def why_refused(bus: Bus, *, timeout_s: float) -> str:
    """Empty when the store took a write."""
    try:
        answer = await bus.request(PROBE, PADDING, timeout_s=timeout_s)
    except BusTimeout:
        return SILENT
    except NoResponders:
        return "no stream takes writes: JetStream is off, or has no leader"
    except BusDown:
        return "not reachable"
    error = _ACK.decode(answer.data).error
    return error.description or "refuses writes" if error is not None else ""
