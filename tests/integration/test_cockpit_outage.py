"""A cockpit over a real broker that goes away, refuses, or falls silent."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from time import monotonic

from pointsman.tui.app import Cockpit
from pointsman.tui.link import State
from pointsman.tui.options import Address, Options, System
from tests.support.cockpit_broker import announced, broker
from tests.support.cockpit_world import World
from tests.support.cockpits import Watcher

SHOWN_WITHIN_S = 1.5
BACK_WITHIN_S = 2.0
REPAIRED_WITHIN_S = 1.0
SLACK = 4.0
"""Of a machine that is busy with other things; the times themselves are measured by the benchmark."""


@asynccontextmanager
async def watching(url: str, *, user: str = "", password: str = "") -> AsyncIterator[Watcher]:
    app = Cockpit(Options(System(lambda: Address(url, user, password))))
    async with app.run_test(size=(120, 36)) as pilot:
        yield Watcher(app, pilot)


async def test_an_outage_is_shown_at_once_screens_stay_usable_and_it_comes_back_by_itself(tmp_path: Path) -> None:
    async with broker(tmp_path) as nats, announced(nats, World(servers=12)), watching(nats.url) as seat:
        await seat.sees("● live")
        await seat.sees("2 Servers 12")
        killed_at = monotonic()
        nats.kill()
        await seat.sees("✖ DISCONNECTED")
        assert monotonic() - killed_at < SHOWN_WITHIN_S * SLACK
        assert "data of" in seat.text
        await seat.press("2")
        await seat.sees("srv-0012")
        await seat.press("d")
        assert seat.app.why_read_only is not None
        gaps = seat.app.model.gaps
        await nats.start()
        back_at = monotonic()
        await seat.sees("● live")
        assert monotonic() - back_at < BACK_WITHIN_S * SLACK
        await seat.sees("back after")
        assert seat.app.model.gaps == gaps == 1


async def test_a_silent_cluster_is_told_from_a_broken_link(tmp_path: Path) -> None:
    async with broker(tmp_path) as nats, announced(nats, World(servers=3)) as cluster, watching(nats.url) as seat:
        await seat.sees("● live")
        cluster.is_silent = True
        await seat.sees("▲ slow")
        await seat.sees("✖ STALE")
        await seat.sees("NATS answers in")
        cluster.is_silent = False
        await seat.sees("● live")
        await seat.sees(lambda _: not seat.app.model.wants_snapshot)
        assert seat.app.model.gaps == 1


async def test_lost_frames_are_noticed_and_repaired(tmp_path: Path) -> None:
    async with broker(tmp_path) as nats, announced(nats, World(servers=3)) as cluster, watching(nats.url) as seat:
        await seat.sees("● live")
        cluster.world.seq += 5
        cluster.world.change("srv-0002", weight=7)
        lost_at = monotonic()
        await seat.sees(lambda _: seat.app.model.servers["srv-0002"].row.weight == 7)
        assert monotonic() - lost_at < REPAIRED_WITHIN_S * SLACK
        assert seat.app.model.gaps == 1


USERS = """
authorization { users: [
  {user: all, password: all}
  {user: blind, password: blind, permissions: {publish: [">"], subscribe: ["_INBOX.>"]}}
] }
"""


async def test_a_refused_subject_is_said_and_the_app_goes_on(tmp_path: Path) -> None:
    async with broker(tmp_path, USERS) as nats, announced(nats, World(servers=3), user="all", password="all"):
        async with watching(nats.url, user="blind", password="blind") as seat:
            await seat.sees("✖ DENIED")
            await seat.sees("pointsman.view.frame")
            await seat.press("2")
            await seat.sees("[2 Servers")
        async with watching(nats.url, user="nobody", password="x") as seat:
            await seat.sees("✖ DENIED")
            await seat.sees("uthorization")


async def test_a_cockpit_that_starts_before_the_broker_waits_for_it(tmp_path: Path) -> None:
    async with broker(tmp_path) as nats:
        nats.kill()
        async with watching(nats.url) as seat:
            await seat.sees("connecting, try 1")
            assert "alerts --" in seat.text and "queued --" in seat.text
            await nats.start()
            async with announced(nats, World(servers=3)):
                await seat.sees("● live")
                assert seat.app.link.state in (State.LIVE, State.RECOVERED)


async def test_it_survives_a_broker_that_comes_and_goes(tmp_path: Path) -> None:
    async with broker(tmp_path) as nats, announced(nats, World(servers=3)), watching(nats.url) as seat:
        for _ in range(5):
            await seat.sees("● live")
            nats.kill()
            await seat.sees("✖ DISCONNECTED")
            await nats.start()
        await seat.sees("● live")
        assert seat.app.is_running
        await asyncio.sleep(0)
