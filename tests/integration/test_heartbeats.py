"""Heartbeats and credentials over a real broker, by NATS: proven, in order, and without a write."""

from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from pointsman.client import call, nats_bus
from pointsman.client.bus import Message
from pointsman.client.nats_bus import NatsBus
from pointsman.contracts.actor import Actor, Role
from pointsman.contracts.errors import PointsmanError
from pointsman.contracts.server import CredentialAnswer, HeartbeatAnswer, RegisterAnswer
from pointsman.contracts.subjects import BUCKET_SERVERS, HEADER_SERVER_CREDENTIAL, stream_of, verb
from pointsman.services.registry import service as registry
from pointsman.services.runtime import buckets
from pointsman.services.runtime.clock import SystemClock
from pointsman.services.runtime.context import Context
from tests.support.systems import embedded

ADMIN = Actor(sub="ann", roles=(Role.ADMIN,))
NOBODY = Actor(sub="server")


@pytest.fixture
async def bus(tmp_path: Path) -> AsyncIterator[NatsBus]:
    """A broker with two replicas of the registry on it."""
    async with embedded(tmp_path) as stores:
        given = stores.nats_settings
        bus = await nats_bus.connect(given.url, name="test", user=given.user, password=given.password)
        await buckets.ensure(bus, relaxed=False, replicas=1)
        context = Context(bus, stores.settings, SystemClock(), "host-1")
        running = [registry.build(context), registry.build(context)]
        for service in running:
            await service.start()
        try:
            yield bus
        finally:
            for service in reversed(running):
                await service.stop()
            await bus.close()


async def ask(bus: NatsBus, name: str, actor: Actor = ADMIN, credential: str = "", **body: object) -> Message:
    headers = {HEADER_SERVER_CREDENTIAL: credential} if credential else {}
    return await call.call(bus, verb("registry", name), msgspec.json.encode(body), actor, headers=headers)


async def refused(bus: NatsBus, name: str, actor: Actor = ADMIN, credential: str = "", **body: object) -> int:
    with pytest.raises(PointsmanError) as refusal:
        await ask(bus, name, actor, credential, **body)
    return refusal.value.status


async def last_sequence(bus: NatsBus) -> int:
    answer = await bus.request(f"$JS.API.STREAM.INFO.{stream_of(BUCKET_SERVERS)}", b"", timeout_s=5)
    return int(msgspec.json.decode(answer.data)["state"]["last_seq"])


async def registered(bus: NatsBus, server_id: str) -> str:
    answer = await ask(bus, "register", server={"id": server_id, "url": "http://127.0.0.1:9000"})
    return msgspec.json.decode(answer.data, type=RegisterAnswer).credential or ""


async def test_heartbeats_write_nothing(bus: NatsBus) -> None:
    credential = await registered(bus, "a")
    before = await last_sequence(bus)
    for seq in range(200):
        beat = {"status": "healthy", "seq": seq, "bootId": "b", "activeTasks": seq, "metrics": {"cpu": seq / 2}}
        answer = await ask(bus, "heartbeat", NOBODY, credential, id="a", heartbeat=beat)
        told = msgspec.json.decode(answer.data, type=HeartbeatAnswer)
        assert (told.success, told.message, told.drain, told.cancel) == (True, "Heartbeat updated", False, ())
    assert await last_sequence(bus) == before


async def test_a_credential_speaks_for_one_server(bus: NatsBus) -> None:
    mine, other = await registered(bus, "a"), await registered(bus, "b")
    await ask(bus, "heartbeat", NOBODY, mine, id="a", heartbeat={})
    assert await refused(bus, "heartbeat", NOBODY, other, id="a", heartbeat={}) == 403
    assert await refused(bus, "heartbeat", NOBODY, id="a", heartbeat={}) == 403


async def test_only_an_administrator_rotates_and_the_old_credential_ends_with_its_grace(bus: NatsBus) -> None:
    old = await registered(bus, "a")
    operator = Actor(sub="o", roles=(Role.OPERATOR,))
    assert await refused(bus, "credential", operator, id="a", rotation={}) == 403
    assert await refused(bus, "credential", id="a", rotation={"graceMs": -1}) == 400
    assert await refused(bus, "credential", id="unknown", rotation={}) == 404
    answer = await ask(bus, "credential", id="a", rotation={"graceMs": 60_000})
    rotated = msgspec.json.decode(answer.data, type=CredentialAnswer)
    for credential in (old, rotated.credential):
        await ask(bus, "heartbeat", NOBODY, credential, id="a", heartbeat={})
    assert old != rotated.credential
