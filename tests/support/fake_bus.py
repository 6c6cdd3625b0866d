"""A bus in memory with just enough JetStream behind it and switches for its faults, and the real one behind one face."""

import asyncio
import base64
import contextlib
import heapq
import itertools
import os
import signal
from bisect import bisect_right
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import msgspec
import pytest
import structlog

from pointsman.client import nats_bus
from pointsman.client.bus import (
    Bus,
    BusDown,
    BusTimeout,
    Endpoint,
    Handler,
    Headers,
    Message,
    NoResponders,
)
from pointsman.services.runtime import buckets
from pointsman.services.runtime.clock import Clock, SystemClock
from pointsman.services.runtime.context import Context
from pointsman.services.runtime.embedded import folder
from pointsman.services.runtime.embedded.kept import Kept
from pointsman.services.runtime.embedded.nats import Nats
from pointsman.services.runtime.settings import Settings

log = structlog.get_logger()

EPOCH_MS = 1_700_000_000_000
FLOW_EVERY = 50
BUFFER_BYTES_MAX = 8 << 20
WITHIN_S = 20.0
SECRET = "a secret of the tests, long enough for HS256"


class VirtualTime:
    """The clock of an event loop without sockets: it jumps to the next timer whenever nothing can run."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop: Any = loop
        self._selector = self._loop._selector
        self._select = self._selector.select
        self.now_s = float(int(loop.time()))
        self._loop.time = lambda: self.now_s
        self._selector.select = self._jump

    def restore(self) -> None:
        del self._loop.time
        self._selector.select = self._select

    def _jump(self, timeout: float | None = None) -> Any:
        if timeout is None or timeout <= 0:
            return self._select(timeout)
        events = self._select(0)
        if not events:
            self.now_s += timeout
        return events


class LoopClock:
    """The loop's own time, so that virtual time moves what the services read."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._began_s = loop.time()
        self.skew_ms = 0

    def now_ms(self) -> int:
        return EPOCH_MS + round((self._loop.time() - self._began_s) * 1000) + self.skew_ms

    def monotonic_s(self) -> float:
        return self._loop.time()


def matches(pattern: str, subject: str) -> bool:
    """NATS wildcards: `*` is one token, `>` is one or more at the end."""
    wanted, given = pattern.split("."), subject.split(".")
    for position, token in enumerate(wanted):
        if token == ">":
            return len(given) > position
        if position >= len(given) or token not in ("*", given[position]):
            return False
    return len(wanted) == len(given)


@dataclass(eq=False)
class FakeSubscription:
    """Hands its messages over one after the other, as nats-py does."""

    bus: "FakeBus"
    subject: str
    handler: Handler
    queue: str
    _waiting: asyncio.Queue[Message] = field(default_factory=asyncio.Queue)
    _task: asyncio.Task[None] | None = None

    def deliver(self, message: Message) -> None:
        if self._task is None:
            self._task = asyncio.create_task(self._work(), name=f"subscription {self.subject}")
        self._waiting.put_nowait(message)

    async def unsubscribe(self) -> None:
        self.bus.forget(self)
        if self._task is not None:
            self._task.cancel()

    async def drain(self) -> None:
        self.bus.forget(self)
        await self._waiting.join()
        await self.unsubscribe()

    async def _work(self) -> None:
        while True:
            message = await self._waiting.get()
            try:
                await self.handler(message)
            except Exception:
                log.exception("handler failed", subject=self.subject)
            finally:
                self._waiting.task_done()


@dataclass
class FakeService:
    endpoints: list[FakeSubscription]
    discovery: list[FakeSubscription]

    async def drain(self) -> None:
        for subscription in self.endpoints:
            await subscription.drain()

    async def stop(self) -> None:
        for subscription in (*self.endpoints, *self.discovery):
            await subscription.unsubscribe()


class FakeBus:
    """One connection to a `FakeBroker`. While cut off it buffers what it sends, as nats-py does."""

    round_trip_url = "fake:4222"

    def __init__(self, broker: "FakeBroker", name: str) -> None:
        self._broker = broker
        self._name = name
        self._subscriptions: list[FakeSubscription] = []
        self._answers: dict[str, asyncio.Future[Message]] = {}
        self._callbacks: list[Callable[[], None]] = []
        self._buffer: list[tuple[str, bytes, Headers, str]] = []
        self._is_closed = False
        self.is_connected = True
        self.failing_publishes = 0

    async def publish(self, subject: str, data: bytes, headers: Headers | None = None, reply: str = "") -> None:
        if self.failing_publishes:
            self.failing_publishes -= 1
            raise BusDown("the next publish was to fail")
        self._send(subject, data, headers, reply)

    async def request(
        self, subject: str, data: bytes, *, headers: Headers | None = None, timeout_s: float = 5.0
    ) -> Message:
        inbox = self.new_inbox()
        answer = self._answers[inbox] = asyncio.get_running_loop().create_future()
        try:
            if self._send(subject, data, headers, inbox) == 0:
                raise NoResponders(subject)
            async with asyncio.timeout(timeout_s):
                return await answer
        except TimeoutError:
            raise BusTimeout(subject) from None
        finally:
            del self._answers[inbox]

    async def subscribe(self, subject: str, handler: Handler, *, queue: str = "") -> FakeSubscription:
        self._check(subject)
        subscription = FakeSubscription(self, subject, handler, queue)
        self._subscriptions.append(subscription)
        return subscription

    def new_inbox(self) -> str:
        return f"_INBOX.{self._name}.{next(self._broker.numbers)}"

    async def barrier(self) -> None:
        if not self.is_connected:
            raise BusDown("not connected")
        await asyncio.sleep(0)

    def on_reconnect(self, callback: Callable[[], None]) -> Callable[[], None]:
        self._callbacks.append(callback)
        return lambda: self._callbacks.remove(callback)

    async def add_service(
        self, name: str, version: str, endpoints: Sequence[Endpoint], *, queue: str, metadata: Headers
    ) -> FakeService:
        told = {"name": name, "id": f"{name}-{next(self._broker.numbers)}", "version": version}
        info = told | {
            "metadata": dict(metadata),
            "endpoints": [{"name": e.name, "subject": e.subject} for e in endpoints],
        }

        def answering(body: dict[str, object]) -> Handler:
            async def answer(message: Message) -> None:
                await self.publish(message.reply, msgspec.json.encode(body))

            return answer

        discovery = [
            await self.subscribe(f"$SRV.{what}{whom}", answering(body))
            for what, body in (("PING", told), ("INFO", info), ("STATS", told))
            for whom in ("", f".{name}", f".{name}.{told['id']}")
        ]
        served = [await self.subscribe(e.subject, e.handler, queue=queue) for e in endpoints]
        return FakeService(served, discovery)

    async def close(self) -> None:
        for subscription in tuple(self._subscriptions):
            await subscription.unsubscribe()
        self.is_connected, self._is_closed = False, True
        self._callbacks.clear()
        self._broker.buses.remove(self)

    def cut(self) -> None:
        """The connection breaks; what the broker sends meanwhile is lost for this bus."""
        self.is_connected = False

    def mend(self) -> None:
        if self.is_connected:
            return
        self.is_connected = True
        buffer, self._buffer = self._buffer, []
        for sent in buffer:
            self._broker.publish(*sent)
        for callback in tuple(self._callbacks):
            callback()

    def forget(self, subscription: FakeSubscription) -> None:
        if subscription in self._subscriptions:
            self._subscriptions.remove(subscription)

    def listening(self, subject: str) -> list[FakeSubscription]:
        return [one for one in self._subscriptions if self.is_connected and matches(one.subject, subject)]

    def answered(self, message: Message) -> bool:
        answer = self._answers.get(message.subject)
        if answer is None or answer.done() or not self.is_connected:
            return False
        answer.set_result(message)
        return True

    def _send(self, subject: str, data: bytes, headers: Headers | None, reply: str) -> int:
        """How many took it; a buffered message counts as taken, for its outcome is unknown."""
        self._check(subject)
        sent = (subject, bytes(data), dict(headers or {}), reply)
        if self.is_connected:
            return self._broker.publish(*sent)
        if sum(len(buffered[1]) for buffered in self._buffer) + len(data) > BUFFER_BYTES_MAX:
            raise BusDown("outbound buffer limit exceeded")
        self._buffer.append(sent)
        return 1

    def _check(self, subject: str) -> None:
        if self._is_closed:
            raise BusDown("connection closed")
        if not subject or " " in subject:
            raise BusDown("invalid subject")


@dataclass(frozen=True)
class Stored:
    subject: str
    seq: int
    data: bytes
    headers: dict[str, str]
    expires_s: float | None


class Stream:
    """A stream with compare-and-set, per-message TTL, at most n messages per subject, and what sources it."""

    def __init__(self, broker: "FakeBroker", config: dict[str, Any]) -> None:
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
        stored = Stored(subject, self.last_seq + 1, data, headers, expires_s)
        self._put(stored)
        self.journal.append(stored)
        self._broker.written(self, stored)
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

    def __init__(self, broker: "FakeBroker", stream: Stream, config: dict[str, Any]) -> None:
        self._broker = broker
        self._stream = stream
        self.name = str(config["name"])
        self._deliver = str(config["deliver_subject"])
        self.filter = str(config.get("filter_subject", ""))
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
            self._broker.deliver(self._deliver, Message(stored.subject, stored.data, dict(stored.headers), reply))
            if self._sent % FLOW_EVERY == 0:
                self._flow = f"$JS.FC.{self._stream.name}.{self.name}.{self._sent}"
                headers = {"Status": "100", "Description": "FlowControl Request"}
                self._broker.deliver(self._deliver, Message(self._deliver, b"", headers, self._flow))

    def _beat(self) -> None:
        headers = {"Status": "100", "Description": "Idle Heartbeat"}
        headers |= {"Nats-Last-Consumer": str(self._sent), "Nats-Last-Stream": str(self._stream_seq)}
        if self._flow:
            headers["Nats-Consumer-Stalled"] = self._flow
        self._broker.deliver(self._deliver, Message(self._deliver, b"", headers))


class FakeBroker:
    """The server behind all `FakeBus` connections."""

    def __init__(self, now_s: Callable[[], float]) -> None:
        self.now_s = now_s
        self.numbers = itertools.count(1)
        self.buses: list[FakeBus] = []
        self.streams: dict[str, Stream] = {}
        self._rng = Random(7)
        self._lost_answers: list[tuple[str, bool]] = []
        self._is_up = True

    def connect(self, name: str) -> FakeBus:
        bus = FakeBus(self, name)
        self.buses.append(bus)
        return bus

    def lose_answer(self, pattern: str, *, executed: bool = True) -> None:
        """The next request on such a subject is carried out, or not even that, and its answer never comes."""
        self._lost_answers.append((pattern, executed))

    def stop(self) -> None:
        """kill -9: every connection breaks, every push consumer is forgotten."""
        self._is_up = False
        for bus in self.buses:
            bus.cut()
        for stream in self.streams.values():
            for name in list(stream.consumers):
                self._drop_consumer(stream, name)

    def start(self) -> None:
        self._is_up = True
        for bus in tuple(self.buses):
            bus.mend()

    def close(self) -> None:
        self.stop()
        self.streams.clear()

    def publish(self, subject: str, data: bytes, headers: dict[str, str], reply: str) -> int:
        """How many took the message: subscribers, streams, the API."""
        for lost in self._lost_answers:
            if reply and matches(lost[0], subject):
                self._lost_answers.remove(lost)
                if not lost[1]:
                    return 1
                reply = "_LOST"
                break
        if subject.startswith("$JS.API."):
            return self._api(subject.removeprefix("$JS.API."), data, reply)
        if subject.startswith("$JS.FC."):
            self._flow_answered(subject)
            return 1
        taken = self.deliver(subject, Message(subject, data, headers, reply))
        for stream in list(self.streams.values()):
            if stream.takes(subject):
                taken += 1
                self._answer(reply, stream.write(subject, data, headers))
        if reply and not taken:
            self.deliver(reply, Message(reply, b"", {"Status": "503"}))
        return taken

    def deliver(self, subject: str, message: Message) -> int:
        """To all plain subscribers and to one of each queue group."""
        if any(bus.answered(message) for bus in self.buses):
            return 1
        listening = [one for bus in self.buses for one in bus.listening(subject)]
        chosen = [one for one in listening if not one.queue]
        for queue in sorted({one.queue for one in listening if one.queue}):
            chosen.append(self._rng.choice([one for one in listening if one.queue == queue]))
        for subscription in chosen:
            subscription.deliver(message)
        return len(chosen)

    def hears(self, subject: str) -> bool:
        return any(bus.listening(subject) for bus in self.buses)

    def written(self, stream: Stream, stored: Stored) -> None:
        """Tell consumers, the view and the streams that source this one."""
        for consumer in stream.consumers.values():
            consumer.wake.set()
        view = stream.config.get("republish")
        if view is not None and matches(view["src"], stored.subject):
            subject = view["dest"].replace("{{wildcard(1)}}", stored.subject.split(".")[2])
            headers = stored.headers | {"Nats-Stream": stream.name, "Nats-Sequence": str(stored.seq)}
            self.deliver(subject, Message(subject, stored.data, headers | {"Nats-Subject": stored.subject}))
        for other in self.streams.values():
            if any(source["name"] == stream.name for source in other.config.get("sources", ())):
                other.write(stored.subject, stored.data, {"Nats-Stream-Source": stream.name})

    def _api(self, call: str, data: bytes, reply: str) -> int:
        body: dict[str, Any] = msgspec.json.decode(data) if data else {}
        match call.split("."):
            case ["STREAM", "CREATE", name]:
                self._answer(reply, self._create(name, body))
            case ["STREAM", "UPDATE" | "INFO" | "DELETE" | "PURGE" as verb, name]:
                self._answer(reply, self._stream(verb, name, body))
            case ["STREAM", "MSG", "GET", name]:
                self._answer(reply, self._leader_get(name, body))
            case ["DIRECT", "GET", name, *subject] if name in self.streams and subject:
                self._direct_get(self.streams[name], ".".join(subject), reply)
            case ["CONSUMER", "CREATE", name, _, *_]:
                self._answer(reply, self._consume(name, body["config"]))
            case ["CONSUMER", "DELETE", name, consumer]:
                self._drop_consumer(self.streams.get(name), consumer)
                self._answer(reply, {"success": True})
            case _:
                return 0
        return 1

    def _answer(self, reply: str, body: dict[str, Any]) -> None:
        if reply:
            self.deliver(reply, Message(reply, msgspec.json.encode(body), {}))

    def _create(self, name: str, config: dict[str, Any]) -> dict[str, Any]:
        known = self.streams.get(name)
        if known is not None and known.config != config:
            return _error(400, 10058, "stream name already in use with a different configuration")
        stream = self.streams.setdefault(name, Stream(self, config))
        return stream.info()

    def _stream(self, verb: str, name: str, config: dict[str, Any]) -> dict[str, Any]:
        stream = self.streams.get(name)
        if stream is None:
            return _error(404, 10059, "stream not found")
        if verb == "UPDATE":
            stream.config = config
        elif verb == "DELETE":
            del self.streams[name]
        elif verb == "PURGE":
            for seq in list(stream.messages):
                stream.remove(seq)
        return stream.info() | {"success": True}

    def _leader_get(self, name: str, body: dict[str, Any]) -> dict[str, Any]:
        stream = self.streams.get(name)
        if stream is None:
            return _error(404, 10059, "stream not found")
        stored = stream.last(body["last_by_subj"])
        if stored is None:
            return _error(404, 10037, "no message found")
        lines = "".join(f"{header}: {value}\r\n" for header, value in stored.headers.items())
        headers = base64.b64encode(f"NATS/1.0\r\n{lines}\r\n".encode()).decode()
        data = base64.b64encode(stored.data).decode()
        return {"message": {"subject": stored.subject, "seq": stored.seq, "hdrs": headers, "data": data}}

    def _direct_get(self, stream: Stream, subject: str, reply: str) -> None:
        stored = stream.last(subject)
        if stored is None:
            self.deliver(reply, Message(reply, b"", {"Status": "404", "Description": "Message Not Found"}))
            return
        headers = {"Nats-Stream": stream.name, "Nats-Subject": stored.subject, "Nats-Sequence": str(stored.seq)}
        self.deliver(reply, Message(reply, stored.data, stored.headers | headers))

    def _consume(self, name: str, config: dict[str, Any]) -> dict[str, Any]:
        stream = self.streams.get(name)
        if stream is None:
            return _error(404, 10059, "stream not found")
        if "deliver_subject" not in config:
            return {"name": config["name"], "num_pending": 0}
        consumer = stream.consumers[config["name"]] = PushConsumer(self, stream, config)
        return {"name": consumer.name, "num_pending": consumer.pending()}

    def _drop_consumer(self, stream: Stream | None, name: str) -> None:
        consumer = stream.consumers.pop(name, None) if stream is not None else None
        if consumer is not None:
            consumer.task.cancel()

    def _flow_answered(self, subject: str) -> None:
        for stream in self.streams.values():
            for consumer in stream.consumers.values():
                consumer.flow_answered(subject)


def _error(code: int, err_code: int, description: str) -> dict[str, Any]:
    return {"error": {"code": code, "err_code": err_code, "description": description}}


class LossyProxy:
    """A TCP proxy before a real broker that can swallow one acknowledgement or go silent both ways."""

    def __init__(self, host: str, port: int) -> None:
        self._upstream = (host, port)
        self._server: asyncio.Server | None = None
        self._open = asyncio.Event()
        self._open.set()
        self._writers: list[asyncio.StreamWriter] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self.lost_acks = 0

    async def start(self) -> int:
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        return int(self._server.sockets[0].getsockname()[1])

    @property
    def is_cut(self) -> bool:
        return not self._open.is_set()

    def cut(self) -> None:
        self._open.clear()

    def mend(self) -> None:
        """What was stuck is thrown away with its connection; the client comes back on a new one."""
        for writer in self._writers:
            writer.transport.abort()
        self._open.set()

    async def stop(self) -> None:
        assert self._server is not None
        self._server.close()
        for writer in self._writers:
            writer.transport.abort()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            upstream, sender = await asyncio.open_connection(*self._upstream)
        except OSError:
            writer.transport.abort()
            return
        self._writers += [writer, sender]
        for work in (self._forward(reader, sender), self._filter(upstream, writer)):
            task = asyncio.create_task(work)
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                await self._open.wait()
                writer.write(data)
                await writer.drain()
        writer.transport.abort()

    async def _filter(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            while line := await reader.readline():
                await self._open.wait()
                words = line.split()
                is_message = bool(words) and words[0] in (b"MSG", b"HMSG")
                body = await reader.readexactly(int(words[-1]) + 2) if is_message else b""
                if self.lost_acks and is_message and body.startswith(b'{"stream":"KV_'):
                    self.lost_acks -= 1
                    continue
                writer.write(line + body)
                await writer.drain()
        writer.transport.abort()


class FakeWorld:
    kind = "fake"

    def __init__(self, _tmp_path: Path) -> None:
        loop = asyncio.get_running_loop()
        self.time = VirtualTime(loop)
        self.clock: Clock = LoopClock(loop)
        self.broker = FakeBroker(loop.time)
        self.settings = Settings(jwt_secret=SECRET, egress_allow=("127.0.0.0/8",))

    async def start(self) -> None:
        return

    async def connect(self, name: str = "test") -> Bus:
        return self.broker.connect(name)

    def cut(self, bus: Bus) -> None:
        assert isinstance(bus, FakeBus)
        bus.cut()

    async def mend(self, bus: Bus) -> None:
        assert isinstance(bus, FakeBus)
        bus.mend()

    def lose_ack(self, _bus: Bus) -> None:
        self.broker.lose_answer("$KV.>")

    async def kill_broker(self) -> None:
        """kill -9, and it starts again; returns when the buses are connected again."""
        self.broker.stop()
        await asyncio.sleep(0.1)
        self.broker.start()

    async def close(self) -> None:
        for bus in tuple(self.broker.buses):
            await bus.close()
        self.broker.close()
        self.time.restore()


class RealWorld:
    kind = "nats"

    def __init__(self, tmp_path: Path) -> None:
        self._nats = Nats(folder.make(tmp_path / "data"))
        self._kept = Kept(self._nats)
        self._proxies: dict[Bus, LossyProxy] = {}
        self.clock: Clock = SystemClock()
        self.settings = Settings(jwt_secret=SECRET, egress_allow=("127.0.0.0/8",))

    async def start(self) -> None:
        self._kept.start()
        await self._kept.ready(within_s=WITHIN_S)

    async def connect(self, name: str = "test") -> Bus:
        host, _, port = self._nats.url.removeprefix("nats://").partition(":")
        proxy = LossyProxy(host, int(port))
        url = f"nats://127.0.0.1:{await proxy.start()}"
        bus = await nats_bus.connect(url, name=name, user=self._nats.user, password=self._nats.password)
        self._proxies[bus] = proxy
        return bus

    def cut(self, bus: Bus) -> None:
        self._proxies[bus].cut()

    async def mend(self, bus: Bus) -> None:
        back = asyncio.Event()
        forget = bus.on_reconnect(back.set)
        self._proxies[bus].mend()
        async with asyncio.timeout(WITHIN_S):
            await back.wait()
        forget()

    def lose_ack(self, bus: Bus) -> None:
        self._proxies[bus].lost_acks += 1

    async def kill_broker(self) -> None:
        """kill -9; `Kept` starts it again. Returns when the buses are connected again."""
        back = [asyncio.Event() for _ in self._proxies]
        forget = [bus.on_reconnect(event.set) for bus, event in zip(self._proxies, back, strict=True)]
        assert self._kept.pid is not None
        os.kill(self._kept.pid, signal.SIGKILL)
        async with asyncio.timeout(WITHIN_S):
            for event in back:
                await event.wait()
        for one in forget:
            one()

    async def close(self) -> None:
        for bus, proxy in self._proxies.items():
            if proxy.is_cut:
                await self.mend(bus)
            await bus.close()
            await proxy.stop()
        await self._kept.stop()


World = FakeWorld | RealWorld


def context(world: World, bus: Bus, instance: str = "host-1") -> Context:
    return Context(bus, world.settings, world.clock, instance)


async def until[T](claim: Callable[[], T], within_s: float = WITHIN_S) -> T:
    """Poll until the claim holds; under virtual time this costs nothing."""
    async with asyncio.timeout(within_s):
        while not (value := claim()):
            await asyncio.sleep(0.01)
    return value


async def a_world(kind: str, tmp_path: Path) -> AsyncIterator[World]:
    world = FakeWorld(tmp_path) if kind == "fake" else RealWorld(tmp_path)
    try:
        await world.start()
        yield world
    finally:
        await world.close()


@pytest.fixture(params=["fake", "nats"])
async def world(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[World]:
    """Either bus, nothing on it yet: a test must pass on both with the same assertions."""
    async for one in a_world(request.param, tmp_path):
        yield one


@pytest.fixture
async def bus(world: World) -> Bus:
    """A connection to a broker that has the streams of Pointsman."""
    connected = await world.connect()
    await buckets.ensure(connected, relaxed=False, replicas=1)
    return connected


@pytest.fixture
async def fake(tmp_path: Path) -> AsyncIterator[FakeWorld]:
    """The fake alone, with virtual time and the streams of Pointsman."""
    async for one in a_world("fake", tmp_path):
        assert isinstance(one, FakeWorld)
        await buckets.ensure(await one.connect("setup"), relaxed=False, replicas=1)
        yield one
