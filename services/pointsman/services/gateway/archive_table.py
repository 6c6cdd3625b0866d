"""The rows of the route table that the archive serves: search, acts on many tasks, audit."""

from pointsman.contracts.actor import Role
from pointsman.contracts.search import AuditPage, AuditQuery, BulkRequest, Job, TaskPage, TaskQuery
from pointsman.services.gateway import examples, searching
from pointsman.services.gateway.asking import ask, queried
from pointsman.services.gateway.route import KIB, Answer, Id, Route

STEERERS = frozenset({Role.ADMIN, Role.OPERATOR})
READERS = STEERERS | {Role.VIEWER, Role.USER}
BULK_BYTES_MAX = 128 * KIB
TASKS, AUDIT = "Tasks", "Audit"

JOB = {
    "id": "job_0123456789abcdef",
    "kind": "retry",
    "status": "RUNNING",
    "total": 1_204,
    "filter": {"status": "FAILED", "since": "1h"},
    "by": "alice",
    "startedAt": examples.CREATED_MS,
    "updatedAt": examples.CREATED_MS,
    "done": 0,
    "succeeded": 0,
    "skipped": 0,
    "failed": 0,
    "errors": [],
    "skips": [],
}
BULK = {"filter": {"status": "FAILED", "since": "1h"}, "dryRun": True}
PAGE = {
    "tasks": [examples.COMPLETED_TASK | {"result": None}],
    "cursor": None,
    "total": 1,
    "totalIsEstimate": False,
    "archivedUntil": examples.CREATED_MS,
    "asOf": examples.LATER_MS,
}
ENTRIES = {
    "entries": [
        {
            "id": "5f2c8e1ab0d4c7e9",
            "at": examples.CREATED_MS,
            "who": "alice",
            "roles": ["operator"],
            "what": "registry.maintenance",
            "target": "gpu-1",
            "outcome": "done",
            "status": 200,
            "requestId": "5f2c8e1ab0d4-1",
            "detail": "",
            "before": {"state": "ACTIVE"},
            "after": {"state": "MAINTENANCE"},
        }
    ],
    "cursor": None,
    "asOf": examples.LATER_MS,
}


def _bulk(kind: str, name: str, summary: str) -> Route:
    return Route(
        method="POST",
        path=f"/api/tasks/{kind}",
        name=name,
        tag=TASKS,
        summary=summary,
        roles=STEERERS,
        act=searching.bulk(kind),
        request=BulkRequest,
        body_bytes_max=BULK_BYTES_MAX,
        headers=("Idempotency-Key",),
        answers={
            200: Answer(description="How many match; nothing was done.", body=Job, example=JOB | {"status": "COUNTED"}),
            202: Answer(description="Begun; follow the job.", body=Job, headers=("Location",), example=JOB),
        },
        errors=(422,),
        example=BULK,
    )


ARCHIVE: tuple[Route, ...] = (
    Route(
        method="GET",
        path="/api/tasks",
        name="searchTasks",
        tag=TASKS,
        summary="Search live and archived tasks, newest first; also by labels.NAME=VALUE and payload.PATH=VALUE",
        roles=READERS,
        act=searching.search,
        query=TaskQuery,
        query_prefixes=searching.OPEN_FILTERS,
        answers={200: Answer(description="A page, without payloads and results.", body=TaskPage, example=PAGE)},
        errors=(422,),
    ),
    _bulk("retry", "retryTasks", "Retry all ended tasks that match, or count them with dryRun"),
    _bulk("cancel", "cancelTasks", "Cancel all open tasks that match, or count them with dryRun"),
    Route(
        method="GET",
        path="/api/jobs/{id}",
        name="getJob",
        tag=TASKS,
        summary="How far an act on many tasks is",
        roles=STEERERS,
        act=searching.job,
        id=Id.JOB,
        answers={200: Answer(description="The job.", body=Job, example=JOB)},
    ),
    Route(
        method="GET",
        path="/api/audit",
        name="searchAudit",
        tag=AUDIT,
        summary="Acts of operators and admins, and denied ones, newest first",
        roles=STEERERS,
        act=ask("history", "audit", queried),
        query=AuditQuery,
        answers={200: Answer(description="A page.", body=AuditPage, example=ENTRIES)},
    ),
)
