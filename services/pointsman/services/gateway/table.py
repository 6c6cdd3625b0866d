"""The one table of the API's routes: guards, handlers and the OpenAPI document are made from these rows."""

from pointsman.contracts.actor import Role
from pointsman.contracts.balancer import AlgorithmAnswer, AlgorithmRequest
from pointsman.contracts.events import TaskEvent
from pointsman.contracts.explain import Explanation
from pointsman.contracts.server import (
    HeartbeatAnswer,
    HeartbeatRequest,
    MaintenanceAnswer,
    MaintenanceRequest,
    RegisterAnswer,
    Server,
    ServerMetricsAnswer,
    ServerPage,
    ServerQuery,
    ServerRequest,
    UnregisterAnswer,
)
from pointsman.contracts.statistics import (
    HourlyStatistics,
    LoadBalancerStatistics,
    ServerStatistics,
    TaskStatistics,
)
from pointsman.contracts.task import (
    ActAnswer,
    BatchAnswer,
    BatchRequest,
    CancelRequest,
    ExtendAnswer,
    ExtendRequest,
    RetryCommand,
    Task,
    TaskRequest,
    TaskUpdate,
    UpdateAnswer,
)
from pointsman.services.gateway import examples, reports, servers, tasks
from pointsman.services.gateway.all_events import EventQuery, all_events
from pointsman.services.gateway.asking import ask, ask_within, body, identified, nothing, queried
from pointsman.services.gateway.route import KIB, Answer, Id, Proof, Route
from pointsman.services.gateway.task_events import task_events

SUBMIT_BYTES_MAX = 320 * KIB
BATCH_BYTES_MAX = 4096 * KIB
UPDATE_BYTES_MAX = 1126 * KIB
REGISTER_BYTES_MAX = 128 * KIB
TASKS, SERVERS, STATISTICS, LOAD_BALANCER = "Tasks", "Servers", "Statistics", "Load Balancer"

ADMINS = frozenset({Role.ADMIN})
OPERATORS = ADMINS | {Role.OPERATOR}
SUBMITTERS = OPERATORS | {Role.USER}
FLEET_READERS = OPERATORS | {Role.VIEWER}
READERS = FLEET_READERS | {Role.USER}

_STREAM = Answer(
    description="One event per change.",
    body=TaskEvent,
    media_type="text/event-stream",
    example=examples.TASK_EVENT,
)

API: tuple[Route, ...] = (
    Route(
        method="POST",
        path="/api/task",
        name="submitTask",
        tag=TASKS,
        summary="Submit a task",
        roles=SUBMITTERS,
        act=tasks.submit,
        request=TaskRequest,
        body_bytes_max=SUBMIT_BYTES_MAX,
        headers=("Idempotency-Key", "Prefer"),
        answers={
            202: Answer(
                description="Accepted, and safe from now on.",
                body=Task,
                headers=("Location", "ETag", "Idempotency-Replayed", "Preference-Applied"),
                example=examples.PENDING_TASK,
            ),
            200: Answer(
                description="Ended while the client waited.",
                body=Task,
                headers=("Location", "ETag", "Idempotency-Replayed", "Preference-Applied"),
                example=examples.COMPLETED_TASK,
            ),
        },
        errors=(409, 422),
        example=examples.TASK_REQUEST,
    ),
    Route(
        method="POST",
        path="/api/tasks/batch",
        name="submitTasks",
        tag=TASKS,
        summary="Submit up to 1,000 tasks; each succeeds or fails by itself",
        roles=SUBMITTERS,
        act=ask("task", "batch", body),
        request=BatchRequest,
        body_bytes_max=BATCH_BYTES_MAX,
        answers={
            200: Answer(description="One result per task, in order.", body=BatchAnswer, example=examples.BATCH_ANSWER)
        },
        example=examples.BATCH_REQUEST,
    ),
    Route(
        method="GET",
        path="/api/task/{id}",
        name="getTask",
        tag=TASKS,
        summary="Read a task; with `Prefer: wait=n` when it has ended, or after n seconds",
        roles=READERS,
        act=tasks.get,
        id=Id.TASK,
        headers=("If-None-Match", "Prefer"),
        answers={
            200: Answer(
                description="The task.",
                body=Task,
                headers=("ETag", "Preference-Applied"),
                example=examples.COMPLETED_TASK,
            ),
            304: Answer(description="The client has this revision.", headers=("ETag", "Preference-Applied")),
        },
    ),
    Route(
        method="PUT",
        path="/api/task/{id}",
        name="updateTask",
        tag=TASKS,
        summary="Report progress or the outcome of an attempt",
        roles=SUBMITTERS | {Role.SERVICE},
        proof=Proof.ATTEMPT_TOKEN,
        act=ask_within("task", "update", "update"),
        id=Id.TASK,
        query=tasks.TokenQuery,
        request=TaskUpdate,
        body_bytes_max=UPDATE_BYTES_MAX,
        answers={200: Answer(description="Taken.", body=UpdateAnswer, example=examples.UPDATE_ANSWER)},
        errors=(409,),
        example=examples.TASK_UPDATE,
    ),
    Route(
        method="POST",
        path="/api/task/{id}/retry",
        name="retryTask",
        tag=TASKS,
        summary="Run an ended task again, as its next generation",
        roles=SUBMITTERS,
        act=tasks.retry,
        id=Id.TASK,
        request=RetryCommand,
        body_optional=True,
        answers={202: Answer(description="Queued.", body=ActAnswer, example=examples.RETRY_ANSWER)},
        errors=(409,),
        example={},
    ),
    Route(
        method="GET",
        path="/api/task/{id}/explain",
        name="explainTask",
        tag=TASKS,
        summary="Why the task is where it is: first failing gate, place in line, eta, and why each server does not take it",
        roles=READERS,
        act=ask("task", "explain", identified),
        id=Id.TASK,
        answers={200: Answer(description="The explanation.", body=Explanation, example=examples.EXPLANATION)},
    ),
    Route(
        method="GET",
        path="/api/task/{id}/events",
        name="followTask",
        tag=TASKS,
        summary="The life of the task as server-sent events: replayed, then live until it ends",
        roles=READERS,
        act=task_events,
        id=Id.TASK,
        headers=("Last-Event-ID",),
        answers={
            200: Answer(
                description="One event per transition.",
                body=TaskEvent,
                media_type="text/event-stream",
                example=examples.TASK_EVENT,
            ),
            204: Answer(description="The client has seen the end."),
        },
    ),
    Route(
        method="GET",
        path="/api/events",
        name="followEverything",
        tag=TASKS,
        summary="Everything that happens to tasks as server-sent events, from a cursor or from now on",
        roles=FLEET_READERS,
        act=all_events,
        query=EventQuery,
        headers=("Last-Event-ID",),
        answers={
            200: Answer(
                description="One event per change.",
                body=TaskEvent,
                media_type="text/event-stream",
                example=examples.TASK_EVENT,
            )
        },
    ),
    Route(
        method="POST",
        path="/api/task/{id}/cancel",
        name="cancelTask",
        tag=TASKS,
        summary="Cancel a task",
        roles=SUBMITTERS,
        act=tasks.cancel,
        id=Id.TASK,
        request=CancelRequest,
        body_optional=True,
        answers={200: Answer(description="Cancelled.", body=ActAnswer, example=examples.CANCEL_ANSWER)},
        errors=(409,),
        example={"reason": "no longer needed"},
    ),
    Route(
        method="DELETE",
        path="/api/task/{id}",
        name="deleteTask",
        tag=TASKS,
        summary="Cancel a task, without a reason",
        roles=SUBMITTERS,
        act=tasks.cancel,
        id=Id.TASK,
        answers={200: Answer(description="Cancelled.", body=ActAnswer, example=examples.CANCEL_ANSWER)},
        errors=(409,),
    ),
    Route(
        method="POST",
        path="/api/task/{id}/extend",
        name="extendTask",
        tag=TASKS,
        summary="Give a running attempt more time",
        roles=frozenset({Role.SERVICE}),
        proof=Proof.ATTEMPT_TOKEN,
        act=ask_within("task", "extend", "extend"),
        id=Id.TASK,
        query=tasks.TokenQuery,
        request=ExtendRequest,
        answers={
            200: Answer(
                description="The new deadline.",
                body=ExtendAnswer,
                example={"cancel": False, "deadline": examples.LATER_MS},
            )
        },
        errors=(409,),
        example={"seconds": 60},
    ),
    Route(
        method="POST",
        path="/api/servers",
        name="registerServer",
        tag=SERVERS,
        summary="Register a server, or replace its configuration with If-Match",
        roles=ADMINS,
        act=servers.register,
        request=ServerRequest,
        body_bytes_max=REGISTER_BYTES_MAX,
        headers=("If-Match",),
        answers={
            201: Answer(
                description="Registered; the credential and the signing secret are shown this once.",
                body=RegisterAnswer,
                headers=("Location", "ETag"),
                example=examples.REGISTER_ANSWER,
            ),
            200: Answer(
                description="Known already with this configuration, or replaced.",
                body=RegisterAnswer,
                headers=("Location", "ETag"),
                example=examples.KNOWN_ANSWER,
            ),
        },
        errors=(409, 412, 422),
        example=examples.SERVER_REQUEST,
    ),
    Route(
        method="GET",
        path="/api/servers",
        name="listServers",
        tag=SERVERS,
        summary="List servers",
        roles=FLEET_READERS,
        act=ask("registry", "list", queried),
        query=ServerQuery,
        answers={
            200: Answer(
                description="A page of servers.",
                body=ServerPage,
                example={"servers": [examples.SERVER], "cursor": None},
            )
        },
    ),
    Route(
        method="GET",
        path="/api/servers/{id}",
        name="getServer",
        tag=SERVERS,
        summary="Read a server",
        roles=FLEET_READERS,
        act=servers.get,
        id=Id.SERVER,
        answers={200: Answer(description="The server.", body=Server, headers=("ETag",), example=examples.SERVER)},
    ),
    Route(
        method="POST",
        path="/api/servers/{id}/heartbeat",
        name="beatServer",
        tag=SERVERS,
        summary="Tell that a server lives, and how it is",
        roles=ADMINS | {Role.SERVICE},
        proof=Proof.SERVER_CREDENTIAL,
        act=servers.heartbeat,
        id=Id.SERVER,
        request=HeartbeatRequest,
        answers={
            200: Answer(
                description="Heard; what the server should stop.",
                body=HeartbeatAnswer,
                example=examples.HEARTBEAT_ANSWER,
            )
        },
        errors=(409,),
        example=examples.HEARTBEAT,
    ),
    Route(
        method="POST",
        path="/api/servers/{id}/maintenance",
        name="maintainServer",
        tag=SERVERS,
        summary="Turn maintenance on or off",
        roles=OPERATORS,
        act=ask_within("registry", "maintenance", "maintenance"),
        id=Id.SERVER,
        request=MaintenanceRequest,
        answers={
            200: Answer(
                description="Done.",
                body=MaintenanceAnswer,
                example={"success": True, "message": "Maintenance mode enabled for server gpu-1"},
            )
        },
        errors=(409,),
        example={"enabled": True, "reason": "new driver"},
    ),
    Route(
        method="DELETE",
        path="/api/servers/{id}",
        name="unregisterServer",
        tag=SERVERS,
        summary="Unregister a server, with drain=true once its tasks have ended",
        roles=ADMINS,
        act=servers.unregister,
        id=Id.SERVER,
        query=servers.DrainQuery,
        answers={
            200: Answer(
                description="Gone.",
                body=UnregisterAnswer,
                example={"serverId": "gpu-1", "message": "Server unregistered"},
            ),
            202: Answer(
                description="Draining, then gone.",
                body=UnregisterAnswer,
                example={"serverId": "gpu-1", "message": "Server is draining"},
            ),
        },
        errors=(409,),
    ),
    Route(
        method="GET",
        path="/api/servers/{id}/metrics",
        name="getServerMetrics",
        tag=SERVERS,
        summary="Measurements of a server",
        roles=FLEET_READERS,
        act=servers.metrics,
        id=Id.SERVER,
        query=servers.WindowQuery,
        answers={200: Answer(description="Its metrics.", body=ServerMetricsAnswer, example=examples.SERVER_METRICS)},
    ),
    Route(
        method="GET",
        path="/api/stats/tasks",
        name="getTaskStatistics",
        tag=STATISTICS,
        summary="Counts and times of a day or a range",
        roles=READERS,
        act=ask("statistics", "tasks", reports.period),
        query=reports.RangeQuery,
        answers={200: Answer(description="The figures.", body=TaskStatistics, example=examples.TASK_STATISTICS)},
    ),
    Route(
        method="GET",
        path="/api/stats/hourly",
        name="getHourlyStatistics",
        tag=STATISTICS,
        summary="A day in 24 hours",
        roles=READERS,
        act=ask("statistics", "hourly", reports.period),
        query=reports.DateQuery,
        answers={200: Answer(description="24 entries.", body=HourlyStatistics, example=examples.HOURLY_STATISTICS)},
    ),
    Route(
        method="GET",
        path="/api/stats/servers/{id}",
        name="getServerStatistics",
        tag=STATISTICS,
        summary="Counts and times of one server",
        roles=READERS,
        act=ask("statistics", "servers", reports.period),
        id=Id.SERVER,
        query=reports.DateQuery,
        answers={200: Answer(description="The figures.", body=ServerStatistics, example=examples.SERVER_STATISTICS)},
    ),
    Route(
        method="GET",
        path="/api/stats/load-balancer",
        name="getLoadBalancer",
        tag=LOAD_BALANCER,
        summary="How load is spread now",
        roles=READERS,
        act=ask("statistics", "load-balancer", nothing),
        answers={
            200: Answer(description="The distribution.", body=LoadBalancerStatistics, example=examples.LOAD_BALANCER)
        },
    ),
    Route(
        method="POST",
        path="/api/stats/load-balancer/algorithm",
        name="setAlgorithm",
        tag=LOAD_BALANCER,
        summary="Choose the algorithm of a pool",
        roles=OPERATORS,
        act=ask("balancer", "algorithm", body),
        request=AlgorithmRequest,
        answers={200: Answer(description="Chosen.", body=AlgorithmAnswer, example=examples.ALGORITHM_ANSWER)},
        errors=(409,),
        example={"algorithm": "least-connections"},
    ),
)
