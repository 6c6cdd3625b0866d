"""A real executor for tests: over real sockets to one server, with a wire instead of a bus."""

import asyncio
import base64
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from random import Random
from typing import Any

import msgspec

from pointsman.client.bus import Handler, Headers, Message, Subscription
from pointsman.contracts import subjects
from pointsman.contracts.base import encode
from pointsman.contracts.execution import Abort, Handover
from pointsman.contracts.ids import new_task_id
from pointsman.contracts.record import Attempt, CurrentAttempt, Lease, TaskRecord, TaskSpec
from pointsman.contracts.server import ServerConfig, ServerSecret, Tls
from pointsman.services.instance.abort import Canceller
from pointsman.services.instance.attempt import Attempts
from pointsman.services.instance.backend import Backends
from pointsman.services.instance.executor import Executor
from pointsman.services.instance.fleet import Fleet
from pointsman.services.runtime.clock import SystemClock
from pointsman.services.runtime.egress import policy_of
from pointsman.services.runtime.follow import Followed
from pointsman.services.runtime.outcomes import Outcome
from pointsman.services.runtime.settings import Settings
from pointsman.services.runtime.settling import Settled

CLOCK = SystemClock()
SERVER, EXECUTOR = "s1", "e1"
SIGNING_SECRET = "whsec_" + base64.b64encode(bytes(range(32))).decode()
WITHIN_S = 10.0


class Nothing:
    async def drain(self) -> None:
        return

    async def unsubscribe(self) -> None:
        return


@dataclass
class Wire:
    """What an executor needs of a bus: its handlers, and what it said."""

    handlers: dict[str, Handler] = field(default_factory=dict)
    said: list[tuple[str, bytes]] = field(default_factory=list)
    news: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def subscribe(self, subject: str, handler: Handler, *, queue: str = "") -> Subscription:
        self.handlers[subject] = handler
        return Nothing()

    async def publish(self, subject: str, data: bytes, headers: Headers | None = None, reply: str = "") -> None:
        async with self.news:
            self.said.append((subject, data))
            self.news.notify_all()

    async def barrier(self) -> None:
        return

    def heard[T](self, subject: str, shape: type[T]) -> list[T]:
        return [msgspec.json.decode(data, type=shape) for at, data in self.said if at == subject]


@dataclass
class Bench:
    executor: Executor
    wire: Wire
    outcomes: dict[str, Outcome]
    settled: asyncio.Condition
    answer: Settled = Settled.COMMITTED

    async def hand(self, handover: Handover) -> None:
        await self.wire.handlers[subjects.execute(EXECUTOR)](Message("", encode(handover), {}))

    async def abort(self, handover: Handover) -> None:
        order = Abort(task_id=handover.task_id, generation=1, number=1, server_id=SERVER, reason="cancelled")
        await self.wire.handlers[subjects.abort(EXECUTOR)](Message("", encode(order), {}))

    async def outcome(self, handover: Handover) -> Outcome:
        async with asyncio.timeout(WITHIN_S), self.settled:
            await self.settled.wait_for(lambda: handover.task_id in self.outcomes)
        return self.outcomes[handover.task_id]

    async def run(self, behave: str, **changes: Any) -> Outcome:
        handover = handover_of(behave, **changes)
        await self.hand(handover)
        return await self.outcome(handover)

    async def said[T](self, subject: str, shape: type[T]) -> T:
        async with asyncio.timeout(WITHIN_S), self.wire.news:
            await self.wire.news.wait_for(lambda: self.wire.heard(subject, shape))
        return self.wire.heard(subject, shape)[-1]


def handover_of(
    behave: str, *, timeout_ms: int = 8_000, start_in_ms: int = 5_000, attempts: tuple[Attempt, ...] = ()
) -> Handover:
    now, task_id = CLOCK.now_ms(), new_task_id(CLOCK.now_ms())
    payload = msgspec.Raw(msgspec.json.encode({"behave": behave}))
    spec = TaskSpec(type="t", deadline=now + 60_000, timeout_ms=timeout_ms, payload=payload)
    record = TaskRecord(id=task_id, owner="o", spec=spec, created_at=now, updated_at=now)
    current = CurrentAttempt(
        number=1,
        server_id=SERVER,
        executor=EXECUTOR,
        started_at=now,
        start_by=now + start_in_ms,
        deadline=now + timeout_ms,
        epoch=1,
    )
    return Handover(
        task_id=task_id,
        task_revision=1,
        lease_revision=2,
        lease=Lease(attempt=1, current=current, attempts=attempts),
        record=msgspec.Raw(encode(record)),
    )


@asynccontextmanager
async def bench(
    url: str,
    *,
    limit: int = 50,
    allowed: tuple[str, ...] = ("127.0.0.0/8",),
    tls: Tls | None = None,
    **declared: bool,
) -> AsyncIterator[Bench]:
    """An executor that knows one server, at `url`; its outcomes are kept instead of committed."""
    fleet, backends, wire = Fleet(), Backends(policy_of(allowed)), Wire()
    config = ServerConfig(
        id=SERVER, name=SERVER, predict=f"{url}/predict", health=f"{url}/health", registered_at=1, **declared
    )
    secret = ServerSecret(api_key=None, credential_hash="", signing_secret=SIGNING_SECRET, tls=tls)
    fleet.fold(Followed(f"$KV.servers.secret.{SERVER}", 1, encode(secret), False))
    fleet.fold(Followed(f"$KV.servers.config.{SERVER}", 2, encode(config), False))

    async def fetch(task_id: str) -> TaskRecord | None:
        return None

    async def settle(handover: Handover, record: TaskRecord, outcome: Outcome) -> Settled:
        async with made.settled:
            made.outcomes[handover.task_id] = outcome
            made.settled.notify_all()
        return made.answer

    attempts = Attempts(
        fleet=fleet,
        backends=backends,
        fetch=fetch,
        token_of=lambda handover, attempt: "pat_a.b",
        base_url="http://127.0.0.1:1",
        final_statuses=frozenset(Settings().final_statuses),
        clock=CLOCK,
        rng=Random(7),
    )
    executor = Executor(
        wire,  # type: ignore[arg-type]
        EXECUTOR,
        attempts=attempts,
        canceller=Canceller(fleet, backends, CLOCK),
        settle=settle,
        limit=limit,
        clock=CLOCK,
    )
    made = Bench(executor, wire, {}, asyncio.Condition())
    await backends.start()
    await executor.start()
    try:
        yield made
    finally:
        await executor.stop()
        await backends.stop()


Connection = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def listening(connection: Connection, context: ssl.SSLContext | None = None) -> AsyncIterator[str]:
    """A server that does with each connection as it is told."""
    server = await asyncio.start_server(connection, "127.0.0.1", 0, ssl=context)
    try:
        yield f"{'https' if context else 'http'}://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()


async def read_one(reader: asyncio.StreamReader) -> None:
    """One request with a body; raises IncompleteReadError at the end of the connection."""
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    length = head.partition(b"content-length: ")[2].partition(b"\r\n")[0]
    await reader.readexactly(int(length))
