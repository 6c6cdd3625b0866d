"""Search and acts on many over HTTP: what the archive is asked, and how refusals name what the client wrote."""

import json

import httpx
import pytest

from pointsman.contracts.errors import invalid
from pointsman.contracts.subjects import verb
from pointsman.services.gateway import archive_table
from tests.contract.test_gateway import ADMIN, USER, RecordingBus, app, bus, client, clock

app, bus, client, clock = app, bus, client, clock

SEARCH, BULK = verb("history", "search"), verb("history", "bulk")


def asked(bus: RecordingBus, subject: str) -> dict[str, object]:
    (message,) = [message for message in bus.asked if message.subject == subject]
    return dict(json.loads(message.data))


async def test_parameters_become_filters_by_their_names(client: httpx.AsyncClient, bus: RecordingBus) -> None:
    bus.answers[SEARCH] = archive_table.PAGE
    query = "status=FAILED&serverId=gpu-1&from=2026-01-01&labels.team=blue&payload.user.id=42&q=try%3E1&limit=7"
    response = await client.get(f"/api/tasks?{query}", headers=USER)
    assert (response.status_code, response.json()) == (200, archive_table.PAGE)
    sent = asked(bus, SEARCH)
    assert sent["filters"] == {
        "status": "FAILED",
        "serverId": "gpu-1",
        "from": "2026-01-01",
        "labels.team": "blue",
        "payload.user.id": "42",
        "q": "try>1",
    }
    assert sent["limit"] == 7


@pytest.mark.parametrize(
    ("query", "names", "says"),
    [
        ("colour=red", "colour", "there are cursor, error, from"),
        ("labelsteam=x", "labelsteam", "labels.NAME, payload.NAME"),
        ("status=FAILED&status=TIMEOUT", "status", "given twice"),
        ("limit=201", "limit", "200"),
        ("limit=x", "limit", "int"),
        ("text=%ff", "query", "not UTF-8"),
        ("&".join(f"labels.n{number}=x" for number in range(33)), "query", "more than 32"),
        ("text=%ed%a0%80", "query", "not UTF-8"),
    ],
)
async def test_a_wrong_parameter_is_refused_with_what_exists(
    client: httpx.AsyncClient, bus: RecordingBus, query: str, names: str, says: str
) -> None:
    response = await client.get(f"/api/tasks?{query}", headers=ADMIN)
    assert (response.status_code, response.json()["errors"][0]["field"]) == (400, names)
    assert says in response.text
    assert not [message for message in bus.asked if message.subject == SEARCH]


async def test_a_dry_run_is_200_and_an_act_202_with_its_place(client: httpx.AsyncClient, bus: RecordingBus) -> None:
    for status, expected in (("COUNTED", 200), ("RUNNING", 202)):
        bus.answers[BULK] = archive_table.JOB | {"status": status}
        response = await client.post("/api/tasks/retry", json=archive_table.BULK, headers=ADMIN)
        assert response.status_code == expected
        assert response.headers.get("location") == (f"/api/jobs/{archive_table.JOB['id']}" if expected == 202 else None)
    assert bus.asked[-1].subject == BULK
    assert json.loads(bus.asked[-1].data) == {"kind": "retry", "bulk": archive_table.BULK}


async def test_a_refused_act_names_the_field_as_it_was_written(client: httpx.AsyncClient, bus: RecordingBus) -> None:
    bus.answers[BULK] = invalid("bulk.filter", "Object fewer than 1")
    response = await client.post("/api/tasks/cancel", json={"filter": {}}, headers=ADMIN)
    assert response.json()["errors"] == [{"field": "filter", "message": "Object fewer than 1"}]
