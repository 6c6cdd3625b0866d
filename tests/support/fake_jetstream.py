"""Streams in memory, as far as Pointsman uses JetStream: what they keep, expire, refuse and deliver."""

import asyncio
import heapq
from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from pointsman.client.bus import Message

FLOW_EVERY = 50


class Broker(Protocol):
    """What a stream needs of the broker it lives in."""

    now_s: Callable[[], float]

    def deliver(self, subject: str, message: Message) -> int: ...

    def hears(self, subject: str) -> bool: ...

    def written(self, stream: "Stream", stored: "Stored") -> None: ...


def matches(pattern: str, subject: str) -> bool:
    """NATS wildcards: `*` is one token, `>` is one or more at the end."""
    wanted, given = pattern.split("."), subject.split(".")
    for position, token in enumerate(wanted):
        if token == ">":
            return len(given) > position
        if position >= len(given) or token not in ("*", given[position]):
            return False
    return len(wanted) == len(given)


@dataclass(frozen=True)
class Stored:
    subject: str
    seq: int
    data: bytes
    headers: dict[str, str]
    expires_s: float | None
    at_s: float


class Stream:
    """A stream with compare-and-set, per-message TTL, at most n messages per subject, and what sources it."""

    def __init__(self, broker: Broker, config: dict[str, Any]) -> None:
        self._broker = broker
        self.config = config
        self.messages: dict[int, Stored] = {}
        self.journal: list[Stored] = []
        self.consumers: dict[str, PushConsumer] = {}
        self.last_seq = 0
        self._subjects: dict[str, list[int]] = {}
        self._expiring: list[tuple[float, int]] = []

    @property
    def name(self) -> str:
        return str(self.config["name"])

    def takes(self, subject: str) -> bool:
        return any(matches(pattern, subject) for pattern in self.config.get("subjects", ()))

    def last(self, subject: str) -> Stored | None:
        self._expire()
        seqs = self._subjects.get(subject)
        return self.messages[seqs[-1]] if seqs else None

    def after(self, seq: int, pattern: str) -> list[Stored]:
        self._expire()
        seqs = list(self.messages)
        later = (self.messages[one] for one in seqs[bisect_right(seqs, seq) :])
        return [one for one in later if not pattern or matches(pattern, one.subject)]

    def write(self, subject: str, data: bytes, headers: dict[str, str]) -> dict[str, Any]:
        """The publish acknowledgement."""
        last = self.last(subject)
        expected = headers.get("Nats-Expected-Last-Subject-Sequence")
        if expected is not None and expected != str(last.seq if last else 0):
            return self._refusal(10071, f"wrong last sequence: {last.seq if last else 0}")
        ttl = headers.get("Nats-TTL")
        if ttl is not None and not self.config.get("allow_msg_ttl"):
            return self._refusal(10166, "per-message TTL is disabled")
        if ttl is not None and (not ttl.endswith("s") or int(ttl[:-1]) < 1):
            return self._refusal(10165, "invalid per-message TTL")
        expires_s = self._broker.now_s() + int(ttl[:-1]) if ttl is not None else None
        stored = Stored(subject, self.last_seq + 1, data, headers, expires_s, self._broker.now_s())
        self._put(stored)
        self.journal.append(stored)
        self._broker.written(self, stored, last.seq if last else 0)
        return {"stream": self.name, "seq": stored.seq}

    def remove(self, seq: int) -> None:
        stored = self.messages.pop(seq)
        self._subjects[stored.subject].remove(seq)

    def lose_tail(self, count: int) -> None:
        """What kill -9 does to a relaxed stream: the last writes are gone, and what they had replaced is back."""
        self.journal = self.journal[: len(self.journal) - count]
        self.messages, self._subjects, self._expiring, self.last_seq = {}, {}, [], 0
        for stored in self.journal:
            self._put(stored)

    def info(self) -> dict[str, Any]:
        self._expire()
        seqs = list(self.messages)
        state = {"messages": len(seqs), "first_seq": seqs[0] if seqs else self.last_seq + 1, "last_seq": self.last_seq}
        return {"config": self.config, "state": state}

    def _put(self, stored: Stored) -> None:
        self.last_seq = stored.seq
        self.messages[stored.seq] = stored
        seqs = self._subjects.setdefault(stored.subject, [])
        seqs.append(stored.seq)
        limit = self.config.get("max_msgs_per_subject", 0)
        if limit > 0 and len(seqs) > limit:
            self.remove(seqs[0])
        if stored.expires_s is not None:
            heapq.heappush(self._expiring, (stored.expires_s, stored.seq))

    def _expire(self) -> None:
        while self._expiring and self._expiring[0][0] <= self._broker.now_s():
            _, seq = heapq.heappop(self._expiring)
            if seq in self.messages:
                self.remove(seq)

    def _refusal(self, code: int, description: str) -> dict[str, Any]:
        return {"error": {"code": 400, "err_code": code, "description": description}, "stream": self.name, "seq": 0}


class PushConsumer:
    """Delivers a stream in order, with ack reply subjects, flow control and idle heartbeats."""

    def __init__(self, broker: Broker, stream: Stream, config: dict[str, Any]) -> None:
        self._broker = broker
        self._stream = stream
        self.name = str(config["name"])
        self._deliver = str(config["deliver_subject"])
        self.filter = str(config.get("filter_subject", ""))
        self._headers_only = bool(config.get("headers_only"))
        self._stream_seq = int(config.get("opt_start_seq", 1)) - 1
        self._sent = 0
        self._heartbeat_s = config.get("idle_heartbeat", 10**9) / 1e9
        self._flow = ""
        self.wake = asyncio.Event()
        self.wake.set()
        self.task = asyncio.create_task(self._run(), name=f"consumer {self.name}")

    def pending(self) -> int:
        return len(self._stream.after(self._stream_seq, self.filter))

    def flow_answered(self, subject: str) -> None:
        if subject == self._flow:
            self._flow = ""
            self.wake.set()

    async def _run(self) -> None:
        while True:
            try:
                async with asyncio.timeout(self._heartbeat_s):
                    await self.wake.wait()
            except TimeoutError:
                self._beat()
            self.wake.clear()
            self._push()

    def _push(self) -> None:
        waiting = self._stream.after(self._stream_seq, self.filter)
        for position, stored in enumerate(waiting):
            if self._flow or not self._broker.hears(self._deliver):
                return
            self._stream_seq = stored.seq
            self._sent += 1
            pending = len(waiting) - position - 1
            reply = f"$JS.ACK.{self._stream.name}.{self.name}.1.{stored.seq}.{self._sent}.0.{pending}"
            self._broker.deliver(self._deliver, self._message(stored, reply))
            if self._sent % FLOW_EVERY == 0:
                self._flow = f"$JS.FC.{self._stream.name}.{self.name}.{self._sent}"
                headers = {"Status": "100", "Description": "FlowControl Request"}
                self._broker.deliver(self._deliver, Message(self._deliver, b"", headers, self._flow))

    def _message(self, stored: Stored, reply: str) -> Message:
        headers = dict(stored.headers)
        if not self._headers_only:
            return Message(stored.subject, stored.data, headers, reply)
        return Message(stored.subject, b"", headers | {"Nats-Msg-Size": str(len(stored.data))}, reply)

    def _beat(self) -> None:
        headers = {"Status": "100", "Description": "Idle Heartbeat"}
        headers |= {"Nats-Last-Consumer": str(self._sent), "Nats-Last-Stream": str(self._stream_seq)}
        if self._flow:
            headers["Nats-Consumer-Stalled"] = self._flow
        self._broker.deliver(self._deliver, Message(self._deliver, b"", headers))
