"""A bus in memory and the broker behind it, with switches for their faults."""

import asyncio
import base64
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from random import Random
from typing import Any

import msgspec
import structlog

from pointsman.client.bus import (
    BusDown,
    BusTimeout,
    Endpoint,
    Handler,
    Headers,
    Message,
    NoResponders,
)
from tests.support.fake_jetstream import PushConsumer, Stored, Stream, matches
from tests.support.virtual_time import EPOCH_MS

log = structlog.get_logger()

BUFFER_BYTES_MAX = 8 << 20


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
        self._began_s = now_s()

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

    def written(self, stream: Stream, stored: Stored, last_seq: int) -> None:
        """Tell consumers, the view and the streams that source this one."""
        for consumer in stream.consumers.values():
            consumer.wake.set()
        view = stream.config.get("republish")
        if view is not None and matches(view["src"], stored.subject):
            subject = view["dest"].replace("{{wildcard(1)}}", stored.subject.split(".")[2])
            places = {"Nats-Sequence": str(stored.seq), "Nats-Last-Sequence": str(last_seq)}
            headers = stored.headers | {"Nats-Stream": stream.name, "Nats-Subject": stored.subject} | places
            self.deliver(subject, Message(subject, stored.data, headers))
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
            case ["DIRECT", "GET", name] if name in self.streams:
                self._direct_get_from(self.streams[name], body["start_time"], reply)
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

    def _direct_get_from(self, stream: Stream, start_time: str, reply: str) -> None:
        from_s = datetime.fromisoformat(start_time).timestamp() - EPOCH_MS / 1000 + self._began_s
        self._direct(stream, next((one for one in stream.after(0, "") if one.at_s >= from_s), None), reply)

    def _direct_get(self, stream: Stream, subject: str, reply: str) -> None:
        self._direct(stream, stream.last(subject), reply)

    def _direct(self, stream: Stream, stored: Stored | None, reply: str) -> None:
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
