"""The gateway over HTTP with a bus that only records: who is let in, what is passed on, how refusals look."""

import asyncio
import http.client
import json
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any
from urllib.parse import quote

import aiohttp
import httpx
import jwt
import pytest
from litestar.types import ASGIApp

from pointsman.client.bus import BusTimeout, Endpoint, Handler, Message, NoResponders, Service, Subscription
from pointsman.contracts.actor import Role
from pointsman.contracts.base import encode
from pointsman.contracts.errors import PointsmanError, conflict, invalid, overloaded
from pointsman.contracts.ids import is_task_id
from pointsman.contracts.subjects import HEADER_ERROR_CODE, HEADER_OPERATION, PROBE, verb
from pointsman.services.gateway import archive_table, examples, intake, service
from pointsman.services.gateway.hub import Hub
from pointsman.services.gateway.route import Route
from pointsman.services.gateway.table import API
from pointsman.services.runtime.clock import SystemClock
from pointsman.services.runtime.context import Context
from pointsman.services.runtime.embedded import ports
from pointsman.services.runtime.settings import Settings

SECRET = "kT9-wX2-pL7-qR4-vB8-nM3-zH6-jD1-fG5-cS0"
TASK_ID = examples.TASK_ID
STATUS = {
    "leader": "host-1",
    "epoch": 1,
    "pools": {},
    "servers": examples.LOAD_BALANCER["serverDistribution"],
    "pending": 3,
    "waiting": 2,
    "active": 1,
    "lastDispatch": None,
    "dispatched": 9,
    "asOf": 1,
}
ENDLESS = {"followEverything", "watchFrames"}
"""Its stream ends only with its client; tests/e2e/test_events.py reads it."""
ANSWERS: dict[str, object] = {
    verb("task", "create"): examples.PENDING_TASK,
    verb("task", "get"): examples.PENDING_TASK,
    verb("registry", "register"): examples.REGISTER_ANSWER,
    verb("registry", "unregister"): {"serverId": "gpu-1", "message": "Server unregistered"},
    verb("balancer", "status"): STATUS,
    verb("history", "bulk"): archive_table.JOB,
    verb("history", "status"): {"connected": True, "backlog": 0},
}


class RecordingBus:
    """Answers each subject with what a test puts there, remembers what was asked."""

    is_connected = True
    round_trip_url = "bus:4222"

    def __init__(self) -> None:
        self.answers: dict[str, object] = dict(ANSWERS)
        self.headers: dict[str, str] = {"Pointsman-Revision": "12"}
        self.asked: list[Message] = []
        self.held: asyncio.Event | None = None
        self.reached = asyncio.Event()
        self.hints: list[Handler] = []

    async def request(
        self, subject: str, data: bytes, *, headers: Mapping[str, str] | None = None, timeout_s: float = 5.0
    ) -> Message:
        self.asked.append(Message(subject, data, headers or {}))
        self.reached.set()
        if self.held is not None:
            await self.held.wait()
        match self.answers.get(subject, {}):
            case PointsmanError() as error:
                return Message(subject, encode(error.problem()), {HEADER_ERROR_CODE: str(error.status)})
            case Exception() as error:
                raise error
            case answer:
                return Message(subject, json.dumps(answer).encode(), self.headers)

    async def subscribe(self, subject: str, handler: Handler, *, queue: str = "") -> Subscription:
        self.hints.append(handler)
        return Subscribed()

    def on_reconnect(self, callback: Callable[[], None]) -> Callable[[], None]:
        return lambda: None

    async def publish(
        self, subject: str, data: bytes, headers: Mapping[str, str] | None = None, reply: str = ""
    ) -> None:
        raise NotImplementedError

    def new_inbox(self) -> str:
        raise NotImplementedError

    async def barrier(self) -> None:
        raise NotImplementedError

    async def add_service(
        self, name: str, version: str, endpoints: Sequence[Endpoint], *, queue: str, metadata: Mapping[str, str]
    ) -> Service:
        raise NotImplementedError

    async def close(self) -> None:
        raise NotImplementedError

    @property
    def last(self) -> Message:
        return self.asked[-1]


class SettableClock(SystemClock):
    ahead_s = 0.0

    def monotonic_s(self) -> float:
        return super().monotonic_s() + self.ahead_s


class Subscribed:
    async def drain(self) -> None: ...

    async def unsubscribe(self) -> None: ...


@pytest.fixture
def bus() -> RecordingBus:
    return RecordingBus()


@pytest.fixture
def clock() -> SettableClock:
    return SettableClock()


@pytest.fixture
def app(bus: RecordingBus, clock: SettableClock) -> ASGIApp:
    asked = context(bus, clock)
    return service.build_asgi(asked, Hub(asked))


@pytest.fixture
async def client(app: ASGIApp) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(app=app)  # type: ignore[arg-type]
    async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
        yield client


def context(bus: RecordingBus, clock: SystemClock | None = None, **settings: Any) -> Context:
    return Context(bus, Settings(jwt_secret=SECRET, **settings), clock or SystemClock(), "gateway-1")


def bearer(*roles: str, sub: str = "alice") -> dict[str, str]:
    now = int(time.time())
    token = jwt.encode({"sub": sub, "iat": now, "exp": now + 3600, "roles": list(roles)}, SECRET, "HS256")
    return {"authorization": f"Bearer {token}"}


ADMIN = bearer("admin")
USER = bearer("user")


def problem_of(response: httpx.Response, status: int) -> dict[str, Any]:
    """The problem, after a look at all that every problem must have."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    body: dict[str, Any] = response.json()
    assert {"type", "title", "status", "detail", "instance", "requestId", "error"} <= set(body)
    assert body["status"] == status
    assert body["instance"] == response.request.url.path
    assert body["requestId"] == response.headers["x-request-id"]
    assert response.headers["x-content-type-options"] == "nosniff"
    assert response.headers["cache-control"] == "no-store"
    return body


async def ask(client: httpx.AsyncClient, route: Route, headers: dict[str, str]) -> httpx.Response:
    named = {"task": TASK_ID, "jobs": archive_table.JOB["id"]}
    path = route.path.replace("{id}", named.get(route.path.split("/")[2], "gpu-1")).replace("{kind}", "pool")
    content = None if route.request is None else json.dumps(route.example).encode()
    sent = headers if content is None else headers | {"content-type": "application/json"}
    return await client.request(route.method, path, headers=sent, content=content)


@pytest.mark.parametrize("route", API, ids=lambda route: route.name)
async def test_a_route_lets_in_its_roles_and_nobody_else(
    client: httpx.AsyncClient, bus: RecordingBus, route: Route
) -> None:
    bus.answers[verb("task", "get")] = examples.COMPLETED_TASK
    for role in Role:
        if role in route.roles and route.name in ENDLESS:
            continue
        response = await ask(client, route, bearer(role))
        if role in route.roles:
            assert response.status_code in route.answers, (role, response.text)
        else:
            assert problem_of(response, 403)["error"].endswith("role required")
    assert problem_of(await ask(client, route, bearer()), 403)
    response = await ask(client, route, {})
    assert problem_of(response, 401)["error"] == "Unauthorized"
    assert response.headers["www-authenticate"] == 'Bearer realm="pointsman"'
    for wrong in ("Bearer abc", "Basic YWxpY2U6eA==", "Bearer", ADMIN["authorization"].replace("Bearer", "Basic")):
        response = await ask(client, route, {"authorization": wrong})
        assert problem_of(response, 401)
        assert 'error="invalid_token"' in response.headers["www-authenticate"]


async def test_a_submission_is_passed_on_as_it_came_and_answered_as_it_was_answered(
    client: httpx.AsyncClient, bus: RecordingBus
) -> None:
    body = b' {"type":"x", "payload":{"n":1.50}}'
    headers = USER | {"content-type": "application/json", "idempotency-key": '"k1"', "x-request-id": "r-1"}
    response = await client.post("/api/task", content=body, headers=headers)
    assert response.status_code == 202
    assert response.json() == examples.PENDING_TASK
    assert response.headers["location"] == f"/api/task/{TASK_ID}"
    assert response.headers["etag"] == '"12"'
    assert response.headers["x-request-id"] == "r-1"
    assert bus.last.data == body
    headers_sent = dict(bus.last.headers)
    assert is_task_id(headers_sent.pop("Pointsman-Task-Id"))
    assert headers_sent == {
        "Pointsman-Sub": "alice",
        "Pointsman-Roles": "user",
        "Pointsman-Request-Id": "r-1",
        "Pointsman-Idempotency-Key": "k1",
    }


async def test_a_replayed_submission_says_so(client: httpx.AsyncClient, bus: RecordingBus) -> None:
    bus.headers = {"Pointsman-Replayed": "true"}
    response = await client.post("/api/task", json={"type": "x"}, headers=USER)
    assert response.headers["idempotency-replayed"] == "true"


@pytest.mark.parametrize("way", ["prefer", "async false"])
async def test_a_client_that_waits_gets_the_end(client: httpx.AsyncClient, bus: RecordingBus, way: str) -> None:
    bus.answers[verb("task", "get")] = examples.COMPLETED_TASK
    body = {"type": "x"} if way == "prefer" else {"type": "x", "async": False}
    headers = USER | ({"prefer": "wait=99"} if way == "prefer" else {})
    response = await client.post("/api/task", json=body, headers=headers)
    assert (response.status_code, response.json()["status"]) == (200, "COMPLETED")
    assert response.headers.get("preference-applied") == ("wait=30" if way == "prefer" else None)


async def test_waiting_that_ends_early_or_fails_does_not_undo_the_acceptance(
    client: httpx.AsyncClient, bus: RecordingBus
) -> None:
    headers = USER | {"prefer": "wait=1"}
    response = await client.post("/api/task", json={"type": "x"}, headers=headers)
    assert (response.status_code, response.json()["status"]) == (202, "PENDING")
    bus.answers[verb("task", "get")] = BusTimeout()
    response = await client.post("/api/task", json={"type": "x"}, headers=headers)
    assert (response.status_code, response.json()["id"]) == (202, TASK_ID)


async def test_reading_honours_entity_tags_and_head(client: httpx.AsyncClient) -> None:
    path = f"/api/task/{TASK_ID}"
    assert (await client.get(path, headers=USER)).headers["etag"] == '"12"'
    fresh = await client.get(path, headers=USER | {"if-none-match": '"12"'})
    assert (fresh.status_code, fresh.content, fresh.headers["etag"]) == (304, b"", '"12"')
    head = await client.head(path, headers=USER)
    assert (head.status_code, head.content) == (200, b"")
    assert int(head.headers["content-length"]) > 100


@pytest.mark.parametrize("place", ["query", "header"])
async def test_an_attempt_token_is_passed_on_for_the_service_to_verify(
    client: httpx.AsyncClient, bus: RecordingBus, place: str
) -> None:
    headers = {"x-pointsman-attempt-token": "pat_a.b"} if place == "header" else {"authorization": "Bearer backend-key"}
    for method, path, body in (("PUT", "", {"status": "FAILED"}), ("POST", "/extend", {"seconds": 5})):
        url = f"/api/task/{TASK_ID}{path}" + ("?token=pat_a.b" if place == "query" else "")
        response = await client.request(method, url, json=body, headers=headers)
        assert response.status_code == 200, response.text
        assert bus.last.headers["Pointsman-Attempt-Token"] == "pat_a.b"
        assert bus.last.headers["Pointsman-Roles"] == bus.last.headers["Pointsman-Sub"] == ""


async def test_an_attempt_token_is_no_bearer_token_and_opens_no_other_route(client: httpx.AsyncClient) -> None:
    url = f"/api/task/{TASK_ID}"
    assert problem_of(
        await client.put(url, json={"status": "FAILED"}, headers={"authorization": "Bearer pat_a.b"}), 401
    )
    assert problem_of(await client.get(url, headers={"x-pointsman-attempt-token": "pat_a.b"}), 401)
    assert problem_of(await client.put(url, json={}, headers={"x-pointsman-attempt-token": "a b"}), 401)


async def test_a_server_credential_opens_its_own_heartbeat_only(client: httpx.AsyncClient, bus: RecordingBus) -> None:
    own = {"authorization": "Bearer psk_abc"}
    assert (await client.post("/api/servers/gpu-1/heartbeat", json={}, headers=own)).status_code == 200
    assert bus.last.headers["Pointsman-Server-Credential"] == "psk_abc"
    assert bus.last.headers["Pointsman-Sub"] == "server:gpu-1"
    assert bus.last.data == b'{"id":"gpu-1","heartbeat":{}}'
    assert problem_of(await client.get("/api/servers/gpu-1", headers=own), 401)


async def test_arguments_are_what_the_verbs_take(client: httpx.AsyncClient, bus: RecordingBus) -> None:
    def asked() -> tuple[str, Any]:
        return bus.last.subject, json.loads(bus.last.data)

    await client.delete(f"/api/task/{TASK_ID}", headers=USER)
    assert asked() == (verb("task", "cancel"), {"id": TASK_ID, "reason": None, "generation": None})
    await client.post(f"/api/task/{TASK_ID}/cancel", json={"reason": "late", "generation": 2}, headers=USER)
    assert asked() == (verb("task", "cancel"), {"id": TASK_ID, "reason": "late", "generation": 2})
    retried = await client.post(f"/api/task/{TASK_ID}/retry", headers=USER)
    assert (retried.status_code, asked()) == (202, (verb("task", "retry"), {"id": TASK_ID, "generation": None}))
    await client.post("/api/servers", json={"url": "http://a"}, headers=ADMIN | {"if-match": '"7"'})
    assert asked() == (verb("registry", "register"), {"server": {"url": "http://a"}, "ifMatch": 7})
    await client.get("/api/servers?status=online&limit=5", headers=ADMIN)
    assert asked()[1] == {"status": "online", "group": None, "pool": None, "limit": 5, "cursor": None}
    await client.delete("/api/servers/gpu-1?drain=true", headers=ADMIN)
    assert asked()[1]["drain"] is True
    named = ADMIN | {"if-match": '"7"', "idempotency-key": "act-1"}
    await client.patch("/api/servers/gpu-1", json={"weight": 3}, headers=named)
    assert asked() == (verb("registry", "change"), {"id": "gpu-1", "change": {"weight": 3}, "ifMatch": 7})
    assert bus.last.headers[HEADER_OPERATION] == "act-1"
    await client.get("/api/stats/tasks?from=1&to=2", headers=ADMIN)
    assert asked()[1] == {"date": None, "fromMs": 1, "toMs": 2, "serverId": None}
    await client.get("/api/stats/servers/gpu-1?date=2026-01-02", headers=ADMIN)
    assert asked()[1] == {"date": "2026-01-02", "fromMs": None, "toMs": None, "serverId": "gpu-1"}


@pytest.mark.parametrize("name", ["a/b", "//", "/", "ä ?#%2F", "a&b=c", "*", "x" * 128, "\n"])
async def test_a_key_may_hold_any_character_when_it_is_encoded(
    client: httpx.AsyncClient, bus: RecordingBus, name: str
) -> None:
    path = f"/api/limits/key/{quote(name, safe='')}"
    response = await client.put(path, json={"maxConcurrent": 3}, headers=ADMIN | {"if-match": '"7"'})
    assert (response.status_code, response.headers["etag"]) == (200, '"12"')
    assert bus.last.subject == verb("balancer", "limit.set")
    asked = {"kind": "key", "name": name, "ifMatch": 7, "limit": {"maxConcurrent": 3}}
    assert json.loads(bus.last.data) == asked
    assert (await client.delete(path, headers=ADMIN)).status_code == 200
    assert json.loads(bus.last.data) == {"kind": "key", "name": name}


async def test_settings_are_asked_for_by_name_and_revision(client: httpx.AsyncClient, bus: RecordingBus) -> None:
    def asked() -> tuple[str, Any]:
        return bus.last.subject, json.loads(bus.last.data)

    await client.patch("/api/pools/p.1", json={"algorithm": "p2c"}, headers=ADMIN)
    assert asked() == (verb("balancer", "pool.change"), {"pool": "p.1", "settings": {"algorithm": "p2c"}})
    await client.post("/api/types/a/undo", headers=ADMIN | {"if-match": '"3"'})
    assert asked() == (verb("balancer", "type.undo"), {"type": "a", "ifMatch": 3})
    await client.get("/api/limits?limit=5&cursor=key%2Fa", headers=ADMIN)
    assert asked() == (verb("balancer", "limit.list"), {"limit": 5, "cursor": "key/a"})
    bus.answers[verb("balancer", "pool.replace")] = invalid("settings.shares", "too many")
    body = problem_of(await client.put("/api/pools/p", json={"shares": {}}, headers=ADMIN), 400)
    assert body["errors"] == [{"field": "shares", "message": "too many"}]


async def test_registration_and_removal_say_by_status_what_happened(
    client: httpx.AsyncClient, bus: RecordingBus
) -> None:
    body = {"url": "http://a"}
    bus.headers = {"Pointsman-Status": "201"}
    response = await client.post("/api/servers", json=body, headers=ADMIN)
    assert (response.status_code, response.headers["location"]) == (201, "/api/servers/gpu-1")
    bus.headers = {"Pointsman-Status": "200"}
    assert (await client.post("/api/servers", json=body, headers=ADMIN)).status_code == 200
    assert (await client.delete("/api/servers/gpu-1", headers=ADMIN)).status_code == 200
    bus.headers = {"Pointsman-Status": "202"}
    assert (await client.delete("/api/servers/gpu-1?drain=true", headers=ADMIN)).status_code == 202


async def test_a_body_cannot_break_out_of_its_envelope(client: httpx.AsyncClient, bus: RecordingBus) -> None:
    headers = ADMIN | {"content-type": "application/json"}
    body = b'{"status":"COMPLETED"},"id":"task_00000000000000000000000000000000"'
    assert problem_of(await client.put(f"/api/task/{TASK_ID}", content=body, headers=headers), 400)
    assert bus.asked == []


async def test_a_refusal_of_a_service_comes_through_with_the_fields_as_the_client_wrote_them(
    client: httpx.AsyncClient, bus: RecordingBus
) -> None:
    bus.answers[verb("task", "update")] = invalid("update.progress", "at most 100")
    body = problem_of(await client.put(f"/api/task/{TASK_ID}", json={"progress": 101}, headers=ADMIN), 400)
    assert body["errors"] == [{"field": "progress", "message": "at most 100"}]
    assert body["detail"] == "progress: at most 100"
    bus.answers[verb("task", "update")] = conflict("stale attempt")
    assert problem_of(await client.put(f"/api/task/{TASK_ID}", json={}, headers=ADMIN), 409)["error"] == "stale attempt"


async def test_overload_and_absence_say_when_to_come_back(client: httpx.AsyncClient, bus: RecordingBus) -> None:
    bus.answers[verb("task", "create")] = overloaded("the backlog is full", 7)
    response = await client.post("/api/task", json={"type": "x"}, headers=USER)
    assert problem_of(response, 429)
    assert response.headers["retry-after"] == "7"
    bus.answers[verb("task", "create")] = BusTimeout()
    response = await client.post("/api/task", json={"type": "x"}, headers=USER)
    assert problem_of(response, 503)
    assert int(response.headers["retry-after"]) >= 1


async def test_a_bug_is_answered_without_its_details(client: httpx.AsyncClient, bus: RecordingBus) -> None:
    bus.answers[verb("task", "create")] = RuntimeError("secret detail")
    body = problem_of(await client.post("/api/task", json={"type": "x"}, headers=USER), 500)
    assert "secret" not in json.dumps(body)


TYPED = {"content-type": "application/json"}
DEEP = b'{"status":"COMPLETED","result":' + b"[" * 200_000 + b"]" * 200_000 + b"}"
BAD: dict[str, tuple[str, str, dict[str, Any], int, str]] = {
    "no type": ("POST", "/api/task", {"content": b"{}"}, 415, "none was given"),
    "text": ("POST", "/api/task", {"content": b"{}", "headers": {"content-type": "text/plain"}}, 415, "text/plain"),
    "msgpack": ("POST", "/api/task", {"content": b"{}", "headers": {"content-type": "application/x-msgpack"}}, 415, ""),
    "other charset": (
        "POST",
        "/api/task",
        {"content": b"{}", "headers": {"content-type": "application/json; charset=latin-1"}},
        415,
        "",
    ),
    "compressed": (
        "POST",
        "/api/task",
        {"content": b"{}", "headers": TYPED | {"content-encoding": "gzip"}},
        415,
        "gzip",
    ),
    "nested": ("PUT", f"/api/task/{TASK_ID}", {"content": DEEP, "headers": TYPED}, 400, "nested"),
    "empty": ("POST", "/api/task", {"content": b"", "headers": TYPED}, 400, "body"),
    "not UTF-8": ("POST", "/api/task", {"content": b'{"type":"\xff"}', "headers": TYPED}, 400, "UTF-8"),
    "too large": ("POST", "/api/task", {"content": b" " * 327_681, "headers": TYPED}, 413, "327680"),
    "large for its route": ("POST", "/api/servers", {"content": b" " * 131_073, "headers": TYPED}, 413, "131072"),
    "unknown query": ("GET", "/api/servers?colour=red", {}, 400, "colour"),
    "query twice": ("GET", "/api/servers?limit=1&limit=2", {}, 400, "limit"),
    "query out of range": ("GET", "/api/servers?limit=201", {}, 400, "limit"),
    "query no number": ("GET", "/api/servers?limit=many", {}, 400, "limit"),
    "query not UTF-8": ("GET", "/api/servers?pool=%ff", {}, 400, "query"),
    "query without value": ("GET", "/api/servers?pool", {}, 400, "query"),
    "query where none is": ("GET", f"/api/task/{TASK_ID}?x=1", {}, 400, "x"),
    "no date": ("GET", "/api/stats/hourly?date=yesterday", {}, 400, "date"),
    "no task id": ("GET", "/api/task/123", {}, 404, "task"),
    "no pool": ("GET", "/api/pools/a%20b", {}, 404, "pool"),
    "no task type": ("PUT", "/api/types/A", {"json": {}}, 404, "type"),
    "a key that is too long": ("DELETE", "/api/limits/key/" + "x" * 129, {}, 404, "key"),
    "a key that is not UTF-8": ("DELETE", "/api/limits/key/%ff", {}, 400, "UTF-8"),
    "a key in two segments": ("DELETE", "/api/limits/key/a/b", {}, 404, "/api/limits/key/a/b"),
    "no revision": ("POST", "/api/pools/p/undo", {"headers": {"if-match": "x"}}, 400, "If-Match"),
    "no server id": ("GET", "/api/servers/a%20b", {}, 404, "server"),
    "no route": ("GET", "/api/nothing", {}, 404, "/api/nothing"),
    "key": ("POST", "/api/task", {"content": b"{}", "headers": TYPED | {"idempotency-key": "a b"}}, 400, "Idempotency"),
    "revision": ("POST", "/api/servers", {"content": b"{}", "headers": TYPED | {"if-match": "*"}}, 400, "If-Match"),
    "no JSON": ("PUT", f"/api/task/{TASK_ID}", {"content": b"{", "headers": TYPED}, 400, "body"),
    "reason": ("POST", f"/api/task/{TASK_ID}/cancel", {"json": {"reason": 1}}, 400, "reason"),
    "unknown field": ("POST", f"/api/task/{TASK_ID}/retry", {"json": {"now": True}}, 400, "now"),
}


@pytest.mark.parametrize("case", BAD)
async def test_bad_input_is_refused_by_name(client: httpx.AsyncClient, bus: RecordingBus, case: str) -> None:
    method, path, sent, status, named = BAD[case]
    sent = sent | {"headers": sent.get("headers", {}) | ADMIN}
    assert named in problem_of(await client.request(method, path, **sent), status)["detail"]
    assert bus.asked == []


async def test_a_chunked_body_is_measured_too(client: httpx.AsyncClient) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(400):
            yield b" " * 1024

    assert problem_of(await client.post("/api/task", content=chunks(), headers=ADMIN | TYPED), 413)


async def test_a_body_that_does_not_come_is_not_waited_for(
    client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(intake, "BODY_S", 0.05)

    async def dripping() -> AsyncIterator[bytes]:
        yield b'{"type":'
        await asyncio.Event().wait()

    assert problem_of(await client.post("/api/task", content=dripping(), headers=ADMIN | TYPED), 408)


async def test_preferences_may_come_in_several_lines(client: httpx.AsyncClient, bus: RecordingBus) -> None:
    bus.answers[verb("task", "get")] = examples.COMPLETED_TASK
    headers = [*(USER | TYPED).items(), ("prefer", "wait=5"), ("prefer", "handling=lenient")]
    response = await client.post("/api/task", content=b"{}", headers=headers)
    assert (response.status_code, response.headers["preference-applied"]) == (200, "wait=5")


async def test_json_subtypes_and_charset_are_json(client: httpx.AsyncClient) -> None:
    for kind in ("application/json; charset=utf-8", "application/vnd.x+json", 'Application/JSON;charset="UTF-8"'):
        response = await client.post("/api/task", content=b"{}", headers=USER | {"content-type": kind})
        assert response.status_code == 202, kind


async def test_another_method_is_told_the_allowed_ones(client: httpx.AsyncClient) -> None:
    response = await client.patch(f"/api/task/{TASK_ID}", headers=USER)
    assert problem_of(response, 405)
    assert {"GET", "HEAD", "PUT", "DELETE"} <= set(response.headers["allow"].split(", "))


async def test_options_names_every_method_of_the_path(client: httpx.AsyncClient) -> None:
    response = await client.options(f"/api/task/{TASK_ID}")
    assert set(response.headers["allow"].split(", ")) == {"GET", "HEAD", "PUT", "DELETE", "OPTIONS"}
    assert (response.status_code, response.headers["x-content-type-options"]) == (204, "nosniff")
    assert response.headers["x-request-id"]


async def test_a_request_id_that_could_harm_is_replaced(client: httpx.AsyncClient) -> None:
    for given in ("a b", "x" * 129, "ü"):
        response = await client.get("/healthz", headers={b"x-request-id": given.encode()})
        assert response.headers["x-request-id"] != given
    assert (await client.get("/healthz", headers={"x-request-id": "a-1"})).headers["x-request-id"] == "a-1"


async def test_readiness_names_what_is_missing(
    client: httpx.AsyncClient, bus: RecordingBus, clock: SettableClock
) -> None:
    assert (await client.get("/readyz")).json()["status"] == "ready"
    clock.ahead_s += 1
    bus.answers[verb("history", "status")] = NoResponders()
    degraded = await client.get("/readyz")
    assert (degraded.status_code, degraded.json()["status"]) == (200, "degraded")
    clock.ahead_s += 1
    bus.answers[verb("balancer", "status")] = NoResponders()
    response = await client.get("/readyz")
    body = problem_of(response, 503)
    assert body["dependencies"]["balancer"]["ok"] is False
    assert body["dependencies"]["task"]["ok"] is True
    assert response.headers["retry-after"] == "2"


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (BusTimeout(), "restart nats-server"),
        (NoResponders(), "JetStream is off"),
        ({"error": {"code": 503, "description": "insufficient storage"}}, "insufficient storage"),
    ],
)
async def test_a_store_that_takes_no_writes_is_not_ready_and_said(
    client: httpx.AsyncClient, bus: RecordingBus, answer: object, said: str
) -> None:
    bus.answers[PROBE] = answer
    body = problem_of(await client.get("/readyz"), 503)
    assert body["detail"] == "not ready: storage"
    assert said in body["dependencies"]["storage"]["detail"]


async def test_metrics_are_for_roles_and_count_by_template(client: httpx.AsyncClient) -> None:
    assert problem_of(await client.get("/metrics"), 401)
    assert problem_of(await client.get("/metrics", headers=USER), 403)
    await client.get(f"/api/task/{TASK_ID}", headers=USER)
    await client.get("/api/nothing/at/all", headers=USER)
    text = (await client.get("/metrics", headers=bearer("viewer"))).text
    assert 'pointsman_http_requests_total{method="GET",route="/api/task/{id}",status="200"} 1.0' in text
    assert 'route="unmatched",status="404"' in text
    assert 'pointsman_server_active_tasks{server="gpu-1"} 1.0' in text
    assert "pointsman_tasks_pending 3.0" in text
    assert TASK_ID not in text


async def test_the_documentation_is_served_by_us(client: httpx.AsyncClient) -> None:
    page = await client.get("/docs")
    assert "default-src 'none'" in page.headers["content-security-policy"]
    for name in ("swagger-ui-bundle.js", "swagger-ui.css", "swagger-initializer.js", "favicon-32x32.png"):
        assert name in page.text or name == "swagger-initializer.js"
        assert (await client.get(f"/docs/{name}")).status_code == 200
    assert problem_of(await client.get("/docs/service.py"), 404)
    document = await client.get("/openapi.json")
    assert document.json()["paths"]["/readyz"]["get"]["security"] == []
    assert (await client.get("/openapi.json", headers={"if-none-match": document.headers["etag"]})).status_code == 304


async def test_a_stopping_gateway_finishes_what_runs_and_takes_nothing_more(bus: RecordingBus) -> None:
    port = ports.free()
    gateway = service.build(context(bus, port=port))
    await gateway.start()
    with pytest.raises(OSError, match="in use"):
        await service.build(context(bus, port=port)).start()
    url = f"http://127.0.0.1:{port}/api/task"
    async with aiohttp.ClientSession(headers=USER) as session:
        bus.held = asyncio.Event()
        running = asyncio.create_task(session.post(url, json={"type": "x"}))
        await bus.reached.wait()
        stopping = asyncio.create_task(gateway.stop())
        async with asyncio.timeout(5):
            while True:
                try:
                    await asyncio.open_connection("127.0.0.1", port)
                except OSError:
                    break
                await asyncio.sleep(0.01)
        bus.held.set()
        assert (await running).status == 202
        await stopping


async def test_granian_refuses_an_oversized_body_and_goes_on(bus: RecordingBus) -> None:
    port = ports.free()
    gateway = service.build(context(bus, port=port))
    await gateway.start()
    try:
        async with aiohttp.ClientSession(headers=ADMIN | TYPED) as session:
            for size, status in ((131_073, 413), (100, 201), (2_000_000, 413), (100, 201)):
                content = b'{"url":"' + b"x" * size + b'"}'
                async with session.post(f"http://127.0.0.1:{port}/api/servers", data=content) as response:
                    assert response.status == status
        assert await asyncio.to_thread(sent_before_reading, port, b" " * 5_000_000) == 401
    finally:
        await gateway.stop()


def sent_before_reading(port: int, body: bytes) -> int:
    """The answer to a stranger whose client looks for it only when all is sent, as most do."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        connection.request("POST", "/api/servers", body, TYPED)
        return connection.getresponse().status
    finally:
        connection.close()
