"""Pure rules of the task service: what is accepted, what a caller may do, how a task is shown."""

import hashlib

import msgspec

from pointsman.contracts import view
from pointsman.contracts.actor import Actor, Role
from pointsman.contracts.base import is_null
from pointsman.contracts.errors import (
    PointsmanError,
    conflict,
    forbidden,
    invalid,
    not_found,
    precondition_failed,
    too_large,
)
from pointsman.contracts.json_limits import check_object, check_text, check_value, decode
from pointsman.contracts.lifecycle import Status
from pointsman.contracts.record import POOL_DEFAULT, Attempt, RetryPolicy, TaskRecord, TaskSpec
from pointsman.contracts.task import (
    ATTEMPTS_DEFAULT,
    DEADLINE_MS_DEFAULT,
    PAYLOAD_BYTES_MAX,
    RESULT_BYTES_MAX,
    TIMEOUT_MS_DEFAULT,
    Task,
    TaskRequest,
    TaskUpdate,
)
from pointsman.services.runtime.outcomes import Failed, Succeeded
from pointsman.services.runtime.retry_policy import retry_policy
from pointsman.services.runtime.task_store import StoredTask
from pointsman.services.runtime.tokens import AttemptClaims
from pointsman.services.task.types import UNDECLARED, Declared

IDEMPOTENCY_KEY_LENGTH_MAX = 255
METADATA_BYTES_MAX = 16 * 1024
ERROR_TEXT_LENGTH_MAX = 100_000


def accept(
    request: TaskRequest, actor: Actor, *, task_id: str, now: int, declared: Declared = UNDECLARED
) -> TaskRecord:
    """The PENDING record of a request with the defaults of its type, or 400/413 that names the field."""
    payload = check_object(bytes(request.payload), "payload", PAYLOAD_BYTES_MAX)
    if declared.schema is not None:
        declared.schema.check(payload)
    of_type = declared.settings
    for name, value in request.labels.items():
        check_text(name, "labels")
        check_text(value, f"labels.{name}")
    run_at = run_at_of(request, now)
    start = run_at if run_at is not None else now
    spec = TaskSpec(
        type=request.type,
        payload=request.payload,
        priority=request.priority if request.priority is not None else of_type.priority or 0,
        capabilities=tuple(sorted({*request.capabilities, *of_type.capabilities})),
        is_async=request.is_async,
        pool=request.pool or of_type.pool or POOL_DEFAULT,
        labels=request.labels,
        run_at=run_at,
        deadline=start + (request.deadline_ms or of_type.deadline_ms or DEADLINE_MS_DEFAULT),
        timeout_ms=request.timeout_ms or of_type.timeout_ms or TIMEOUT_MS_DEFAULT,
        max_attempts=request.max_attempts or of_type.max_attempts or ATTEMPTS_DEFAULT,
        retry=retry_policy(request.retry) if request.retry is not None else of_type.retry or RetryPolicy(),
        fairness_key=_checked(request.fairness_key, "fairnessKey"),
        concurrency_key=_checked(request.concurrency_key, "concurrencyKey"),
        affinity_key=_checked(request.affinity_key, "affinityKey"),
        callback_url=request.callback_url,
    )
    return TaskRecord(
        id=task_id,
        owner=actor.sub,
        spec=spec,
        created_at=now,
        updated_at=now,
        request_id=actor.request_id,
        trace=actor.trace,
    )


def _checked(text: str | None, field: str) -> str | None:
    if text is not None:
        check_text(text, field)
    return text


def run_at_of(request: TaskRequest, now: int) -> int | None:
    if request.run_at is not None and request.delay_ms is not None:
        raise invalid("delayMs", "not together with runAt")
    if request.delay_ms is not None:
        return now + request.delay_ms
    return request.run_at if request.run_at is not None and request.run_at > now else None


def check_idempotency_key(key: str) -> None:
    if not 1 <= len(key) <= IDEMPOTENCY_KEY_LENGTH_MAX or not all(" " <= char <= "~" for char in key):
        raise invalid("Idempotency-Key", f"1 to {IDEMPOTENCY_KEY_LENGTH_MAX} visible ASCII characters")


def idempotency_name(owner: str, key: str) -> str:
    """Key of the idempotency bucket; scoped to the principal."""
    return hashlib.sha256(f"{owner}\n{key}".encode()).hexdigest()


def request_hash(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def check_visible(actor: Actor, record: TaskRecord) -> None:
    """Another owner's task does not exist for the caller."""
    if not actor.may_see(record.owner):
        raise absent(record.id)


def check_steer(actor: Actor, record: TaskRecord) -> None:
    check_visible(actor, record)
    if not actor.may_steer(record.owner):
        raise forbidden("Operator role required")


def check_generation(seen: int | None, record: TaskRecord) -> None:
    if seen is not None and seen != record.generation:
        raise precondition_failed(
            f"the task is in generation {record.generation}, not {seen}: retried by hand since"
            if record.generation > seen
            else f"the task is in generation {record.generation}, it has never been in {seen}"
        )


def is_retried_by(actor: Actor, seen: int | None, record: TaskRecord) -> bool:
    """Whether the generation that is there was made by this very request, of which the answer was lost."""
    is_next = seen is not None and record.generation == seen + 1
    return is_next and bool(actor.request_id) and record.request_id == actor.request_id


def check_report(actor: Actor, claims: AttemptClaims | None, record: TaskRecord) -> None:
    """Who may say what became of a running task: the attempt itself, a backend, its owner, an operator."""
    if claims is not None:
        if claims.task_id != record.id:
            raise forbidden("the attempt token belongs to another task")
        return
    if not actor.has(Role.SERVICE):
        check_steer(actor, record)


def absent(task_id: str) -> PointsmanError:
    return not_found(f"task {task_id} not found")


def stale(detail: str) -> PointsmanError:
    return conflict(detail, slug="stale-attempt")


def check_update(update: TaskUpdate) -> None:
    if len(bytes(update.result)) > RESULT_BYTES_MAX:
        raise too_large("result", RESULT_BYTES_MAX)
    if not is_null(update.metadata):
        check_object(bytes(update.metadata), "metadata", METADATA_BYTES_MAX)
    for field in ("error", "message", "code"):
        text = getattr(update, field)
        if isinstance(text, str):
            check_text(text, field)
    check_value(decode(bytes(update.result), "result"), "result")


def outcome_of(update: TaskUpdate) -> Succeeded | Failed:
    """The outcome a final update reports."""
    if update.status == "COMPLETED":
        return Succeeded(result=update.result, metadata=update.metadata)
    return Failed(
        error=update.error or update.message or "the backend reported a failure",
        code=str(update.code) if update.code is not None else None,
        final=update.final,
    )


def repeats(record: TaskRecord, update: TaskUpdate) -> bool:
    """Whether a final update says again what the terminal record already holds."""
    match update.status, record.status:
        case "COMPLETED", Status.COMPLETED:
            return _same_json(record.result, update.result)
        case "FAILED", Status.FAILED:
            outcome = outcome_of(update)
            return isinstance(outcome, Failed) and outcome.error[:900] == (record.error or "")[:900]
        case _:
            return False


def repeats_attempt(attempts: tuple[Attempt, ...], number: int, update: TaskUpdate) -> bool:
    """Whether a failure report says again what is recorded of that attempt."""
    return update.status == "FAILED" and any(a.number == number and a.outcome == "failed" for a in attempts)


def _same_json(left: msgspec.Raw, right: msgspec.Raw) -> bool:
    return bool(msgspec.json.decode(left) == msgspec.json.decode(right))


def etag(task: StoredTask) -> str:
    """In the archive a task has no revision any more, and one record per generation."""
    return view.etag(task.revision, task.lease_revision) if task.revision else f"archived-{task.record.generation}"


def show(task: StoredTask, *, with_payload: bool) -> Task:
    return view.show(task.record, task.lease, with_payload=with_payload)
