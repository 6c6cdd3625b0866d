"""What a server and its operator get wrong, and what they are told; credentials and many servers at once, by REST."""

from typing import Any

import pytest

from tests.e2e.conftest import Fleet
from tests.support.rest import Reply, Rest
from tests.support.system_up import SystemUp


async def beat(system: SystemUp, server_id: str, credential: str, body: object = None) -> Reply:
    async with Rest.connect(system.url, credential) as rest:
        return await rest.call("POST", f"/api/servers/{server_id}/heartbeat", body or {})


def refused(reply: Reply, status: int, field: str, *words: str) -> bool:
    names = [entry["field"] for entry in reply.body.get("errors", ())]
    return reply.is_problem(status) and names == [field] and all(word in reply.text for word in words)


async def test_a_known_id_needs_the_revision_to_be_replaced(admin: Rest, fleet: Fleet) -> None:
    server = await fleet.server()
    same = {"id": server.id, "pool": fleet.pool, "endpoints": server.backend.endpoints}
    assert (await admin.call("POST", "/api/servers", same)).status == 200
    other = same | {"maxConcurrent": 3}
    assert (await admin.call("POST", "/api/servers", other)).is_problem(409, "If-Match")
    etag = (await admin.call("GET", f"/api/servers/{server.id}")).headers["ETag"]
    assert (await admin.call("POST", "/api/servers", other, headers={"If-Match": '"1"'})).is_problem(412)
    assert (await admin.call("POST", "/api/servers", other, headers={"If-Match": etag})).status == 200
    assert (await admin.call("GET", f"/api/servers/{server.id}")).body["maxConcurrent"] == 3


@pytest.mark.parametrize(
    ("url", "rule"),
    [
        ("http://169.254.169.254", "169.254"),
        ("http://10.0.0.1", "10.0.0.1"),
        ("ftp://127.0.0.1", "egress_schemes"),
        ("http://127.0.0.1:22", "egress_ports"),
        ("http://user:pw@127.0.0.1:9000", "user"),
    ],
)
async def test_a_forbidden_url_is_told_the_rule(admin: Rest, url: str, rule: str) -> None:
    reply = await admin.call("POST", "/api/servers", {"url": url})
    assert refused(reply, 422, "url", rule), reply.text


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"name": "a\0b"}, "name"),
        ({"version": "\0"}, "version"),
        ({"labels": {"zone": "\0"}}, "labels"),
        ({"id": "maintenance"}, "id"),
        ({"maxConcurrent": 10_001}, "maxConcurrent"),
    ],
)
async def test_a_bad_registration_names_the_field(admin: Rest, change: dict[str, Any], field: str) -> None:
    reply = await admin.call("POST", "/api/servers", {"url": "http://127.0.0.1:9000", **change})
    assert refused(reply, 400, field), reply.text


async def test_a_heartbeat_is_bound_to_its_server_and_its_order(system: SystemUp, fleet: Fleet) -> None:
    mine, other = await fleet.server("mine"), await fleet.server("other")
    first = await beat(system, mine.id, mine.credential, {"seq": 5, "bootId": "a"})
    assert first.body == {"success": True, "message": "Heartbeat updated", "drain": False, "cancel": []}
    assert (await beat(system, other.id, mine.credential)).is_problem(403)
    assert (await beat(system, "nobody", mine.credential)).is_problem(403)
    assert (await beat(system, mine.id, mine.credential, {"seq": 4, "bootId": "a"})).is_problem(409)
    assert (await beat(system, mine.id, mine.credential, {"seq": 1, "bootId": "b"})).status == 200
    for body, field in (({"seq": 2**63}, "seq"), ({"status": "\0"}, "status"), ({"bootId": "\0"}, "bootId")):
        reply = await beat(system, mine.id, mine.credential, body)
        assert refused(reply, 400, field), reply.text


async def test_a_rotated_credential_ends_with_its_grace(system: SystemUp, admin: Rest, fleet: Fleet) -> None:
    server = await fleet.server()
    path = f"/api/servers/{server.id}/credential"
    async with system.client("olga", "operator") as operator:
        assert (await operator.call("POST", path, {})).is_problem(403)
    rotated = (await admin.call("POST", path, expect=(200,))).body
    for credential in (server.credential, rotated["credential"]):
        assert (await beat(system, server.id, credential)).status == 200
    latest = (await admin.call("POST", path, {"graceMs": 0}, expect=(200,))).body["credential"]
    assert (await beat(system, server.id, rotated["credential"])).is_problem(403)
    assert (await beat(system, server.id, latest)).status == 200
    assert refused(await admin.call("POST", path, {"graceMs": 10**12}), 400, "graceMs")
    assert (await admin.call("POST", "/api/servers/nobody/credential", {})).is_problem(404)


async def test_a_pool_goes_out_by_plan(system: SystemUp, admin: Rest, fleet: Fleet) -> None:
    first, second = await fleet.server(), await fleet.server()
    path, order = "/api/servers/maintenance", {"pool": fleet.pool, "enabled": True, "drainTimeoutMs": 0}
    plan = (await admin.call("POST", path, order | {"dryRun": True}, expect=(200,))).body
    assert [(one["serverId"], one["change"], one["done"]) for one in plan["servers"]] == [
        (first.id, "drain", None),
        (second.id, "drain", None),
    ]
    assert plan["pools"][0]["slotsAfter"] == 0
    assert plan["pools"][0]["warnings"] == ["no server of the pool would take tasks"]
    assert (await admin.call("POST", path, order, expect=(200,))).body["changed"] == 2
    shown = (await admin.call("GET", f"/api/servers?pool={fleet.pool}&status=maintenance", expect=(200,))).body
    assert len(shown["servers"]) == 2
    assert (await admin.call("POST", path, order | {"enabled": False}, expect=(200,))).body["changed"] == 2
    assert refused(await admin.call("POST", path, {"enabled": True}), 400, "ids", "group, pool and ids")
    async with system.client("vera", "viewer") as viewer:
        assert (await viewer.call("POST", path, order)).is_problem(403)


async def test_unknown_filters_and_windows_list_what_there_is(admin: Rest, fleet: Fleet) -> None:
    server = await fleet.server()
    assert refused(await admin.call("GET", "/api/servers?status=sleepy"), 400, "status", "online, offline")
    metrics = f"/api/servers/{server.id}/metrics"
    assert refused(await admin.call("GET", f"{metrics}?window=soon"), 400, "window", "s, m, h, d")
    assert (await admin.call("GET", f"{metrics}?window=15m")).body["serverId"] == server.id
