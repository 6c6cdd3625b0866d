"""How servers are called, seen from outside: traces, TLS, and where calls may not go."""

import asyncio

import pytest

from tests.e2e.conftest import Fleet
from tests.support.certificates import Identity
from tests.support.executor_bench import listening
from tests.support.http1 import answer_of, read_request
from tests.support.rest import Rest
from tests.support.system_up import SystemUp, eventually

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
CA = Identity("authority")
SERVER, CLIENT = Identity("server", ("127.0.0.1",), by=CA), Identity("client", by=CA)


async def test_up_says_loudly_that_loopback_is_open(system: SystemUp) -> None:
    assert any("LOOPBACK IS OPEN" in text for text in system.logs().values())


@pytest.mark.parametrize(("sent", "continued"), [(f"00-{TRACE}-00f067aa0ba902b7-01", True), ("no trace", False)])
async def test_a_submitter_s_trace_goes_on(admin: Rest, fleet: Fleet, sent: str, continued: bool) -> None:
    server = await fleet.server()
    answer = await admin.call("POST", "/api/task", fleet.task(), headers={"traceparent": sent}, expect=(202,))
    await admin.finished(answer.body["id"])
    seen = (await server.backend.stats())["lastHeaders"]["traceparent"]
    assert (TRACE in seen) is continued
    assert seen != sent


async def test_a_server_is_called_over_tls_that_proves_both_sides(admin: Rest, fleet: Fleet) -> None:
    async def backend(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while request := await read_request(reader):
            writer.write(answer_of(200, {"path": request.path}))
        writer.close()

    tls = {"ca": CA.cert, "clientCert": CLIENT.cert, "clientKey": CLIENT.key}
    server_id = f"{fleet.pool}-tls"
    async with listening(backend, SERVER.serving(clients=CA)) as url:
        request = {"id": server_id, "url": url, "pool": fleet.pool, "tls": tls}
        await admin.call("POST", "/api/servers", request, expect=(201,))
        await admin.call("POST", "/api/servers", request, expect=(200,))
        try:
            ended = await admin.done(fleet.task())
            assert (ended["status"], ended["result"]) == ("COMPLETED", {"path": "/predict"})
            shown = await admin.call("GET", f"/api/servers/{server_id}", expect=(200,))
            assert "BEGIN" not in shown.text
        finally:
            await admin.call("DELETE", f"/api/servers/{server_id}", expect=(200,))


@pytest.mark.parametrize(
    ("server", "status", "field"),
    [
        ({"url": "https://127.0.0.1:9999", "tls": {"ca": "none"}}, 400, "tls.ca"),
        ({"url": "https://127.0.0.1:9999", "tls": {"insecure": True}}, 400, "tls.insecure"),
        ({"url": "https://127.0.0.1:9999", "tls": {"ca": "x" * 16_385}}, 400, "tls.ca"),
        ({"url": "http://127.0.0.1:9999", "tls": {"ca": CA.cert}}, 400, "tls"),
        ({"url": "http://169.254.169.254"}, 422, "url"),
        ({"url": "http://10.0.0.1:8000"}, 422, "url"),
        ({"url": "http://127.0.0.1:22"}, 422, "url"),
        ({"endpoints": {"predict": "http://127.0.0.1:9999/", "health": "ftp://127.0.0.1/"}}, 422, "endpoints.health"),
    ],
)
async def test_a_registration_that_could_not_be_called_is_refused(
    admin: Rest, server: dict[str, object], status: int, field: str
) -> None:
    answer = await admin.call("POST", "/api/servers", {"id": "refused", **server})
    assert answer.is_problem(status)
    assert [error["field"] for error in answer.body["errors"]] == [field]
    assert (await admin.call("GET", "/api/servers/refused")).is_problem(404)


async def test_a_cancel_reaches_the_server(admin: Rest, fleet: Fleet) -> None:
    server = await fleet.server(cancel=True)
    task_id = await admin.accepted(fleet.task("accepted:20000"))

    async def runs() -> bool:
        return int((await server.backend.stats())["running"]) == 1

    await eventually(runs, "the task runs")
    await admin.call("POST", f"/api/task/{task_id}/cancel", {}, expect=(200,))

    async def is_told() -> bool:
        return (await server.backend.stats())["deletes"] == [task_id]

    await eventually(is_told, "the server is told")
