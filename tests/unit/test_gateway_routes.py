"""The route table, and the document made from it."""

import hashlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from pointsman.contracts.actor import Role
from pointsman.services.gateway import docs, openapi
from pointsman.services.gateway.conditions import idempotency_key, if_match, is_fresh, wait_s
from pointsman.services.gateway.identify import missing_role
from pointsman.services.gateway.readiness import healthz
from pointsman.services.gateway.route import Answer, Id, Route
from pointsman.services.gateway.table import API

DOCUMENT: dict[str, Any] = json.loads(openapi.document(API))
EXPECTED = """
POST /api/task                            admin operator user
POST /api/tasks/batch                     admin operator user
GET /api/task/{id}                        admin operator user viewer
GET /api/task/{id}/explain                admin operator user viewer
GET /api/task/{id}/events                 admin operator user viewer
GET /api/events                           admin operator viewer
PUT /api/task/{id}                        admin operator service user
POST /api/task/{id}/retry                 admin operator user
POST /api/task/{id}/cancel                admin operator user
DELETE /api/task/{id}                     admin operator user
POST /api/task/{id}/extend                service
POST /api/servers                         admin
GET /api/servers                          admin operator viewer
GET /api/servers/{id}                     admin operator viewer
POST /api/servers/{id}/heartbeat          admin service
POST /api/servers/{id}/credential         admin
POST /api/servers/maintenance             admin operator
POST /api/servers/{id}/maintenance        admin operator
DELETE /api/servers/{id}                  admin
PATCH /api/servers/{id}                  admin operator
GET /api/servers/{id}/metrics             admin operator viewer
GET /api/stats/tasks                      admin operator user viewer
GET /api/stats/hourly                     admin operator user viewer
GET /api/stats/types                      admin operator user viewer
GET /api/stats/servers                    admin operator user viewer
GET /api/stats/servers/{id}               admin operator user viewer
GET /api/stats/load-balancer              admin operator user viewer
POST /api/stats/load-balancer/algorithm   admin operator
GET /api/task/{id}/explain            admin operator user viewer
GET /api/pools                        admin operator viewer
GET /api/pools/{id}                   admin operator viewer
GET /api/pools/{id}/plan              admin operator viewer
PUT /api/pools/{id}                   admin operator
PATCH /api/pools/{id}                 admin operator
POST /api/pools/{id}/undo             admin operator
GET /api/types                        admin operator viewer
GET /api/types/{id}                   admin operator viewer
PUT /api/types/{id}                   admin operator
DELETE /api/types/{id}                admin operator
POST /api/types/{id}/undo             admin operator
GET /api/limits                       admin operator viewer
PUT /api/limits/{kind}/{id}           admin operator
DELETE /api/limits/{kind}/{id}        admin operator
GET /api/tasks                            admin operator user viewer
POST /api/tasks/retry                     admin operator
POST /api/tasks/cancel                    admin operator
GET /api/jobs/{id}                        admin operator
GET /api/audit                            admin operator
GET /api/alerts                           admin operator viewer
POST /api/alerts/acknowledge              admin operator
GET /api/view/frames                      admin operator viewer
"""


def test_each_route_has_the_roles_that_the_interface_gives_it() -> None:
    expected = {tuple(line.split()[:2]): set(line.split()[2:]) for line in EXPECTED.strip().splitlines()}
    assert {(route.method, route.path): set(route.roles) for route in API} == expected


@pytest.mark.parametrize("access", [{}, {"public": True, "roles": frozenset({Role.ADMIN})}])
def test_a_route_without_declared_roles_cannot_be_made(access: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="declares no roles"):
        Route(method="GET", path="/x", name="x", tag="x", summary="x", act=healthz, answers={}, **access)


def test_a_route_says_what_its_id_names() -> None:
    with pytest.raises(ValueError, match="id"):
        Route(method="GET", path="/x", name="x", tag="x", summary="x", act=healthz, answers={}, public=True, id=Id.TASK)


def test_a_refusal_names_the_roles_that_would_do() -> None:
    assert missing_role(frozenset({Role.ADMIN})) == "Admin role required"
    assert missing_role(frozenset({Role.OPERATOR, Role.ADMIN})) == "Admin or operator role required"
    assert missing_role(frozenset({Role.USER, Role.OPERATOR, Role.ADMIN})) == "Admin, operator or user role required"


def test_the_document_has_every_route_once_with_its_security_and_statuses() -> None:
    operations = [operation for path in DOCUMENT["paths"].values() for operation in path.values()]
    assert len(operations) == len(API) == len({operation["operationId"] for operation in operations})
    assert DOCUMENT["openapi"].startswith("3.1")
    for route in API:
        operation = DOCUMENT["paths"][route.path][route.method.lower()]
        assert operation["security"][0] == {"bearer": []}
        assert {"400", "401", "403", "405", "429", "500", "503"} <= set(operation["responses"])
        assert (route.id is None) or "404" in operation["responses"]
        assert (route.request is None) or {"408", "413", "415"} <= set(operation["responses"])
        assert route.tag in {"Tasks", "Servers", "Statistics", "Load Balancer", "Settings", "Audit", "Alerts"}


def test_every_reference_of_the_document_leads_somewhere() -> None:
    for reference in _references(DOCUMENT):
        assert reference.removeprefix("#/components/schemas/") in DOCUMENT["components"]["schemas"]
    for path, operations in DOCUMENT["paths"].items():
        for operation in operations.values():
            named = {entry["name"] for entry in operation.get("parameters", ()) if entry["in"] == "path"}
            assert named == set(re.findall(r"{(\w+)}", path))


def test_the_examples_are_what_the_structs_say() -> None:
    for route in API:
        pairs = [(route.request, route.example), *((answer.body, answer.example) for answer in route.answers.values())]
        for struct, example in pairs:
            if struct is not None:
                assert example is not None, route.name
                msgspec.json.decode(msgspec.json.encode(example), type=struct)


def test_the_document_says_what_may_be_null_and_what_a_result_may_be() -> None:
    schemas = DOCUMENT["components"]["schemas"]
    for name in ("payload", "metadata"):
        assert {"type": "null"} in schemas["Task"]["properties"][name]["anyOf"]
    assert schemas["TaskRequest"]["properties"]["payload"]["type"] == "object"
    for struct in ("Task", "TaskUpdate"):
        assert "type" not in schemas[struct]["properties"]["result"]


def test_every_header_of_an_answer_is_documented() -> None:
    answers: list[Answer] = [answer for route in API for answer in route.answers.values()]
    assert {name for answer in answers for name in answer.headers} <= set(openapi.HEADERS)
    assert {name for route in API for name in route.headers} <= set(openapi.REQUEST_HEADERS)


def test_the_page_is_ours_and_asks_no_other_origin() -> None:
    page = docs.content("index.html").decode()
    assert not re.search(r"(?:src|href)=\"(?!/)", page)
    assert "<script>" not in page
    assert b"validatorUrl: null" in docs.content("swagger-initializer.js")


def test_the_vendored_files_are_the_recorded_ones() -> None:
    folder = Path(docs.__file__).parent / "static"
    lines = (folder / "SHA256SUMS").read_text().splitlines()
    assert {"swagger-ui-bundle.js", "swagger-ui.css", "LICENSE", "NOTICE"} <= {line.split()[1] for line in lines}
    for line in lines:
        digest, name = line.split()
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == digest, name


@pytest.mark.parametrize(
    ("prefer", "seconds"),
    [
        (None, None),
        (b"wait=5", 5),
        (b"respond-async, Wait = 7", 7),
        (b"wait=300", 30),
        (b"wait=0", 0),
        (b"wait=-1", None),
        (b"wait=x", None),
        (b"await=5", None),
    ],
)
def test_a_preference_to_wait_is_read_and_bounded(prefer: bytes | None, seconds: int | None) -> None:
    assert wait_s({} if prefer is None else {b"prefer": prefer}) == seconds


def test_entity_tags_are_compared_weakly() -> None:
    for given in (b'"12"', b'W/"12"', b'"11", "12"', b"*"):
        assert is_fresh({b"if-none-match": given}, "12")
    for given in (b'"1"', b"12", b""):
        assert not is_fresh({b"if-none-match": given}, "12")


def test_conditions_that_are_malformed_are_refused_by_name() -> None:
    assert if_match({b"if-match": b'"7"'}) == 7
    assert idempotency_key({b"idempotency-key": b'"abc"'}) == idempotency_key({b"idempotency-key": b"abc"}) == "abc"
    for headers, name in (({b"if-match": b"*"}, "If-Match"), ({b"idempotency-key": b"a b"}, "Idempotency-Key")):
        with pytest.raises(Exception, match=name):
            (if_match if name == "If-Match" else idempotency_key)(headers)


def _references(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if isinstance(found := node.get("$ref"), str):
            yield found
        for inner in node.values():
            yield from _references(inner)
    elif isinstance(node, list):
        for inner in node:
            yield from _references(inner)
