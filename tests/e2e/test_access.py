"""Who may do what, what refusals look like, and what everybody can read."""

from tests.e2e.conftest import Fleet
from tests.support.rest import Rest
from tests.support.system_up import SystemUp


async def test_another_owners_task_does_not_exist(admin: Rest, fleet: Fleet, system: SystemUp) -> None:
    await fleet.server()
    async with system.client("bob", "user") as bob, system.client("eve", "user") as eve:
        task_id = await bob.accepted(fleet.task())
        assert (await bob.finished(task_id))["owner"] == "bob"
        path = f"/api/task/{task_id}"
        done = {"status": "COMPLETED", "result": 1}
        assert (await eve.call("GET", path)).is_problem(404)
        assert (await eve.call("POST", f"{path}/cancel", {})).is_problem(404)
        assert (await eve.call("POST", f"{path}/retry", {})).is_problem(404)
        assert (await eve.call("DELETE", path)).is_problem(404)
        assert (await eve.call("PUT", path, done)).is_problem(404)
        assert (await eve.call("GET", "/api/task/task_01900000000070008000000000000000")).is_problem(404)
    assert (await admin.task(task_id))["owner"] == "bob"


async def test_roles(admin: Rest, fleet: Fleet, system: SystemUp) -> None:
    server = await fleet.server()
    task = await admin.done(fleet.task())
    register = {"id": "x", "endpoints": server.backend.endpoints}
    algorithm, maintenance = "/api/stats/load-balancer/algorithm", f"/api/servers/{server.id}/maintenance"
    async with (
        system.client("vic", "viewer") as viewer,
        system.client("olga", "operator") as operator,
        system.client("uma", "user") as user,
        system.client("sam", "service") as service,
        Rest.connect(system.url) as nobody,
        Rest.connect(system.url, "not.a.token") as stranger,
    ):
        for rest in (viewer, operator, user, service):
            answer = await rest.call("POST", "/api/servers", register)
            assert answer.is_problem(403, "Admin role required")
            assert (await rest.call("DELETE", f"/api/servers/{server.id}")).is_problem(403)
        assert (await viewer.submit(fleet.task())).is_problem(403)
        assert (await service.submit(fleet.task())).is_problem(403)
        assert (await viewer.call("GET", f"/api/task/{task['id']}")).status == 200
        assert (await operator.call("GET", f"/api/task/{task['id']}")).status == 200
        assert (await viewer.call("POST", f"/api/task/{task['id']}/cancel", {})).is_problem(403)
        assert (await viewer.call("GET", "/api/servers")).status == 200
        assert (await user.call("GET", "/api/servers")).is_problem(403)
        assert (await user.call("GET", "/api/stats/tasks")).status == 200
        assert (await viewer.call("POST", algorithm, {"algorithm": "random"})).is_problem(403)
        assert (await user.call("POST", maintenance, {"maintenance": True})).is_problem(403)
        assert (await operator.call("POST", maintenance, {"maintenance": False})).status == 200
        for rest in (nobody, stranger):
            answer = await rest.call("GET", f"/api/task/{task['id']}")
            assert answer.is_problem(401, "Unauthorized")
            assert answer.headers["WWW-Authenticate"].startswith("Bearer")


async def test_a_server_beats_with_its_own_credential_only(fleet: Fleet, system: SystemUp) -> None:
    mine, other = await fleet.server(), await fleet.server()
    async with Rest.connect(system.url, mine.credential) as rest:
        beat = {"status": "healthy", "activeTasks": 0, "metrics": {"cpu": 12.5}}
        answer = await rest.call("POST", f"/api/servers/{mine.id}/heartbeat", beat, expect=(200,))
        assert (answer.body["success"], answer.body["message"]) == (True, "Heartbeat updated")
        assert (await rest.call("POST", f"/api/servers/{other.id}/heartbeat", beat)).status in (401, 403)
        assert (await rest.call("GET", f"/api/servers/{mine.id}")).status == 401


async def test_what_is_malformed_is_refused_with_the_field_named(admin: Rest, fleet: Fleet) -> None:
    path, json = "/api/task", {"Content-Type": "application/json"}
    deep = b'{"type":"e2e","payload":{"a":' + b"[" * 100 + b"]" * 100 + b"}}"
    for data, status, said in (
        (b"{", 400, ""),
        (b"\xff\xfe", 400, ""),
        (b"[]", 400, ""),
        (b'{"payload":{}}', 400, "type"),
        (b'{"type":"E2E!"}', 400, "type"),
        (b'{"type":"e2e","priority":"5"}', 400, "priority"),
        (b'{"type":"e2e","priority":11}', 400, "priority"),
        (b'{"type":"e2e","payload":[]}', 400, "payload"),
        (b'{"type":"e2e","payload":{"a":"\\u0000"}}', 400, "payload"),
        (b'{"type":"e2e","unheard":1}', 400, "unheard"),
        (b'{"type":"e2e","runAt":1,"delayMs":1}', 400, "delayMs"),
        (deep, 400, "payload"),
        (b'{"type":"e2e","payload":{"a":"' + b"x" * (256 * 1024) + b'"}}', 413, ""),
        (b'{"type":"e2e","payload":{"a":"' + b"x" * (2 * 1024 * 1024) + b'"}}', 413, ""),
    ):
        answer = await admin.call("POST", path, data=data, headers=json)
        assert answer.is_problem(status, said), data[:80]
    assert (await admin.call("POST", path, data=b"{}", headers={"Content-Type": "text/plain"})).is_problem(415)
    for key in ("", "x" * 256, "é"):
        answer = await admin.call("POST", path, fleet.task(), headers={"Idempotency-Key": key})
        assert answer.is_problem(400, "Idempotency-Key")
    assert (await admin.call("GET", "/api/servers?limit=5&limit=6")).is_problem(400, "limit")
    assert (await admin.call("GET", "/api/servers?colour=red")).is_problem(400, "colour")
    assert (await admin.call("GET", "/api/nothing")).is_problem(404)
    wrong = await admin.call("PATCH", "/api/task")
    assert wrong.is_problem(405)
    assert "POST" in wrong.headers["Allow"]


async def test_registration_is_refused_where_policy_says_so(admin: Rest, fleet: Fleet) -> None:
    server = await fleet.server()
    for url in ("http://10.0.0.1:80", "http://169.254.169.254", "file:///etc/passwd", "http://a:b@127.0.0.1:9"):
        answer = await admin.call("POST", "/api/servers", {"id": "bad", "url": url})
        assert answer.status in (400, 422), url
    same = {"id": server.id, "pool": fleet.pool, "endpoints": server.backend.endpoints}
    assert (await admin.call("POST", "/api/servers", same)).status == 200
    assert (await admin.call("POST", "/api/servers", {**same, "maxConcurrent": 3})).is_problem(409)
    tag = (await admin.call("GET", f"/api/servers/{server.id}", expect=(200,))).headers["ETag"]
    stale = await admin.call("POST", "/api/servers", {**same, "maxConcurrent": 3}, headers={"If-Match": '"1"'})
    assert stale.is_problem(412)
    headers = {"If-Match": tag}
    await admin.call("POST", "/api/servers", {**same, "maxConcurrent": 3}, headers=headers, expect=(200,))
    shown = await admin.call("GET", f"/api/servers/{server.id}", expect=(200,))
    assert shown.body["maxConcurrent"] == 3
    assert server.credential not in shown.text


async def test_the_documentation_is_served_and_needs_nothing_from_elsewhere(system: SystemUp) -> None:
    async with Rest.connect(system.url) as rest:
        page = await rest.call("GET", "/docs", expect=(200,))
        assert page.headers["Content-Type"].startswith("text/html")
        assert "https://" not in page.text.replace("https://github.com", "").replace("https://swagger.io", "")
        document = (await rest.call("GET", "/openapi.json", expect=(200,))).body
        assert document["openapi"].startswith("3.1")
        assert {tag["name"] for tag in document["tags"]} >= {"Tasks", "Servers", "Statistics", "Load Balancer"}
        assert {"/api/task", "/api/task/{id}", "/api/servers", "/api/stats/hourly"} <= set(document["paths"])
        await rest.call("GET", "/healthz", expect=(200,))
        await rest.call("GET", "/readyz", expect=(200,))


async def test_measurements_are_for_admins(admin: Rest, system: SystemUp) -> None:
    text = (await admin.call("GET", "/metrics", expect=(200,))).text
    assert "# HELP" in text
    async with Rest.connect(system.url) as nobody:
        assert (await nobody.call("GET", "/metrics")).status in (401, 403)
