"""The bus over nats-py: the only module that imports nats, and the place of its workarounds (NATS.md §8)."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

import nats.errors
import nats.micro
import structlog
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription as NatsSubscription

from pointsman.client.bus import (
    BusDown,
    BusTimeout,
    Endpoint,
    Handler,
    Headers,
    Message,
    NoResponders,
    Service,
    Subscription,
)

log = structlog.get_logger()

GONE = (nats.errors.Error, OSError, RuntimeError)
"""What the library raises for a connection that has just broken; a RuntimeError is what uvloop has for a closed one."""

NO_HEADERS: Headers = {}
OPTIONS: dict[str, Any] = {
    "max_reconnect_attempts": -1,
    "reconnect_time_wait": 0.25,
    "connect_timeout": 2,
    "ping_interval": 5,
    "max_outstanding_pings": 2,
    "pending_size": 8 << 20,
}
"""Reconnects for ever; a broker that says nothing is noticed after 15 s; what cannot be sent waits up to 8 MiB."""


def to_message(msg: Msg) -> Message:
    return Message(msg.subject, msg.data, msg.headers or NO_HEADERS, msg.reply)


class NatsSubscriptionHandle:
    def __init__(self, subscription: NatsSubscription) -> None:
        self._subscription = subscription

    async def unsubscribe(self) -> None:
        with contextlib.suppress(nats.errors.Error):
            await self._subscription.unsubscribe()

    async def drain(self) -> None:
        with contextlib.suppress(nats.errors.Error):
            await self._subscription.drain()  # type: ignore[no-untyped-call]


@dataclass
class NatsService:
    service: nats.micro.service.Service

    async def drain(self) -> None:
        """micro's own stop() unsubscribes and drops what is queued; drain each subscription first."""
        for endpoint in self.service._endpoints:
            subscription = endpoint._subscription
            if subscription is not None:
                with contextlib.suppress(nats.errors.Error):
                    await subscription.drain()
            endpoint._subscription = None
        self.service._endpoints = []

    async def stop(self) -> None:
        with contextlib.suppress(nats.errors.Error):
            await self.service.stop()


class NatsBus:
    """`connect` makes it; `closed` is set when the client gave up for good (a fatal -ERR), which must end the process."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._callbacks: list[Callable[[], None]] = []
        self._closing = False
        self.closed = asyncio.Event()

    @property
    def is_connected(self) -> bool:
        return bool(self._client.is_connected)

    @property
    def round_trip_url(self) -> str:
        url = self._client.connected_url
        return f"{url.hostname}:{url.port}" if url else ""

    async def publish(self, subject: str, data: bytes, headers: Headers | None = None, reply: str = "") -> None:
        try:
            await self._client.publish(subject, data, reply, dict(headers) if headers else None)
        except nats.errors.Error as error:
            raise BusDown(str(error)) from error

    async def request(
        self, subject: str, data: bytes, *, headers: Headers | None = None, timeout_s: float = 5.0
    ) -> Message:
        """Not sent while disconnected: the library would hold it back, and its caller until the timeout."""
        if not self._client.is_connected:
            raise BusDown(f"{subject}: not connected")
        try:
            answer = await self._client.request(
                subject, data, timeout=timeout_s, headers=dict(headers) if headers else None
            )
        except nats.errors.NoRespondersError as error:
            raise NoResponders(subject) from error
        except TimeoutError as error:
            raise BusTimeout(subject) from error
        except nats.errors.Error as error:
            raise BusDown(f"{subject}: {error}") from error
        return to_message(answer)

    async def subscribe(self, subject: str, handler: Handler, *, queue: str = "") -> Subscription:
        async def callback(msg: Msg) -> None:
            await handler(to_message(msg))

        try:
            return NatsSubscriptionHandle(await self._client.subscribe(subject, queue=queue, cb=callback))
        except nats.errors.Error as error:
            raise BusDown(str(error)) from error

    def new_inbox(self) -> str:
        return str(self._client.new_inbox())

    async def barrier(self) -> None:
        """The library takes a cancellation of its flusher for an answer, and breaks the connection when the PONG of a flush
        that was given up comes: both are waited for whoever leaves."""
        flushing = asyncio.ensure_future(self._flush())
        flushing.add_done_callback(_retrieve)
        try:
            await asyncio.shield(flushing)
        except (*GONE, TimeoutError) as error:
            raise BusDown(str(error)) from error

    async def _flush(self) -> None:
        """flush() lets its PING overtake pending commands: write those out first."""
        await self._client._flush_pending(force_flush=True)
        await self._client.flush()

    def on_reconnect(self, callback: Callable[[], None]) -> Callable[[], None]:
        self._callbacks.append(callback)

        def forget() -> None:
            if callback in self._callbacks:
                self._callbacks.remove(callback)

        return forget

    async def reconnected(self) -> None:
        log.info("bus reconnected", server=self.round_trip_url)
        for callback in tuple(self._callbacks):
            callback()

    async def disconnected(self) -> None:
        """Whoever waits for an answer waits in vain: tell now instead of at the timeout."""
        if not self._closing:
            log.warning("bus disconnected")
        for future in list(self._client._resp_map.values()):
            if not future.done():
                future.set_exception(nats.errors.ConnectionClosedError())

    async def add_service(
        self, name: str, version: str, endpoints: Sequence[Endpoint], *, queue: str, metadata: Headers
    ) -> Service:
        try:
            service = await nats.micro.add_service(
                self._client, name=name, version=version, queue_group=queue, metadata=dict(metadata)
            )
            for endpoint in endpoints:
                await service.add_endpoint(
                    name=endpoint.name, subject=endpoint.subject, handler=_micro_handler(endpoint.handler)
                )
        except nats.errors.Error as error:
            raise BusDown(f"{name}: {error}") from error
        await self.barrier()
        return NatsService(service)

    async def close(self) -> None:
        self._closing = True
        self._callbacks.clear()
        try:
            await self._client.drain()
        except (*GONE, TimeoutError):
            await self.leave()

    async def leave(self) -> None:
        """Close at once: what has arrived and is not handled yet is dropped."""
        self._closing = True
        self._callbacks.clear()
        with contextlib.suppress(*GONE):
            await self._client.close()


def _micro_handler(handler: Handler) -> Callable[[Any], Awaitable[None]]:
    async def handle(request: Any) -> None:
        await handler(to_message(request._msg))

    return handle


def _log_error(reason: str) -> None:
    log.warning("bus error", error=reason)


def _retrieve(done: asyncio.Future[None]) -> None:
    """So that nobody complains of an error that nobody waits for any more."""
    if not done.cancelled():
        done.exception()


def _ignore() -> None:
    pass


async def connect(
    url: str,
    *,
    name: str,
    user: str = "",
    password: str = "",
    credentials_file: str = "",
    connect_timeout_s: float = 5.0,
    on_error: Callable[[str], None] = _log_error,
    on_lost: Callable[[], None] = _ignore,
) -> NatsBus:
    """Connect and keep reconnecting for ever; raises BusDown when the first connection fails.

    `on_error` hears what the server refuses, such as a subject; `on_lost` when the connection breaks.
    """
    bus = NatsBus(Client())
    login: dict[str, Any] = {"user": user, "password": password} if user else {}
    if credentials_file:
        login["user_credentials"] = credentials_file
    callbacks = _callbacks(bus, on_error, on_lost)
    try:
        async with asyncio.timeout(connect_timeout_s):
            await bus._client.connect(url.split(","), name=name, **OPTIONS, **callbacks, **login)
    except (nats.errors.Error, OSError, TimeoutError) as error:
        with contextlib.suppress(Exception):
            await bus._client.close()
        raise BusDown(f"{url.rpartition('@')[2]}: {str(error) or type(error).__name__}") from error
    return bus


def _callbacks(bus: NatsBus, on_error: Callable[[str], None], on_lost: Callable[[], None]) -> dict[str, Any]:
    """What the library is to call."""

    async def tell_error(error: Exception) -> None:
        on_error(str(error) or type(error).__name__)

    async def tell_lost() -> None:
        await bus.disconnected()
        on_lost()

    async def tell_closed() -> None:
        bus.closed.set()

    return {
        "error_cb": tell_error,
        "disconnected_cb": tell_lost,
        "reconnected_cb": bus.reconnected,
        "closed_cb": tell_closed,
    }
