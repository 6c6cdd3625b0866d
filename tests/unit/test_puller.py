"""The pull stays open and within its window, whatever the server answers."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

import msgspec

from pointsman.client.bus import Handler, Headers, Message
from pointsman.services.runtime import puller
from pointsman.services.runtime.puller import WINDOW_MESSAGES, Puller


@dataclass
class Inbox:
    handler: Handler
    is_left: bool = False

    async def drain(self) -> None:
        self.is_left = True


@dataclass
class PullBus:
    """The server's side of a pull: records requests, lets the test answer them."""

    requests: asyncio.Queue[tuple[str, int]] = field(default_factory=asyncio.Queue)
    inboxes: dict[str, Inbox] = field(default_factory=dict)
    callbacks: list[Callable[[], None]] = field(default_factory=list)

    def new_inbox(self) -> str:
        return f"inbox.{len(self.inboxes)}"

    async def subscribe(self, subject: str, handler: Handler, *, queue: str = "") -> Inbox:
        inbox = subject.removesuffix(".*")
        self.inboxes[inbox] = Inbox(handler)
        return self.inboxes[inbox]

    async def publish(self, subject: str, data: bytes, headers: Headers | None = None, reply: str = "") -> None:
        self.requests.put_nowait((reply, msgspec.json.decode(data)["batch"]))

    def on_reconnect(self, callback: Callable[[], None]) -> Callable[[], None]:
        self.callbacks.append(callback)
        return lambda: self.callbacks.remove(callback)

    async def next_pull(self) -> tuple[str, int]:
        return await asyncio.wait_for(self.requests.get(), 5)

    def inbox(self, reply: str) -> Inbox:
        return self.inboxes[reply.rpartition(".")[0]]

    async def send(self, reply: str, count: int = 1) -> None:
        for _ in range(count):
            await self.inbox(reply).handler(Message("$KV.tasks.t", b"record", {}, "ack"))

    async def say(self, reply: str, status: str, description: str = "") -> None:
        await self.inbox(reply).handler(Message(reply, b"", {"Status": status, "Description": description}))


class FakeClock:
    def __init__(self) -> None:
        self.now_s = 1000.0

    def now_ms(self) -> int:
        return int(self.now_s * 1000)

    def monotonic_s(self) -> float:
        return self.now_s


class Pulling:
    """A running puller and what it delivered."""

    def __init__(self) -> None:
        self.bus, self.clock, self.delivered = PullBus(), FakeClock(), list[Message]()
        self.puller = Puller(self.bus, "HISTORY", "history", self.delivered.append, self.clock)  # type: ignore[arg-type]

    async def __aenter__(self) -> "Pulling":
        self._task = asyncio.create_task(self.puller.run())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()
        await asyncio.wait({self._task})


async def test_a_full_window_is_not_exceeded_and_opens_again_when_places_come_back() -> None:
    async with Pulling() as pulling:
        inbox, asked = await pulling.bus.next_pull()
        await pulling.bus.send(inbox, asked)
        assert asked == WINDOW_MESSAGES == pulling.puller.held
        assert pulling.bus.requests.empty()
        pulling.puller.release(600, 600 * len(b"record"))
        assert (await pulling.bus.next_pull())[1] == 600


async def test_an_expired_pull_is_renewed() -> None:
    async with Pulling() as pulling:
        inbox, _ = await pulling.bus.next_pull()
        await pulling.bus.say(inbox, "408", "Request Timeout")
        assert (await pulling.bus.next_pull())[1] == WINDOW_MESSAGES


async def test_a_pull_that_ran_out_of_bytes_is_renewed() -> None:
    async with Pulling() as pulling:
        inbox, _ = await pulling.bus.next_pull()
        await pulling.bus.say(inbox, "409", puller.USED_UP[0])
        assert (await pulling.bus.next_pull())[1] == WINDOW_MESSAGES


async def test_after_a_reconnect_a_fresh_inbox_pulls_at_once() -> None:
    async with Pulling() as pulling:
        first, _ = await pulling.bus.next_pull()
        pulling.bus.callbacks[0]()
        second, _ = await pulling.bus.next_pull()
        assert pulling.bus.inbox(first) is not pulling.bus.inbox(second)
        assert pulling.bus.inbox(first).is_left


async def test_silence_is_answered_by_a_fresh_pull() -> None:
    async with Pulling() as pulling:
        first, _ = await pulling.bus.next_pull()
        pulling.clock.now_s += puller.SILENCE_S
        await pulling.bus.say(first, puller.HEARTBEAT)
        pulling.clock.now_s += puller.SILENCE_S + 1
        pulling.puller.release(0, 0)
        second, _ = await pulling.bus.next_pull()
        assert first != second


async def test_a_missing_consumer_is_asked_for_again() -> None:
    async with Pulling() as pulling:
        inbox, _ = await pulling.bus.next_pull()
        await pulling.bus.say(inbox, "503")
        assert (await pulling.bus.next_pull())[1] == WINDOW_MESSAGES


async def test_what_is_said_of_an_ended_pull_does_not_end_the_next() -> None:
    async with Pulling() as pulling:
        first, asked = await pulling.bus.next_pull()
        await pulling.bus.send(first, asked)
        pulling.puller.release(asked, asked * len(b"record"))
        await pulling.bus.next_pull()
        await pulling.bus.say(first, "409", puller.USED_UP[1])
        pulling.puller.release(0, 0)
        await asyncio.sleep(0)
        assert pulling.bus.requests.empty()
