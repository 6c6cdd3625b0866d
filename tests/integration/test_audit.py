"""The audit trail from the gateway to Postgres: one entry for each act, denied ones included, whatever is away."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass

import asyncpg
import httpx
import jwt
import msgspec
import pytest

from pointsman.client.call import call
from pointsman.contracts.actor import Actor, Role
from pointsman.contracts.base import encode
from pointsman.contracts.errors import PointsmanError
from pointsman.contracts.search import AuditPage, AuditQuery
from pointsman.contracts.subjects import verb
from pointsman.services.balancer import service as balancer
from pointsman.services.gateway import service as gateway
from pointsman.services.gateway.denied import ACTS, is_act
from pointsman.services.gateway.hub import Hub
from pointsman.services.gateway.route import Route
from pointsman.services.gateway.table import API
from pointsman.services.registry import service as registry
from pointsman.services.runtime.clock import SystemClock
from pointsman.services.runtime.context import Context
from pointsman.services.runtime.embedded.kept import Kept
from pointsman.services.statistics import service as statistics
from pointsman.services.task import service as task
from tests.integration.test_history import Archive, archive, eventually

archive = archive

ADMIN = Actor(sub="root", roles=(Role.ADMIN,))
ROUTES = [route for route in API if is_act(route)]


@dataclass
class Office:
    """All services that take acts, and the gateway in front of them."""

    archive: Archive
    client: httpx.AsyncClient

    async def act(self, route: Route, request_id: str, *roles: str) -> int:
        path = route.path.replace("{id}", "gpu-1").replace("{kind}", "pool")
        content = json.dumps(_done(route.example)) if route.request else None
        headers = {"x-request-id": request_id, **self.bearer(*roles)}
        if content is not None:
            headers["content-type"] = "application/json"
        return (await self.client.request(route.method, path, content=content, headers=headers)).status_code

    def bearer(self, *roles: str) -> dict[str, str]:
        now = SystemClock().now_ms() // 1000
        claims = {"sub": "ann", "roles": roles, "iat": now, "exp": now + 600}
        return {"authorization": f"Bearer {jwt.encode(claims, self.archive.stores.settings.jwt_secret)}"}

    async def entries(self, **query: str) -> AuditPage:
        answer = await call(self.archive.bus, verb("history", "audit"), encode(AuditQuery(**query)), ADMIN)  # type: ignore[arg-type]
        return msgspec.json.decode(answer.data, type=AuditPage)

    async def drained(self) -> bool:
        return await self.archive.is_empty("AUDIT")


def _done(example: object) -> object:
    """The example, but for good where it only asks for the plan."""
    return {k: v for k, v in example.items() if k != "dryRun"} if isinstance(example, dict) else example


@pytest.fixture
async def office(archive: Archive) -> AsyncIterator[Office]:
    context = Context(bus=archive.bus, settings=archive.stores.settings, clock=SystemClock(), instance="test")
    await archive.start()
    for module in (registry, task, balancer, statistics):
        running = module.build(context)
        archive.started.append(running)
        await running.start()
    transport = httpx.ASGITransport(app=gateway.build_asgi(context, Hub(context)))
    async with httpx.AsyncClient(transport=transport, base_url="http://gateway", timeout=30) as client:
        office = Office(archive, client)
        await eventually(lambda: _leads(office))
        yield office


async def _leads(office: Office) -> bool:
    answer = await office.client.get("/readyz")
    return bool(answer.json()["dependencies"]["balancer"]["ok"])


def test_every_route_that_acts_is_known_by_the_name_of_its_act() -> None:
    assert {route.name for route in ROUTES} == set(ACTS)


async def test_each_act_leaves_one_entry_and_so_does_each_denied_one(office: Office) -> None:
    asked: dict[str, tuple[Route, str]] = {}
    for route in ROUTES:
        for who, roles in (("may", ("admin",)), ("maynot", ("user", "viewer"))):
            request_id = f"{route.name}-{who}"
            status = await office.act(route, request_id, *roles)
            asked[request_id] = route, "denied" if who == "maynot" else "done" if status < 400 else "failed"
    await eventually(office.drained)
    for request_id, (route, outcome) in asked.items():
        (entry,) = (await office.entries(request_id=request_id)).entries
        assert (entry.what, entry.who, entry.outcome) == (ACTS[route.name], "ann", outcome), request_id
    assert len((await office.entries()).entries) == len(asked)


async def test_a_plan_leaves_no_entry_unless_it_is_denied(office: Office) -> None:
    for path, body in (
        ("/api/servers/maintenance", {"enabled": True, "ids": ["a"]}),
        ("/api/tasks/cancel", {"filter": {"type": "x"}}),
    ):
        for roles in (("operator",), ("user",)):
            await office.client.post(path, json=body | {"dryRun": True}, headers=office.bearer(*roles))
    await eventually(office.drained)
    assert [entry.outcome for entry in (await office.entries()).entries] == ["denied", "denied"]


async def test_entries_wait_while_the_database_is_away_and_come_once(office: Office) -> None:
    maintain = next(route for route in ROUTES if route.name == "maintainServer")
    await office.archive.stores.postgres.stop()
    await asyncio.gather(*(office.act(maintain, f"r-{number}", "operator") for number in range(20)))
    again = Kept(office.archive.stores.postgres.launcher)
    again.start()
    try:
        await eventually(office.drained)
        found = (await office.entries(what="registry.maint*")).entries
        assert sorted(entry.request_id for entry in found) == sorted(f"r-{number}" for number in range(20))
    finally:
        await again.stop()


async def test_an_operator_who_cancels_is_written_down_an_owner_is_not(office: Office) -> None:
    for request_id, roles in (("own", ("user",)), ("power", ("operator",))):
        made = await office.client.post("/api/task", json={"type": "scan"}, headers=office.bearer("user"))
        headers = office.bearer(*roles) | {"x-request-id": request_id}
        gone = await office.client.delete(f"/api/task/{made.json()['id']}", headers=headers)
        assert gone.status_code == 200
    await eventually(office.drained)
    (entry,) = (await office.entries(what="task.*")).entries
    assert (entry.request_id, entry.target) == ("power", made.json()["id"])
    assert json.loads(bytes(entry.before)) == {"status": "PENDING", "generation": 1}
    assert json.loads(bytes(entry.after)) == {"status": "CANCELLED", "generation": 1, "reason": None}


async def test_the_name_of_a_limit_is_written_down_as_it_is_denied_or_not(office: Office) -> None:
    for roles in (("operator",), ("viewer",)):
        path, headers = "/api/limits/key/team%2Fblue%20%C3%A9", office.bearer(*roles)
        await office.client.put(path, json={"maxConcurrent": 3}, headers=headers)
    await eventually(office.drained)
    entries = (await office.entries(target="team/blue é")).entries
    assert {entry.outcome for entry in entries} == {"done", "denied"}


async def test_who_may_not_act_on_tasks_is_written_down_on_the_bus_too(office: Office) -> None:
    made = await office.client.post("/api/task", json={"type": "scan"}, headers=office.bearer("user"))
    task_id = made.json()["id"]
    headers = office.bearer("viewer")
    for method, path in (("POST", "cancel"), ("POST", "retry"), ("DELETE", "")):
        refused = await office.client.request(
            method, f"/api/task/{task_id}/{path}".rstrip("/"), json=None if method == "DELETE" else {}, headers=headers
        )
        assert refused.status_code == 403
    with pytest.raises(PointsmanError):
        await call(
            office.archive.bus,
            verb("task", "cancel"),
            b'{"id":"%b"}' % task_id.encode(),
            Actor(sub="vic", roles=(Role.VIEWER,)),
        )
    await eventually(office.drained)
    entries = (await office.entries(target=task_id)).entries
    assert [(entry.what, entry.who, entry.outcome) for entry in reversed(entries)] == [
        ("task.cancel", "ann", "denied"),
        ("task.retry", "ann", "denied"),
        ("task.cancel", "ann", "denied"),
        ("task.cancel", "vic", "denied"),
    ]


async def test_an_operator_who_ends_the_task_of_another_is_written_down_without_its_result(office: Office) -> None:
    made = await office.client.post("/api/task", json={"type": "scan"}, headers=office.bearer("user"))
    report = {"status": "COMPLETED", "result": {"secret": 1}}
    headers = office.bearer("operator") | {"x-request-id": "by-hand"}
    refused = await office.client.put(f"/api/task/{made.json()['id']}", json=report, headers=headers)
    await eventually(office.drained)
    (entry,) = (await office.entries(request_id="by-hand")).entries
    assert (entry.what, entry.who, entry.target) == ("task.update", "ann", made.json()["id"])
    assert entry.outcome == ("done" if refused.status_code < 400 else "failed")
    assert b"secret" not in bytes(entry.after)


async def test_the_trail_is_paged_searched_and_never_changed(office: Office) -> None:
    switch = next(route for route in ROUTES if route.name == "setAlgorithm")
    for number in range(5):
        await office.act(switch, f"s-{number}", "operator")
    await eventually(office.drained)
    headers = office.bearer("operator")
    first = (await office.client.get("/api/audit?limit=3&who=a*", headers=headers)).json()
    rest = await office.client.get(f"/api/audit?limit=3&who=a*&cursor={first['cursor']}", headers=headers)
    seen = [entry["requestId"] for entry in (*first["entries"], *rest.json()["entries"])]
    assert seen == [f"s-{number}" for number in reversed(range(5))]
    assert first["entries"][0]["before"]["algorithm"] == first["entries"][0]["after"]["algorithm"]
    other = await office.client.get(f"/api/audit?limit=3&cursor={first['cursor']}", headers=headers)
    assert (other.status_code, "other filters" in other.text) == (400, True)
    for query in ("from=yesterday", "outcome=maybe", "colour=red", "limit=0"):
        assert (await office.client.get(f"/api/audit?{query}", headers=headers)).status_code == 400
    assert (await office.client.get("/api/audit", headers=office.bearer("viewer"))).status_code == 403
    for statement in ("DELETE FROM audit", "UPDATE audit SET who = 'eve'", "TRUNCATE audit"):
        with pytest.raises(asyncpg.PostgresError, match="append-only"):
            await office.archive.database.execute(statement)


async def test_only_operators_and_admins_read_the_trail_on_the_bus_too(office: Office) -> None:
    with pytest.raises(PointsmanError) as refusal:
        await call(office.archive.bus, verb("history", "audit"), b"{}", Actor(sub="v", roles=(Role.VIEWER,)))
    assert refusal.value.status == 403
