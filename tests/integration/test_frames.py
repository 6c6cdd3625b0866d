"""Frames on a real broker: who gets them and how often, what they say of known work, who goes on when the teller dies."""

import asyncio
import zlib
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from types import ModuleType

import msgspec
import pytest

from pointsman.client.bus import Bus
from pointsman.client.client import Client
from pointsman.contracts.actor import Actor, Role
from pointsman.contracts.alerts import ListedAlert
from pointsman.contracts.errors import PointsmanError
from pointsman.contracts.frames import AcknowledgeRequest, AlertRow, Frame, decode_frame
from pointsman.contracts.lifecycle import is_terminal
from pointsman.contracts.server import Endpoints, ServerRequest
from pointsman.contracts.subjects import STREAM_FRAMES
from pointsman.contracts.task import TaskRequest
from pointsman.services.balancer import service as balancer
from pointsman.services.instance import service as instance
from pointsman.services.registry import service as registry
from pointsman.services.runtime import buckets
from pointsman.services.runtime.context import RunningService
from pointsman.services.runtime.follow import Followed, Follower
from pointsman.services.statistics import service as statistics
from pointsman.services.statistics.storage import used_share
from pointsman.services.task import service as task
from tests.support.backends import Backend
from tests.support.viewing import VIEWER, Sight, Viewer
from tests.support.worlds import RealWorld, context, until

ADMIN = Actor(sub="root", roles=(Role.ADMIN,))
WITHIN_S = 30.0


@dataclass
class Stage:
    """All services that frames tell of, each on its own connection."""

    world: RealWorld
    bus: Bus
    client: Client
    stack: AsyncExitStack

    async def start(self, module: ModuleType, instance: str = "host-1") -> tuple[RunningService, Bus]:
        bus = await self.world.connect(instance)
        running: RunningService = module.build(context(self.world, bus, instance))
        await running.start()
        return running, bus

    async def run_all(self, *modules: ModuleType) -> None:
        for module in modules:
            running, _ = await self.start(module)
            self.stack.push_async_callback(running.stop)

    async def register(self, name: str, backend: Backend, **more: object) -> None:
        endpoints = Endpoints(predict=f"{backend.url}/predict", health=f"{backend.url}/health")
        await self.client.servers.register(ServerRequest(id=name, endpoints=endpoints, is_async=False, **more))  # type: ignore[arg-type]

    async def run(self, count: int, behave: str = "ok") -> None:
        """So many tasks, to their ends."""
        payload = msgspec.Raw(b'{"behave":"%b"}' % behave.encode())
        requests = [TaskRequest(type="resize", payload=payload) for _ in range(count)]
        accepted = await self.client.tasks.submit_many(requests)
        ids = [one.id for one in accepted.results if one.id is not None]
        assert len(ids) == count
        ended = await asyncio.gather(*(self.client.tasks.wait(one, WITHIN_S) for one in ids))
        assert all(is_terminal(one.status) for one in ended)

    async def kept(self, since_ms: int = 0) -> list[Frame]:
        """Keyframes by time, as a replay reads them."""
        found: list[Frame] = []

        def keep(entry: Followed) -> None:
            found.append(decode_frame(zlib.decompress(entry.data)))

        follower = Follower(self.bus, STREAM_FRAMES, keep)
        await follower.start()
        await follower.caught_up()
        await follower.stop()
        return [frame for frame in found if frame.at >= since_ms]


@asynccontextmanager
async def staged(tmp_path: Path) -> AsyncIterator[Stage]:
    async with AsyncExitStack() as stack:
        world = RealWorld(tmp_path)
        await world.start()
        stack.push_async_callback(world.close)
        bus = await world.connect()
        await buckets.ensure(bus, relaxed=True, replicas=1)
        yield Stage(world, bus, Client(bus, ADMIN), await stack.enter_async_context(AsyncExitStack()))


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    async with staged(tmp_path) as stage:
        yield stage


@pytest.fixture
async def backend() -> AsyncIterator[Backend]:
    async with await Backend.start() as backend:
        yield backend


def slots(sight: Sight) -> int:
    assert sight.last is not None
    return sight.last.flow.slots or 0


def shown(sight: Sight, kind: str) -> list[AlertRow]:
    assert sight.last is not None
    return [alert for alert in sight.last.alerts if alert.kind == kind]


async def test_a_viewer_sees_the_work_that_was_done(stage: Stage, backend: Backend) -> None:
    await stage.run_all(registry, task, balancer, instance, statistics)
    async with Viewer(stage.bus) as viewer:
        await stage.register("gpu-1", backend, max_concurrent=4)
        await viewer.until(lambda sight: slots(sight) == 4, "the server takes tasks")
        await stage.run(40)
        await stage.run(3, "fail:422")
        done = await viewer.until(lambda sight: sight.flow.failed, "failures are told")
        await viewer.until(lambda sight: sight.pulses["gpu-1"].error_rate, "its errors are told")
    flow, row, pulse = done.flow, viewer.sight.rows["gpu-1"], viewer.sight.pulses["gpu-1"]
    assert flow.fail_rate == pytest.approx(3 / 43, abs=0.001)
    assert pulse.error_rate == pytest.approx(3 / 43, abs=0.001)
    assert (pulse.share, pulse.fair, pulse.running) == (1.0, 1.0, 0)
    assert flow.run_p95 is not None and flow.wait_p95 is not None
    assert (flow.pending, flow.delayed, flow.running) == (0, 0, 0)
    assert (row.pool, row.wanted, row.max_concurrent) == ("default", "ACTIVE", 4)
    kinds = {sample.kind for frame in viewer.frames for sample in frame.sample}
    assert {"submitted", "assigned", "completed"} <= kinds
    assert sum(frame.happened for frame in viewer.frames) >= 3 * 43 - 20
    news = {(one.subject, one.what) for frame in viewer.frames for one in frame.news}
    assert {("gpu-1", "registered"), ("gpu-1", "NEW -> WARMING"), ("gpu-1", "register")} <= news
    assert viewer.snapshots <= 1


async def test_frames_come_while_somebody_looks_and_keyframes_always(stage: Stage) -> None:
    await stage.run_all(balancer, statistics)
    async with Viewer(stage.bus, beats=False) as listener:
        await until_kept(stage, 3)
        assert listener.frames == []
        async with Viewer(stage.bus) as viewer:
            await viewer.until(lambda sight: len(viewer.frames) >= 16, "frames come")
        gaps = [later - sooner for sooner, later in pairwise(viewer.arrived_s[1:])]
        assert 0.15 < sum(gaps) / len(gaps) < 0.26
        assert [frame.seq for frame in viewer.frames] == list(range(1, len(viewer.frames) + 1))
    frames = await stage.kept()
    assert all(frame.full for frame in frames)
    assert all(500 < later.at - sooner.at < 1_600 for sooner, later in pairwise(frames))
    middle = frames[len(frames) // 2].at
    assert (await stage.kept(middle))[0].at == middle


async def test_a_reader_that_missed_frames_ends_with_what_a_full_one_says(stage: Stage, backend: Backend) -> None:
    await stage.run_all(registry, task, balancer, instance, statistics)
    async with Viewer(stage.bus) as viewer:
        for number in range(3):
            await stage.register(f"gpu-{number}", backend)
        await viewer.until(lambda sight: slots(sight) == 30, "the servers take tasks")
        viewer.deaf, asked = True, viewer.snapshots
        await stage.run(20)
        await stage.client.servers.unregister("gpu-2")
        await until(lambda: any("gpu-2" in frame.gone for frame in viewer.missed), WITHIN_S)
        viewer.deaf = False
        await viewer.until(lambda sight: set(sight.rows) == {"gpu-0", "gpu-1"}, "the gap is noticed and mended")
        assert viewer.snapshots == asked + 1
        await until_same(viewer.sight, stage.client)


async def test_the_second_goes_on_when_the_first_dies(stage: Stage) -> None:
    await stage.run_all(balancer)
    first, cut_off = await stage.start(statistics, "first")
    async with Viewer(stage.bus) as viewer:
        before = await viewer.until(lambda sight: sight.flow.pending == 0, "the first tells frames")
        second, _ = await stage.start(statistics, "second")
        died_s = asyncio.get_running_loop().time()
        stage.world.cut(cut_off)
        after = await viewer.until(lambda sight: sight.epoch > before.epoch, "the second tells frames")
        print(f"frames were silent for {asyncio.get_running_loop().time() - died_s:.1f} s")
        assert after.flow.pending == 0
        await stage.world.mend(cut_off)
        await second.stop()
        again = await viewer.until(lambda sight: sight.epoch > after.epoch, "the first tells frames again")
        assert again.flow.pending == 0
    await first.stop()


async def test_without_a_balancer_nothing_is_known_of_the_flow_and_an_alert_says_so(stage: Stage) -> None:
    await stage.run_all(statistics)
    running, _ = await stage.start(balancer)
    async with Viewer(stage.bus) as viewer:
        await viewer.until(lambda sight: sight.flow.pending == 0 and not shown(sight, "no-leader"), "all is known")
        await running.stop()
        frame = await viewer.until(lambda sight: shown(sight, "no-leader"), "the alert comes", within_s=8)
        assert (frame.flow.pending, frame.flow.submitted, frame.leader) == (None, None, None)
        assert shown(viewer.sight, "no-leader")[0].severity == "critical"
        running, _ = await stage.start(balancer)
        frame = await viewer.until(lambda sight: not shown(sight, "no-leader"), "the alert goes")
        assert frame.flow.pending == 0
    await running.stop()


async def test_an_operator_acknowledges_an_alert_and_a_restart_remembers(stage: Stage, backend: Backend) -> None:
    await stage.run_all(registry, task, balancer, instance)
    running, _ = await stage.start(statistics)
    operator = Client(stage.bus, Actor(sub="olga", roles=(Role.OPERATOR,)))
    known = AcknowledgeRequest(kind="server-down", subject="gpu-1", note="being moved")
    async with Viewer(stage.bus) as viewer:
        await stage.register("gpu-1", backend)
        await viewer.until(lambda sight: slots(sight), "the server takes tasks")
        with pytest.raises(PointsmanError, match="there is no alert server-down of gpu-1"):
            await operator.statistics.acknowledge(known)
        await backend.kill()
        await viewer.until(lambda sight: shown(sight, "server-down"), "the alert comes")
        with pytest.raises(PointsmanError, match="Operator role required"):
            await Client(stage.bus, VIEWER).statistics.acknowledge(known)
        marked = await operator.statistics.acknowledge(known)
        assert (marked.acknowledged_by, marked.note) == ("olga", "being moved")
        await viewer.until(lambda sight: shown(sight, "server-down")[0].acknowledged_by == "olga", "all see it")
        await running.stop()
        running, _ = await stage.start(statistics)
        fresh = await until_shown(operator, "server-down")
        assert (fresh.acknowledged_by, fresh.since) == ("olga", marked.since)
        taken_back = await operator.statistics.acknowledge(msgspec.structs.replace(known, acknowledged=False))
        assert taken_back.acknowledged_by is None
    await running.stop()


async def test_a_broker_that_keeps_nothing_is_told(stage: Stage) -> None:
    await stage.run_all(balancer, statistics)
    async with Viewer(stage.bus) as viewer:
        await until_kept(stage, 1)
        assert 0 <= (await used_share(stage.bus, stage.world.monitor_url) or -1) < 0.5
        await buckets.api(stage.bus, f"STREAM.DELETE.{STREAM_FRAMES}")
        await viewer.until(lambda sight: shown(sight, "storage"), "the alert comes")
        assert "keeps nothing" in shown(viewer.sight, "storage")[0].detail
        await buckets.ensure(stage.bus, relaxed=True, replicas=1)
        await viewer.until(lambda sight: not shown(sight, "storage"), "the alert goes")


async def until_shown(client: Client, kind: str) -> ListedAlert:
    async with asyncio.timeout(WITHIN_S):
        while True:
            with suppress(PointsmanError):
                for alert in (await client.statistics.alerts()).alerts:
                    if alert.kind == kind:
                        return alert
            await asyncio.sleep(0.1)


async def until_same(sight: Sight, client: Client) -> None:
    """Both may change meanwhile, but soon they agree."""
    async with asyncio.timeout(WITHIN_S):
        while True:
            whole = Sight()
            whole.fold(await client.statistics.frame())
            if sight.rows == whole.rows and sight.without_ages() == whole.without_ages():
                return
            await asyncio.sleep(0.05)


async def until_kept(stage: Stage, count: int) -> None:
    async with asyncio.timeout(WITHIN_S):
        while len(await stage.kept()) < count:
            await asyncio.sleep(0.2)
