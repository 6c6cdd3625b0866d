"""What a cockpit shows, over HTTP: frames that go on, alerts that an operator acknowledges, wrong requests refused by name."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import pytest

from pointsman.contracts.frames import decode_frame
from tests.e2e.conftest import Fleet
from tests.support.rest import Json, Rest
from tests.support.stuck import stuck_reader
from tests.support.system_up import SystemUp, eventually
from tests.support.viewing import Sight

pytestmark = pytest.mark.asyncio(loop_scope="session")
WITHIN_S = 60.0


@asynccontextmanager
async def watching(system: SystemUp) -> AsyncIterator[Sight]:
    """A reader of the stream, which checks that nothing is missing."""
    sight = Sight()
    headers = {"Authorization": f"Bearer {await system.token('eve', 'viewer')}"}
    async with (
        aiohttp.ClientSession(headers=headers, read_bufsize=1 << 22) as session,
        session.get(f"{system.url}/api/view/frames") as answer,
    ):
        assert answer.status == 200
        reading = asyncio.create_task(_read(answer, sight))
        try:
            yield sight
        finally:
            reading.cancel()
            await asyncio.wait((reading,))
        if not reading.cancelled() and (error := reading.exception()) is not None:
            raise error


async def _read(answer: aiohttp.ClientResponse, sight: Sight) -> None:
    async for line in answer.content:
        if line.startswith(b"data: ["):
            assert sight.fold(decode_frame(line.removeprefix(b"data: ")))


async def alerts_of(rest: Rest, subject: str) -> list[Json]:
    listed = (await rest.call("GET", "/api/alerts", expect=(200,))).body
    assert set(listed) == {"alerts", "asOf"}
    return [dict(one) for one in listed["alerts"] if one["subject"] == subject]


async def test_a_reader_over_http_sees_tasks_and_servers(system: SystemUp, admin: Rest, fleet: Fleet) -> None:
    async with watching(system) as sight:
        server = await fleet.server("a")
        await admin.all_done([{"type": "resize", "pool": fleet.pool, "payload": {}} for _ in range(10)])

        async def done() -> bool:
            return server.id in sight.pulses and (sight.pulses[server.id].done_per_s or 0) > 0

        await eventually(done, "the work is told", within_s=WITHIN_S)
        assert sight.rows[server.id].pool == fleet.pool
        assert sight.pulses[server.id].share == 1.0


async def test_a_watcher_that_stands_still_is_dropped_while_others_see_on(system: SystemUp) -> None:
    with stuck_reader(system, await system.token("eve", "viewer"), "/api/view/frames") as stuck:
        await stuck.served()
        async with watching(system) as sight:
            await stuck.dropped()
            assert sight.last is not None
            seen = sight.last.seq

            async def goes_on() -> bool:
                return sight.last is not None and sight.last.seq > seen

            await eventually(goes_on, "the other is told on", within_s=WITHIN_S)


async def test_an_alert_is_listed_acknowledged_and_gone_with_its_cause(
    system: SystemUp, admin: Rest, fleet: Fleet
) -> None:
    server = await fleet.server("a")
    await server.backend.set_health("bad")

    async def is_down() -> list[Json]:
        return [one for one in await alerts_of(admin, server.id) if one["kind"] == "server-down"]

    (alert,) = await eventually(is_down, "the alert is listed", within_s=WITHIN_S)
    assert (alert["severity"], alert["screen"], alert["acknowledgedBy"]) == ("critical", "servers", None)
    known = {"kind": "server-down", "subject": server.id, "note": "known"}
    async with system.client("olga", "operator") as operator:
        marked = (await operator.call("POST", "/api/alerts/acknowledge", known, expect=(200,))).body
    assert (marked["acknowledgedBy"], marked["note"], marked["since"]) == ("olga", "known", alert["since"])
    assert (await is_down())[0]["acknowledgedBy"] == "olga"
    await admin.call("DELETE", f"/api/servers/{server.id}", expect=(200,))

    async def is_gone() -> bool:
        return not await is_down()

    await eventually(is_gone, "the alert goes", within_s=WITHIN_S)
    await admin.call("POST", "/api/alerts/acknowledge", known, expect=(404,))


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "kind"),
        ({"kind": "Server Down"}, "kind"),
        ({"kind": "x" * 65}, "kind"),
        ({"kind": "server-down", "subject": "x" * 129}, "subject"),
        ({"kind": "server-down", "note": "x" * 501}, "note"),
        ({"kind": "server-down", "acknowledged": "yes"}, "acknowledged"),
        ({"kind": "server-down", "colour": "red"}, "colour"),
    ],
)
async def test_a_wrong_acknowledgement_is_refused_by_field(admin: Rest, body: Json, field: str) -> None:
    answer = await admin.call("POST", "/api/alerts/acknowledge", body, expect=(400,))
    assert field in json.dumps(answer.body), answer.text
