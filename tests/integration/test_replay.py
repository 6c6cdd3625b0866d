"""An incident on real services, recorded, and looked at again second by second: as the audit trail and the records have it."""

import asyncio
import zlib
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import msgspec
import pytest

from pointsman.client.bus import Message
from pointsman.contracts.frames import ServerRow, decode_frame
from pointsman.contracts.search import AuditEntry
from pointsman.contracts.server import HealthState, MaintenanceRequest, ServerAdmin, ServerHealth, ServerPatch, Wanted
from pointsman.contracts.subjects import BUCKET_SERVERS, audit_subject, from_token, key_name, stream_of
from pointsman.services.balancer import service as balancer
from pointsman.services.instance import service as instance
from pointsman.services.registry import service as registry
from pointsman.services.runtime.follow import Followed, Follower
from pointsman.services.statistics import service as statistics
from pointsman.services.task import service as task
from pointsman.tui.archive import Tape, keyframes
from pointsman.tui.model import Model
from pointsman.tui.recording import Recording, Writer, opened
from pointsman.tui.replaying import Replaying
from tests.integration.test_frames import Stage, stage
from tests.support.backends import Backend
from tests.support.worlds import until

stage = stage

SECOND_MS = 1_000
LATE_MS = 2 * SECOND_MS
"""A keyframe period, and another for a machine that is busy with other things."""
SEEK_S = 1.0
SLACK = 4.0


class Weighted(msgspec.Struct):
    weight: int = 1


@dataclass
class Truth:
    """What the records of servers and the audit trail say, and since when, in ms."""

    wanted: dict[str, list[tuple[int, str]]] = field(default_factory=dict)
    state: dict[str, list[tuple[int, str]]] = field(default_factory=dict)
    weight: dict[str, list[tuple[int, int]]] = field(default_factory=dict)
    audited: list[AuditEntry] = field(default_factory=list)

    async def listen(self, stage: Stage) -> None:
        await stage.bus.subscribe(audit_subject(">"), self._on_audited)
        follower = Follower(stage.bus, stream_of(BUCKET_SERVERS), self._on_record)
        await follower.start()
        stage.stack.push_async_callback(follower.stop)

    def now(self, server_id: str) -> tuple[str, str]:
        return (
            self.wanted.get(server_id, [(0, Wanted.ACTIVE)])[-1][1],
            self.state.get(server_id, [(0, HealthState.NEW)])[-1][1],
        )

    def _on_record(self, entry: Followed) -> None:
        kind, _, token = key_name(entry.subject).partition(".")
        server_id = from_token(token)
        if kind == "admin":
            admin = msgspec.json.decode(entry.data, type=ServerAdmin)
            _turned(self.wanted.setdefault(server_id, [(0, Wanted.ACTIVE)]), admin.since, admin.wanted)
        elif kind == "health":
            health = msgspec.json.decode(entry.data, type=ServerHealth)
            _turned(self.state.setdefault(server_id, [(0, HealthState.NEW)]), health.since, health.state)

    async def _on_audited(self, message: Message) -> None:
        entry = msgspec.json.decode(message.data, type=AuditEntry)
        self.audited.append(entry)
        if entry.what in ("registry.register", "registry.change"):
            weight = msgspec.json.decode(entry.after, type=Weighted).weight
            self.weight.setdefault(entry.target, []).append((entry.at, weight))

    def turns(self, server_id: str, until_ms: int) -> list[tuple[int, str]]:
        """When which change of it was, as events tell it."""
        told = [*pairwise(self.wanted.get(server_id, [])), *pairwise(self.state[server_id])]
        return sorted((after[0], f"{before[1]} -> {after[1]}") for before, after in told if after[0] <= until_ms)


def _turned(known: list[tuple[int, str]], since: int, what: str) -> None:
    if known[-1][1] != what:
        known.append((since, what))


def within[T](timeline: list[tuple[int, T]], first: int, last: int) -> set[T]:
    """What it was at some moment of these."""
    ends = [since for since, _ in timeline[1:]] + [last + 1]
    return {what for (since, what), end in zip(timeline, ends, strict=True) if since <= last and end > first}


def shown(found: Recording, at: int) -> Model:
    """What a cockpit shows of that second."""
    replaying = Replaying(Model(), lambda: None, lambda: None, lambda: 0.0, found)
    replaying.enter(at)
    assert replaying.shown is not None and replaying.shown.is_known, at
    return replaying.shown


def differences(truth: Truth, at: int, model: Model) -> list[str]:
    """Of the servers as shown of that second from what they were in it, or in the keyframe periods before."""
    first, last = at - LATE_MS, at + SECOND_MS
    wrong = []
    for server in model.servers.values():
        row: ServerRow = server.row
        for name, seen, timeline in (
            ("wanted", row.wanted, truth.wanted.get(row.id, [(0, Wanted.ACTIVE)])),
            ("state", row.state, truth.state[row.id]),
            ("weight", row.weight, truth.weight[row.id]),
        ):
            was = within(timeline, first, last)
            if seen not in was:
                wrong.append(f"{row.id} at {at}: {name} {seen}, and it was {was}")
    return wrong


async def incident(stage: Stage, truth: Truth) -> None:
    """a goes down and comes back; b is drained, made heavier and brought back."""
    servers = stage.client.servers
    async with await Backend.start() as first, await Backend.start() as other:
        await stage.register("a", first)
        await stage.register("b", other)
        await until(lambda: truth.now("a") == truth.now("b") == (Wanted.ACTIVE, HealthState.WARMING))
        await stage.run(5)
        await asyncio.sleep(2)
        await first.set_health("bad")
        await until(lambda: truth.now("a")[1] == HealthState.UNHEALTHY)
        await servers.maintain("b", MaintenanceRequest(maintenance=True, reason="new disks"))
        await until(lambda: truth.now("b")[0] != Wanted.ACTIVE)
        await asyncio.sleep(3)
        await servers.change("b", ServerPatch(weight=7))
        await servers.maintain("b", MaintenanceRequest(maintenance=False))
        await until(lambda: truth.now("b")[0] == Wanted.ACTIVE)
        await first.set_health("ok")
        await until(lambda: truth.now("a")[1] != HealthState.UNHEALTHY)
        await asyncio.sleep(LATE_MS / 1000 + 1)


async def recorded(stage: Stage, path: Path) -> Recording:
    writer = Writer(path, "test")
    async for packed in Tape(stage.bus, 0).until_now():
        writer.add(packed)
    writer.close()
    return opened(path)


@pytest.mark.timeout(300)
async def test_an_incident_looked_at_again_is_as_audit_and_records_have_it(stage: Stage, tmp_path: Path) -> None:
    truth = Truth()
    await truth.listen(stage)
    await stage.run_all(registry, task, balancer, instance, statistics)
    await incident(stage, truth)
    found = await recorded(stage, tmp_path / "incident.rec")

    seconds = range(found.first_at, found.last.at + 1, SECOND_MS)
    models = [shown(found, at) for at in seconds]
    assert [wrong for at, model in zip(seconds, models, strict=True) for wrong in differences(truth, at, model)] == []
    ats = [model.at or 0 for model in models]
    assert max(later - sooner for sooner, later in pairwise(ats)) <= LATE_MS
    rows = [server.row for model in models for server in model.servers.values()]
    assert any(row.id == "a" and row.state == HealthState.UNHEALTHY for row in rows)
    assert any(row.id == "b" and row.wanted != Wanted.ACTIVE for row in rows)
    assert any(row.id == "b" and row.wanted == Wanted.ACTIVE and row.weight == 7 for row in rows)

    until_ms = found.last.at - LATE_MS
    news = [one for one in models[-1].news if one.at <= until_ms]
    for server_id in ("a", "b"):
        turns = [one for one in news if one.kind == "server" and one.subject == server_id and "->" in one.what]
        assert sorted((one.at, one.what) for one in turns) == truth.turns(server_id, until_ms)
    acts = sorted((one.at, one.subject, one.what, one.by or "") for one in news if one.kind == "act")
    of_servers = [one for one in truth.audited if one.what.startswith("registry.") and one.at <= until_ms]
    assert acts == sorted((one.at, one.target, one.what.partition(".")[2], one.who) for one in of_servers)
    assert len(acts) >= 5
    assert {one.at for one in news} <= set(found.moments.incidents)


async def test_any_second_is_fetched_from_the_stream_within_a_second(stage: Stage) -> None:
    """As long as the stream is here, so long a seek takes: it reads a batch from a time on, wherever that is."""
    await stage.run_all(balancer, statistics)
    async with asyncio.timeout(60):
        while len(await keyframes(stage.bus, 0, 10)) < 4:
            await asyncio.sleep(0.2)
    kept = [decode_frame(zlib.decompress(packed)) for packed in await keyframes(stage.bus, 0, 10)]
    for frame in kept[1:]:
        replaying = Replaying(Model(), lambda: stage.bus, lambda: None, lambda: kept[-1].at / 1000)
        began = asyncio.get_running_loop().time()
        replaying.enter(frame.at)
        await until(lambda replaying=replaying: replaying.shown is not None and replaying.shown.is_known)
        assert asyncio.get_running_loop().time() - began < SEEK_S * SLACK
        assert replaying.shown is not None and abs((replaying.shown.at or 0) - frame.at) <= SECOND_MS
