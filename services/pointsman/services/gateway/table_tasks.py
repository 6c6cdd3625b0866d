"""The routes of tasks."""

from pointsman.contracts.actor import Role
from pointsman.contracts.events import TaskEvent
from pointsman.contracts.explain import Explanation
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
from pointsman.services.gateway import examples, tasks
from pointsman.services.gateway.all_events import EventQuery, all_events
from pointsman.services.gateway.asking import ask, ask_within, body, identified
from pointsman.services.gateway.roles import FLEET_READERS, READERS, SUBMITTERS
from pointsman.services.gateway.route import KIB, Answer, Id, Proof, Route
from pointsman.services.gateway.task_events import task_events

SUBMIT_BYTES_MAX = 320 * KIB
BATCH_BYTES_MAX = 4096 * KIB
UPDATE_BYTES_MAX = 1126 * KIB
TASKS = "Tasks"

TASK_ROUTES: tuple[Route, ...] = (
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
        errors=(409, 412),
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
        errors=(409, 412),
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
)
