"""Every subject, bucket, stream and header name; no subject string is written anywhere else."""

PREFIX = "pointsman"
QUEUE_GROUP = "pointsman"

BUCKET_TASKS = "tasks"
BUCKET_LEASES = "leases"
BUCKET_SERVERS = "servers"
BUCKET_SETTINGS = "settings"
BUCKET_LEADERS = "leaders"
BUCKET_IDEMPOTENCY = "idempotency"
BUCKET_JOBS = "jobs"
BUCKET_ALERTS = "alerts"
STREAM_HISTORY = "HISTORY"
CONSUMER_HISTORY = "history"
STREAM_AUDIT = "AUDIT"
CONSUMER_AUDIT = "audit"
STREAM_WEBHOOKS = "WEBHOOKS"
CONSUMER_WEBHOOKS = "webhooks"
STREAM_FRAMES = "FRAMES"
STREAM_PROBE = "PROBE"

HEADER_OPERATION = "Pointsman-Op"
HEADER_SUB = "Pointsman-Sub"
HEADER_ROLES = "Pointsman-Roles"
HEADER_REQUEST_ID = "Pointsman-Request-Id"
HEADER_ATTEMPT_TOKEN = "Pointsman-Attempt-Token"  # noqa: S105 - a header name
HEADER_REVISION = "Pointsman-Revision"
HEADER_TRACE = "traceparent"
HEADER_TASK_ID = "Pointsman-Task-Id"
HEADER_IDEMPOTENCY_KEY = "Pointsman-Idempotency-Key"
HEADER_REPLAYED = "Pointsman-Replayed"
HEADER_STATUS = "Pointsman-Status"
HEADER_SERVER_CREDENTIAL = "Pointsman-Server-Credential"
HEADER_JOB = "Pointsman-Job"
HEADER_MESSAGE_ID = "Nats-Msg-Id"
HEADER_ERROR_CODE = "Nats-Service-Error-Code"
HEADER_ERROR = "Nats-Service-Error"

VIEW_HEARTBEAT = f"{PREFIX}.view.heartbeat"
VIEW_EXECUTORS = f"{PREFIX}.view.executors"
VIEW_RELEASES = f"{PREFIX}.view.releases"
VIEW_LOAD = f"{PREFIX}.view.load"
VIEW_HEALTH = f"{PREFIX}.view.health"
VIEW_ALARMS = f"{PREFIX}.view.alarms"
VIEW_EVIDENCE = f"{PREFIX}.view.evidence"
VIEW_FRAME = f"{PREFIX}.view.frame"
VIEW_KEYFRAME = f"{PREFIX}.view.keyframe"
VIEW_VIEWER = f"{PREFIX}.view.viewer"
VIEW_FLOW = f"{PREFIX}.view.flow"
PROBE = f"{PREFIX}.probe"


def verb(service: str, name: str) -> str:
    """The request subject of a service's verb, e.g. `pointsman.task.create`."""
    return f"{PREFIX}.{service}.{name}"


def audit_subject(what: str) -> str:
    """Where the entry of an act goes, e.g. `pointsman.audit.registry.register`."""
    return f"{PREFIX}.audit.{what}"


REPEATABLE = frozenset(
    verb(service, name)
    for service, names in {
        "task": ("get", "explain"),
        "registry": ("get", "list", "heartbeat", "metrics"),
        "balancer": (
            "status",
            "explain",
            *(f"{kind}.list" for kind in ("pool", "limit", "type")),
            "pool.get",
            "pool.plan",
            "type.get",
        ),
        "history": ("get", "status", "job"),
        "statistics": (
            *("tasks", "hourly", "types", "fleet", "servers", "load-balancer", "window"),
            *("frame", "alerts"),
        ),
    }.items()
    for name in names
)
"""Verbs that may be asked again after an unknown outcome. So may `task.create` when the caller names the task, and a
report that names its attempt; a cancel or a retry that arrives twice could meet another generation."""


def stream_of(bucket: str) -> str:
    return f"KV_{bucket}"


def key(bucket: str, name: str) -> str:
    return f"$KV.{bucket}.{name}"


def key_name(subject: str) -> str:
    """The key that a KV subject stands for: `$KV.tasks.task_1` -> `task_1`."""
    return subject.split(".", 2)[2]


def view_task(task_id: str) -> str:
    """Republish of the `tasks` bucket: a hint, refetch on a gap."""
    return f"{PREFIX}.view.task.{task_id}"


def view_lease(task_id: str) -> str:
    """Republish of the `leases` bucket: a hint, refetch on a gap."""
    return f"{PREFIX}.view.lease.{task_id}"


def view_of_both(task_id: str) -> str:
    """What is republished of one task, its record and its lease."""
    return f"{PREFIX}.view.*.{task_id}"


def is_view_of_lease(subject: str) -> bool:
    return subject.startswith(f"{PREFIX}.view.lease.")


def webhook(host: str) -> str:
    """Where completions wait for their delivery, by receiving host."""
    return f"{PREFIX}.webhook.{host}"


def execute(executor: str) -> str:
    """Where the leader hands attempts to one executor."""
    return f"{PREFIX}.executor.{executor}.execute"


def abort(executor: str) -> str:
    """Where the leader tells one executor to end an attempt's call."""
    return f"{PREFIX}.executor.{executor}.abort"


def token(name: str) -> str:
    """A server or pool id as one subject token: `.` is not allowed inside a token, `=` is not allowed in ids."""
    return name.replace(".", "=")


def from_token(value: str) -> str:
    return value.replace("=", ".")


def hex_token(text: str) -> str:
    """Any text as one subject token."""
    return text.encode().hex()


def from_hex_token(value: str) -> str:
    return bytes.fromhex(value).decode()
