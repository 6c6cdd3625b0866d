"""The fleet: what is registered, what the operator wants, what the health machine sees, what clients read."""

from enum import StrEnum
from typing import Annotated

from msgspec import Meta, field

from pointsman.contracts.base import Message, Record, Request
from pointsman.contracts.record import POOL_DEFAULT
from pointsman.contracts.task import DAY_MS, Key, Label, Name, Reason

Url = Annotated[str, Meta(min_length=1, max_length=2048)]
Pem = Annotated[str, Meta(min_length=1, max_length=16_384)]
SEQUENCE_MAX = 2**63 - 1
Names = Annotated[tuple[Name, ...], Meta(max_length=64)]


class Endpoints(Request):
    predict: Url
    health: Url | None = None
    metrics: Url | None = None


class Tls(Request):
    """How an https server is called; everything in PEM. Kept with the secrets, never shown.

    `ca`: trust these authorities instead of the system's. `client_cert` (the leaf first) and `client_key` (not
    encrypted): who we are. `server_name`: the name in the server's certificate, if it is not the URL's host.
    """

    ca: Pem | None = None
    client_cert: Pem | None = None
    client_key: Pem | None = None
    server_name: Annotated[str, Meta(min_length=1, max_length=253)] | None = None


class ServerRequest(Request):
    """`POST /api/servers`; either `endpoints` or `url` (then predict is `url`/predict, health `url`/health)."""

    id: Name | None = None
    name: Annotated[str, Meta(max_length=128)] | None = None
    endpoints: Endpoints | None = None
    url: Url | None = None
    is_async: bool = field(name="async", default=True)
    api_key: Annotated[str, Meta(max_length=4096)] | None = None
    max_concurrent: Annotated[int, Meta(ge=1, le=10_000)] = 10
    capabilities: Names = ()
    groups: Names = ()
    priority: Annotated[int, Meta(ge=0, le=10)] = 1
    weight: Annotated[int, Meta(ge=1, le=1000)] = 1
    pool: Name = POOL_DEFAULT
    labels: Annotated[dict[Key, Label], Meta(max_length=32)] = {}
    version: Annotated[str, Meta(max_length=64)] | None = None
    cancel: bool = False
    cancel_on_disconnect: bool = False
    tls: Tls | None = None


class ServerConfig(Record):
    """Key `config.<id>` of `servers`: what the operator set, without secrets; `by` set it last."""

    id: str
    name: str
    predict: str
    health: str
    registered_at: int
    metrics: str | None = None
    is_async: bool = field(name="async", default=True)
    max_concurrent: int = 10
    capabilities: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    priority: int = 1
    weight: int = 1
    pool: str = POOL_DEFAULT
    labels: dict[str, str] = {}
    version: str | None = None
    cancel: bool = False
    cancel_on_disconnect: bool = False
    by: str = ""


class ServerSecret(Record):
    """Key `secret.<id>` of `servers`: never leaves the services. The credential is stored as a SHA-256.

    After a rotation requests are signed with `previous_secret` too until `previous_until` (ms since the epoch).
    As long the credential of `previous_hash` is taken too.
    """

    api_key: str | None
    credential_hash: str
    signing_secret: str
    previous_secret: str | None = None
    previous_until: int = 0
    tls: Tls | None = None
    previous_hash: str | None = None


class Wanted(StrEnum):
    """The operator's axis."""

    ACTIVE = "ACTIVE"
    DRAINING = "DRAINING"
    MAINTENANCE = "MAINTENANCE"
    REMOVED = "REMOVED"


class ServerAdmin(Record):
    """Key `admin.<id>` of `servers`; `until` is when a drain gives the rest back, in ms since the epoch.

    `declared`: the server took itself out in a heartbeat, and may come back by itself. `remove`: gone once drained.
    """

    wanted: Wanted = Wanted.ACTIVE
    since: int = 0
    reason: str | None = None
    until: int | None = None
    by: str = ""
    remove: bool = False
    declared: bool = False


class HealthState(StrEnum):
    """The operational axis; BALANCING.md §3."""

    NEW = "NEW"
    WARMING = "WARMING"
    HEALTHY = "HEALTHY"
    SUSPECT = "SUSPECT"
    UNHEALTHY = "UNHEALTHY"
    RECOVERING = "RECOVERING"


class Cause(StrEnum):
    """The evidence that last took a server out. Faults, outlier and stalled are what tasks tell; only these are limited."""

    PROBES = "probes"
    HEARTBEATS = "heartbeats"
    FAULTS = "faults"
    OUTLIER = "outlier"
    STALLED = "stalled"


class ServerHealth(Record):
    """Key `health.<id>` of `servers`: written by the prober when the state changes. Times in ms since the epoch.

    `active_tasks` is what the server said of itself in its health answer; told with each check, never stored.
    `ejections` doubles the time out, which ends at `ejected_until`. `readmitted`: back only because the pool panics.
    """

    state: HealthState = HealthState.NEW
    since: int = 0
    registered_at: int = 0
    last_check: int | None = None
    next_check: int | None = None
    consecutive_failures: int = 0
    consecutive_successes: int = 0
    error: str | None = None
    active_tasks: int | None = None
    score: int = 100
    cause: Cause | None = None
    ejections: int = 0
    ejected_until: int | None = None
    readmitted: bool = False


class Usage(Message, omit_defaults=True):
    cpu: Annotated[float, Meta(ge=0)] | None = None
    memory: Annotated[float, Meta(ge=0)] | None = None
    gpu: Annotated[float, Meta(ge=0)] | None = None


class HeartbeatRequest(Request):
    """`status` is free text, save `draining` and `maintenance`, by which a server takes itself out, as by `ready: false`.

    `seq` counts up from any number within one boot; what is older than the last one of this `boot_id` is refused.
    """

    status: Annotated[str, Meta(max_length=32)] = "healthy"
    active_tasks: Annotated[int, Meta(ge=0, le=1_000_000)] | None = None
    metrics: Usage | None = None
    running: Annotated[tuple[Annotated[str, Meta(max_length=128)], ...], Meta(max_length=10_000)] | None = None
    free_slots: Annotated[int, Meta(ge=0, le=1_000_000)] | None = None
    seq: Annotated[int, Meta(ge=0, le=SEQUENCE_MAX)] | None = None
    boot_id: Annotated[str, Meta(max_length=128)] | None = None
    ready: bool | None = None


class Heartbeat(Message, omit_defaults=True):
    """A heartbeat as it is told to every part that folds it; core message, never stored."""

    server_id: str
    at: int
    status: str
    active_tasks: int | None = None
    seq: int | None = None
    boot_id: str | None = None
    metrics: Usage | None = None
    free_slots: int | None = None
    ready: bool | None = None
    running: tuple[str, ...] | None = None


class HeartbeatAnswer(Message):
    success: bool
    message: str
    drain: bool
    cancel: tuple[str, ...]


class MaintenanceRequest(Request):
    """`maintenance` or `enabled`, one of the two."""

    maintenance: bool | None = None
    enabled: bool | None = None
    reason: Reason | None = None
    drain_timeout_ms: Annotated[int, Meta(ge=0, le=DAY_MS)] | None = None


class ServerPatch(Request):
    """`PATCH /api/servers/{id}`: what is given is changed, the rest stays; with `dryRun` only the plan.

    What runs is not touched: a lower `maxConcurrent` is reached as tasks end.
    """

    weight: Annotated[int, Meta(ge=1, le=1000)] | None = None
    max_concurrent: Annotated[int, Meta(ge=1, le=10_000)] | None = None
    priority: Annotated[int, Meta(ge=0, le=10)] | None = None
    dry_run: bool = False


class Tuning(Message):
    """`weight_share` is the server's part (0-1) of the weights of all that take tasks in its pool, itself included."""

    weight: int
    max_concurrent: int
    priority: int
    weight_share: float


class ServerChanged(Message):
    """What a change did, or would do; `revision` is that of the server afterwards, or now if nothing was done."""

    server_id: str
    dry_run: bool
    revision: int
    pool: str
    running: int
    before: Tuning
    after: Tuning
    warnings: tuple[str, ...]


class RegisterAnswer(Message, omit_defaults=True):
    server_id: str
    message: str
    credential: str | None = None
    signing_secret: str | None = None


class CredentialRequest(Request):
    """For `grace_ms` the old credential and signing secret stay valid; 0: not at all."""

    grace_ms: Annotated[int, Meta(ge=0, le=7 * DAY_MS)] = 3_600_000


class CredentialAnswer(Message):
    """`previous_until` in ms since the epoch."""

    server_id: str
    message: str
    credential: str
    signing_secret: str
    previous_until: int


class MaintenanceAnswer(Message):
    success: bool
    message: str


class UnregisterAnswer(Message):
    server_id: str
    message: str


class HealthView(Message):
    """`error` says what was wrong at the last check, or why the server was taken out."""

    status: str
    state: HealthState
    score: int
    last_heartbeat: int | None
    last_check: int | None
    consecutive_failures: int
    next_check: int | None
    error: str | None = None


class Server(Message):
    """The answer of `GET /api/servers/{id}`; `current_load` is active / effective limit, durations in ms."""

    id: str
    name: str
    status: str
    health: HealthView
    registered_at: int
    last_heartbeat: int | None
    uptime: int
    time_since_last_heartbeat: int | None
    groups: tuple[str, ...]
    priority: int
    weight: int
    capabilities: tuple[str, ...]
    max_concurrent: int
    effective_limit: int
    active_tasks: int
    current_load: float
    version: str | None
    pool: str
    labels: dict[str, str]
    endpoints: dict[str, str]
    is_async: bool = field(name="async")
    wanted: Wanted
    reason: str | None


class ServerPage(Message):
    servers: tuple[Server, ...]
    cursor: str | None


class ServerQuery(Request):
    status: str | None = None
    group: str | None = None
    pool: str | None = None
    limit: Annotated[int, Meta(ge=1, le=200)] = 200
    cursor: str | None = None


class ServerId(Request):
    """The argument of verbs that take one server; `if_match` is the revision that the caller has seen."""

    id: Name
    drain: bool = False
    window: str | None = None
    if_match: Annotated[int, Meta(ge=0)] | None = None


class ServerMetrics(Message):
    """Rates in 0-100, times in ms, `uptime` in ms since registration."""

    tasks_processed: int
    success_count: int
    failure_count: int
    success_rate: float
    average_response_time: float | None
    p50: float | None
    p95: float | None
    p99: float | None
    active_tasks: int
    current_load: float
    health_score: int
    healthy: bool
    status: str
    max_capacity: int
    capabilities: tuple[str, ...]
    uptime: int


class ServerMetricsAnswer(Message):
    server_id: str
    metrics: ServerMetrics
