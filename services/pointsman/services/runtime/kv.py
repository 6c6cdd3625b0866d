"""A JetStream bucket by compare-and-set: no blind put, and an unknown outcome is resolved by the operation's own id."""

import asyncio
import base64
from dataclasses import dataclass
from typing import Protocol

import msgspec

from pointsman.client.bus import Bus, BusDown, BusTimeout, Headers, NoResponders
from pointsman.contracts.errors import unavailable
from pointsman.contracts.subjects import HEADER_OPERATION, key, key_name, stream_of

EXPECTED = "Nats-Expected-Last-Subject-Sequence"
TTL = "Nats-TTL"
STATUS = "Status"
WRONG_LAST_SEQUENCE, WRITE_IN_FLIGHT = 10071, 10164
BUDGET_S = 20.0
WRITE_TIMEOUT_S = 5.0
READ_TIMEOUT_S = 2.0
RETRY_FIRST_S, RETRY_MAX_S = 0.05, 0.5


class RevisionMoved(Exception):
    """The compare-and-set lost: somebody else wrote the key. Nothing of ours was written."""


@dataclass(frozen=True, slots=True)
class Entry:
    key: str
    revision: int
    data: bytes
    operation: str = ""


class Bucket(Protocol):
    """What a store needs; `KvBucket` over JetStream, a fake in tests under the same contract."""

    async def get(self, name: str, *, latest: bool = False) -> Entry | None:
        """The last record of a key. It may be stale unless `latest`: only the compare-and-set decides."""

    async def create(self, name: str, data: bytes, *, operation: str, ttl_s: int | None = None) -> int:
        """Write a key that must not exist; returns its revision, raises RevisionMoved."""

    async def update(self, name: str, data: bytes, *, revision: int, operation: str, ttl_s: int | None = None) -> int:
        """Write a key whose last revision must be `revision` (0: absent); raises RevisionMoved."""


class _Ack(msgspec.Struct):
    seq: int = 0
    error: "ApiError | None" = None


class ApiError(msgspec.Struct):
    code: int = 0
    err_code: int = 0
    description: str = ""


class _StoredMessage(msgspec.Struct):
    subject: str
    seq: int
    data: str = ""
    hdrs: str = ""


class _StoredAnswer(msgspec.Struct):
    message: _StoredMessage | None = None
    error: ApiError | None = None


_ACK = msgspec.json.Decoder(_Ack)
_STORED = msgspec.json.Decoder(_StoredAnswer)


class KvBucket:
    def __init__(self, bus: Bus, name: str) -> None:
        self._bus = bus
        self._bucket = name
        self._stream = stream_of(name)

    async def get(self, name: str, *, latest: bool = False) -> Entry | None:
        read = leader_message if latest else last_message
        return await read(self._bus, self._stream, key(self._bucket, name))

    async def create(self, name: str, data: bytes, *, operation: str, ttl_s: int | None = None) -> int:
        return await self.update(name, data, revision=0, operation=operation, ttl_s=ttl_s)

    async def update(self, name: str, data: bytes, *, revision: int, operation: str, ttl_s: int | None = None) -> int:
        subject = key(self._bucket, name)
        headers = {EXPECTED: str(revision), HEADER_OPERATION: operation}
        if ttl_s is not None:
            headers[TTL] = f"{ttl_s}s"
        ack = await self._send(subject, data, headers)
        if ack is not None and ack.error is None:
            return ack.seq
        if ack is not None and ack.error is not None and ack.error.err_code == WRONG_LAST_SEQUENCE:
            raise RevisionMoved(name)
        return await self._resolve(subject, data, headers, revision, ack)

    async def _send(self, subject: str, data: bytes, headers: dict[str, str]) -> _Ack | None:
        """The acknowledgement, or None when the outcome is unknown. Raises NoResponders when surely not written."""
        try:
            answer = await self._bus.request(subject, data, headers=headers, timeout_s=WRITE_TIMEOUT_S)
        except NoResponders:
            return _Ack(error=ApiError(code=503, description="no stream leader"))
        except (BusTimeout, BusDown):
            return None
        return _ACK.decode(answer.data)

    async def _resolve(
        self, subject: str, data: bytes, headers: dict[str, str], revision: int, ack: _Ack | None
    ) -> int:
        """Retry within the budget, each time only after a re-read has shown that our write is not there."""
        loop = asyncio.get_running_loop()
        end, delay = loop.time() + BUDGET_S, RETRY_FIRST_S
        while True:
            if ack is not None and ack.error is not None and not _may_pass(ack.error):
                raise unavailable(f"the store refused the write: {ack.error.description}")
            if loop.time() > end:
                raise unavailable("the store did not confirm the write in time: the outcome is unknown")
            await asyncio.sleep(delay)
            delay = min(delay * 2, RETRY_MAX_S)
            try:
                entry = await leader_message(self._bus, self._stream, subject)
            except (BusTimeout, BusDown, NoResponders):
                continue
            if entry is not None and entry.operation == headers[HEADER_OPERATION]:
                return entry.revision
            if (entry.revision if entry else 0) != revision:
                raise RevisionMoved(subject)
            ack = await self._send(subject, data, headers)
            if ack is not None and ack.error is None:
                return ack.seq


def _may_pass(error: ApiError) -> bool:
    """Whether the refusal may end by itself: a leader election, a write in flight, a moved revision to look at."""
    return error.err_code in (WRONG_LAST_SEQUENCE, WRITE_IN_FLIGHT) or error.description == "no stream leader"


async def last_message(bus: Bus, stream: str, subject: str) -> Entry | None:
    """Direct get: any replica answers."""
    answer = await bus.request(f"$JS.API.DIRECT.GET.{stream}.{subject}", b"", timeout_s=READ_TIMEOUT_S)
    if STATUS in answer.headers and answer.headers[STATUS] != "200":
        return None
    if "Nats-Marker-Reason" in answer.headers or answer.headers.get("KV-Operation") in ("DEL", "PURGE"):
        return None
    return entry_of(answer.headers["Nats-Subject"], int(answer.headers["Nats-Sequence"]), answer.data, answer.headers)


async def leader_message(bus: Bus, stream: str, subject: str) -> Entry | None:
    """The last message of a subject as the stream leader has it: read-your-writes."""
    body = msgspec.json.encode({"last_by_subj": subject})
    answer = await bus.request(f"$JS.API.STREAM.MSG.GET.{stream}", body, timeout_s=READ_TIMEOUT_S)
    stored = _STORED.decode(answer.data)
    if stored.message is None:
        if stored.error is not None and stored.error.code != 404:
            raise BusTimeout(stored.error.description)
        return None
    message = stored.message
    return entry_of(message.subject, message.seq, base64.b64decode(message.data), _parse_headers(message.hdrs))


def entry_of(subject: str, revision: int, data: bytes, headers: Headers) -> Entry:
    return Entry(key_name(subject), revision, data, headers.get(HEADER_OPERATION, ""))


def _parse_headers(encoded: str) -> dict[str, str]:
    lines = base64.b64decode(encoded).decode().split("\r\n")[1:]
    return {name: value.strip() for name, separator, value in (line.partition(":") for line in lines) if separator}
