"""The OpenAPI 3.1 document, made from the route table and the contracts' structs."""

import re
from collections.abc import Sequence
from functools import cache
from http import HTTPStatus
from operator import is_
from typing import Any, get_args, get_origin

import msgspec

from pointsman.contracts.actor import Role
from pointsman.contracts.base import NULL
from pointsman.contracts.errors import Problem
from pointsman.contracts.limits import Kind
from pointsman.services.gateway.route import Answer, Id, Proof, Route
from pointsman.services.version import VERSION

REF = "#/components/schemas/{name}"
TAGS = {
    "Tasks": "Submit, read, steer and report tasks.",
    "Servers": "The fleet that runs them.",
    "Statistics": "What has been done, and how fast.",
    "Load Balancer": "How tasks are spread over servers.",
    "Settings": "Pools, task types and limits; every change holds within a second, is recorded and can be undone.",
    "Audit": "Who did what.",
    "Alerts": "What needs attention, and all that a cockpit shows.",
    "System": "Liveness, readiness, metrics.",
}
HEADERS: dict[str, tuple[str, str]] = {
    "ETag": ("string", "The revision."),
    "Location": ("string", "Where it can be read."),
    "Retry-After": ("integer", "Seconds to wait."),
    "WWW-Authenticate": ("string", "How to authenticate."),
    "Allow": ("string", "The methods of this path."),
    "X-Request-Id": ("string", "The request's own id, or the one that was sent."),
    "Idempotency-Replayed": ("string", "true when this is the first answer to the same key."),
    "Preference-Applied": ("string", "The preference that was honoured."),
}
REQUEST_HEADERS: dict[str, tuple[dict[str, object], str]] = {
    "Idempotency-Key": (
        {"type": "string", "minLength": 1, "maxLength": 255},
        "Sent again under the same key it is done once: of tasks for 24 hours, of other acts until the next change.",
    ),
    "Prefer": ({"type": "string", "examples": ["wait=10"]}, "`wait=n`: answer when the task has ended, n <= 30 s."),
    "Last-Event-ID": (
        {"type": "string"},
        "The id of the last event that the client has seen: what it missed comes first.",
    ),
    "If-None-Match": ({"type": "string"}, "The ETag that the client has."),
    "If-Match": ({"type": "string"}, "The ETag that the client has seen; needed to replace a configuration."),
}
RAISED_HEADERS = {401: "WWW-Authenticate", 429: "Retry-After", 503: "Retry-After", 405: "Allow"}
_IDS: dict[Id, dict[str, object]] = {
    Id.TASK: {"type": "string", "pattern": "^task_[0-9a-f]{32}$"},
    Id.SERVER: {"type": "string", "pattern": "^[A-Za-z0-9._-]{1,64}$"},
    Id.JOB: {"type": "string", "pattern": "^job_[0-9a-f]{16}$"},
    Id.POOL: {"type": "string", "pattern": "^[A-Za-z0-9._-]{1,64}$"},
    Id.TYPE: {"type": "string", "pattern": "^[a-z0-9][a-z0-9._-]{0,63}$"},
    Id.LIMITED: {"type": "string", "minLength": 1, "maxLength": 128},
}
_ROLES = [role.value for role in Role]


def document(routes: Sequence[Route]) -> bytes:
    """The whole document as JSON."""
    paths: dict[str, dict[str, object]] = {}
    for route in routes:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route)
    return msgspec.json.encode(
        {
            "openapi": "3.1.0",
            "info": {
                "title": "Pointsman",
                "version": VERSION,
                "description": "Submit tasks; Pointsman keeps them safe and runs each on one of your servers.",
                "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
            },
            "servers": [{"url": "/"}],
            "tags": [{"name": name, "description": text} for name, text in TAGS.items()],
            "paths": paths,
            "components": {"schemas": _schemas(routes), "securitySchemes": _security_schemes()},
        }
    )


def statuses(route: Route) -> list[int]:
    """Every status that a route can answer."""
    found = {*route.answers, *route.errors, 400, 405, 500, 503}
    if not route.public:
        found |= {401, 403, 429}
    if route.id is not None:
        found.add(404)
    if route.request is not None:
        found |= {408, 413, 415}
    return sorted(found)


def _operation(route: Route) -> dict[str, object]:
    operation: dict[str, object] = {
        "operationId": route.name,
        "tags": [route.tag],
        "summary": route.summary,
        "security": _security(route),
        "responses": {str(status): _response(route, status) for status in statuses(route)},
    }
    if roles := sorted(route.roles):
        operation["description"] = f"Roles: {', '.join(roles)}."
        operation["x-roles"] = roles
    if parameters := _parameters(route):
        operation["parameters"] = parameters
    if route.request is not None:
        operation["requestBody"] = {
            "required": not route.body_optional,
            "content": {"application/json": _content(route.request, route.example)},
        }
    return operation


def _response(route: Route, status: int) -> dict[str, object]:
    answer = route.answers.get(status)
    names = [*(answer.headers if answer else ()), "X-Request-Id"]
    if (name := RAISED_HEADERS.get(status)) and name not in names:
        names.append(name)
    response: dict[str, object] = {
        "description": answer.description if answer else HTTPStatus(status).phrase,
        "headers": {name: _header(name) for name in names},
    }
    if content := _contents(answer, status):
        response["content"] = content
    return response


def _contents(answer: Answer | None, status: int) -> dict[str, object]:
    if answer is None:
        return {"application/problem+json": _content(Problem, _problem_example(status))}
    if answer.body is None:
        return {}
    kind = "application/problem+json" if issubclass(answer.body, Problem) else answer.media_type
    return {kind: _content(answer.body, answer.example)}


def _content(struct: type[msgspec.Struct], example: object) -> dict[str, object]:
    content: dict[str, object] = {"schema": {"$ref": REF.format(name=struct.__name__)}}
    return content if example is None else content | {"example": example}


def _problem_example(status: int) -> dict[str, object]:
    phrase = HTTPStatus(status).phrase
    return {
        "type": f"urn:pointsman:error:{phrase.lower().replace(' ', '-')}",
        "title": phrase,
        "status": status,
        "detail": phrase,
        "error": phrase,
        "requestId": "5f2c8e1ab0d4-1",
    }


def _header(name: str) -> dict[str, object]:
    kind, text = HEADERS[name]
    return {"description": text, "schema": {"type": kind}}


def _parameters(route: Route) -> list[dict[str, object]]:
    found: list[dict[str, object]] = []
    if route.id is not None:
        found.append({"name": "id", "in": "path", "required": True, "schema": _IDS[route.id]})
    if "{kind}" in route.path:
        kinds = {"type": "string", "enum": [kind.value for kind in Kind]}
        found.append({"name": "kind", "in": "path", "required": True, "schema": kinds})
    for name in route.headers:
        header_schema, text = REQUEST_HEADERS[name]
        found.append({"name": name, "in": "header", "description": text, "schema": header_schema})
    if route.query is not None:
        found += [
            {"name": name, "in": "query", "required": False, "schema": schema}
            for name, schema in _properties(route.query).items()
        ]
    return found


def _properties(query: type[msgspec.Struct]) -> dict[str, object]:
    _, components = msgspec.json.schema_components([query], ref_template=REF)
    properties: dict[str, object] = components[query.__name__]["properties"]
    return {name: _without_null(schema) for name, schema in properties.items()}


def _without_null(schema: object) -> object:
    """A query parameter is left out rather than null."""
    if not isinstance(schema, dict) or "anyOf" not in schema:
        return schema
    options = [option for option in schema["anyOf"] if option != {"type": "null"}]
    return options[0] if len(options) == 1 else {"anyOf": options}


def _security(route: Route) -> list[dict[str, list[str]]]:
    if route.public:
        return []
    ways: list[dict[str, list[str]]] = [{"bearer": []}]
    match route.proof:
        case Proof.ATTEMPT_TOKEN:
            ways += [{"attemptTokenQuery": []}, {"attemptTokenHeader": []}]
        case Proof.SERVER_CREDENTIAL:
            ways.append({"serverCredential": []})
        case None:
            pass
    return ways


def _security_schemes() -> dict[str, object]:
    roles = ", ".join(_ROLES)
    return {
        "bearer": {
            "type": "http",
            "scheme": "bearer",
            "bearerFormat": "JWT",
            "description": f"HS256; exp, iat and sub required; the claim `roles` is a list of {roles}.",
        },
        "attemptTokenQuery": {
            "type": "apiKey",
            "in": "query",
            "name": "token",
            "description": "The token of one attempt, as the callback URL carries it.",
        },
        "attemptTokenHeader": {"type": "apiKey", "in": "header", "name": "X-Pointsman-Attempt-Token"},
        "serverCredential": {
            "type": "http",
            "scheme": "bearer",
            "description": "The credential shown once when the server was registered.",
        },
    }


def _schemas(routes: Sequence[Route]) -> dict[str, object]:
    structs: dict[type[msgspec.Struct], None] = {Problem: None}
    for route in routes:
        bodies = [route.request, *(answer.body for answer in route.answers.values())]
        structs.update({body: None for body in bodies if body is not None})
    _, components = msgspec.json.schema_components([_describable(struct) for struct in structs], ref_template=REF)
    _refine(components)
    return {_safe(name): schema for name, schema in components.items()}


@cache
def _describable(struct: type[msgspec.Struct]) -> type[msgspec.Struct]:
    """The struct, or its twin with objects in place of raw JSON that has a default: msgspec cannot describe that."""
    fields = msgspec.structs.fields(struct)
    if not any(isinstance(field.default, msgspec.Raw) or _twin(field.type) is not field.type for field in fields):
        return struct
    return msgspec.defstruct(
        struct.__name__,
        [(field.name, *_described(field)) for field in fields],
        namespace={"__doc__": struct.__doc__},
        kw_only=True,
        forbid_unknown_fields=struct.__struct_config__.forbid_unknown_fields,
    )


def _twin(annotation: Any) -> Any:
    """The same annotation with describable structs as the members of its tuples."""
    if isinstance(annotation, type) and issubclass(annotation, msgspec.Struct):
        return _describable(annotation)
    if get_origin(annotation) is not tuple:
        return annotation
    members = get_args(annotation)
    twins = tuple(_twin(member) for member in members)
    return annotation if all(map(is_, twins, members)) else tuple[twins]  # type: ignore[valid-type]


def _described(field: msgspec.structs.FieldInfo) -> tuple[Any, object]:
    if isinstance(field.default, msgspec.Raw):
        return _described_raw(field)
    kind = _twin(field.type)
    if field.default is not msgspec.NODEFAULT:
        return kind, msgspec.field(name=field.encode_name, default=field.default)
    if field.default_factory is not msgspec.NODEFAULT:
        return kind, msgspec.field(name=field.encode_name, default_factory=field.default_factory)
    return kind, msgspec.field(name=field.encode_name)


def _described_raw(field: msgspec.structs.FieldInfo) -> tuple[Any, object]:
    """A result is any JSON, everything else an object; null where null is the default."""
    if field.default != NULL:
        return dict[str, Any], msgspec.field(name=field.encode_name, default_factory=dict)
    kind = Any if field.name == "result" else dict[str, Any] | None
    return kind, msgspec.field(name=field.encode_name, default=None)


def _refine(components: dict[str, dict[str, dict[str, object]]]) -> None:
    """What the structs leave open because they hand bytes on: batch items are tasks."""
    tasks = components["BatchRequest"]["properties"]["tasks"]
    assert isinstance(tasks, dict)
    tasks["items"] = {"$ref": REF.format(name="TaskRequest")}


def _safe(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]", "_", name)
