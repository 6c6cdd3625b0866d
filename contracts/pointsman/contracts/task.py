"""The task as clients see it: requests, answers and limits of `POST /api/task` and its relatives."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta, field

from pointsman.contracts.base import NULL, Message, Request
from pointsman.contracts.lifecycle import Status

PAYLOAD_BYTES_MAX = 256 * 1024
RESULT_BYTES_MAX = 1024 * 1024
BATCH_TASKS_MAX = 1000
ATTEMPTS_MAX = 100
ATTEMPTS_KEPT_MAX = 20
REFUSED_KEPT_MAX = 5
DAY_MS = 86_400_000
DEADLINE_MS_DEFAULT = DAY_MS
DEADLINE_MS_MAX = 365 * DAY_MS
TIMEOUT_MS_DEFAULT = 300_000
TIMEOUT_MS_MAX = DAY_MS
ATTEMPTS_DEFAULT = 4
WAIT_S_MAX = 30
REASON_LENGTH_MAX = 256
EPOCH_MS_MAX = 253_402_300_799_000

TaskType = Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$(?!\n)")]
Name = Annotated[str, Meta(pattern=r"^[A-Za-z0-9._-]{1,64}$(?!\n)")]
Key = Annotated[str, Meta(min_length=1, max_length=128)]
Label = Annotated[str, Meta(max_length=256)]
Percent = Annotated[float, Meta(ge=0, le=100)]
Reason = Annotated[str, Meta(max_length=REASON_LENGTH_MAX)]
Generation = Annotated[int, Meta(ge=1)]
EpochMs = Annotated[int, Meta(ge=0, le=EPOCH_MS_MAX)]


class RetryRequest(Request):
    """Either a preset or its parts; what is left out keeps the default of `RetryPolicy`."""

    preset: Literal["fast", "standard", "patient"] | None = None
    base_ms: Annotated[int, Meta(ge=1, le=DAY_MS)] | None = None
    max_ms: Annotated[int, Meta(ge=1, le=DAY_MS)] | None = None
    factor: Annotated[float, Meta(ge=1, le=10)] | None = None
    jitter: Annotated[float, Meta(ge=0, le=1)] | None = None


class TaskRequest(Request):
    """Times in ms since the epoch, durations in ms. `payload` is kept as the bytes the client sent.

    What is left out takes the default that its type was declared with, else that of Pointsman (priority 0).
    """

    type: TaskType
    payload: msgspec.Raw = msgspec.Raw(b"{}")
    priority: Annotated[int, Meta(ge=0, le=10)] | None = None
    capabilities: Annotated[tuple[Name, ...], Meta(max_length=32)] = ()
    is_async: bool = field(name="async", default=True)
    pool: Name | None = None
    labels: Annotated[dict[Key, Label], Meta(max_length=32)] = {}
    run_at: EpochMs | None = None
    delay_ms: Annotated[int, Meta(ge=0, le=DEADLINE_MS_MAX)] | None = None
    deadline_ms: Annotated[int, Meta(ge=1, le=DEADLINE_MS_MAX)] | None = None
    timeout_ms: Annotated[int, Meta(ge=1, le=TIMEOUT_MS_MAX)] | None = None
    max_attempts: Annotated[int, Meta(ge=1, le=ATTEMPTS_MAX)] | None = None
    retry: RetryRequest | None = None
    fairness_key: Key | None = None
    concurrency_key: Key | None = None
    affinity_key: Key | None = None
    callback_url: Annotated[str, Meta(max_length=2048)] | None = None


class BatchRequest(Request):
    """Items are decoded one by one, so that one bad item does not refuse the others."""

    tasks: Annotated[tuple[msgspec.Raw, ...], Meta(min_length=1, max_length=BATCH_TASKS_MAX)]


class BatchItem(Message, omit_defaults=True):
    id: str | None = None
    status: Status | None = None
    error: str | None = None
    code: int | None = None


class BatchAnswer(Message):
    results: tuple[BatchItem, ...]


class TaskUpdate(Request):
    """What a backend or operator says of a running task (`PUT /api/task/{id}`)."""

    status: Literal["PROCESSING", "COMPLETED", "FAILED"]
    result: msgspec.Raw = NULL
    progress: Percent | None = None
    error: str | None = None
    message: str | None = None
    code: str | int | None = None
    metadata: msgspec.Raw = NULL
    final: bool = False


class UpdateAnswer(Message):
    id: str
    status: Status
    updated_at: int
    message: str
    cancel: bool
    deadline: int | None


class CancelRequest(Request):
    """`generation`: only if the task is still in this one, else 412."""

    reason: Reason | None = None
    generation: Generation | None = None


class RetryCommand(Request):
    """`generation`: only if the task is still in this one, else 412; once more by the same request does no harm."""

    generation: Generation | None = None


class ExtendRequest(Request):
    seconds: Annotated[float, Meta(gt=0, le=86_400)]
    progress: Percent | None = None


class ExtendAnswer(Message):
    cancel: bool
    deadline: int


class ActAnswer(Message):
    """The answer to retry and cancel."""

    id: str
    status: Status
    success: bool
    message: str


class Choice(Message, omit_defaults=True):
    """How a server was chosen: by which algorithm, among how many that had a free slot, and whom a retry avoided."""

    algorithm: str
    among: int
    avoided: str | None = None


class RefusedAnswer(Message, omit_defaults=True):
    """What a server said of an attempt that was over when it came: refused, and kept as evidence."""

    number: int
    server_id: str
    at: int
    outcome: str
    error: str | None = None


class AttemptView(Message):
    """One attempt; `outcome` is None while it runs, else succeeded, failed, timed-out, lost or cancelled.

    `due_at` is when a retry could have started, `choice` how its server was chosen.
    """

    number: int
    server_id: str
    started_at: int
    finished_at: int | None = None
    outcome: str | None = None
    http_status: int | None = None
    error: str | None = None
    due_at: int | None = None
    choice: Choice | None = None


class Task(Message):
    """The answer of `GET /api/task/{id}`; times in ms since the epoch, `attempt` is the current or last number."""

    id: str
    type: str
    status: Status
    priority: int
    progress: float | None
    server_id: str | None
    result: msgspec.Raw
    error: str | None
    error_code: str | None
    created_at: int
    updated_at: int
    started_at: int | None
    finished_at: int | None
    run_at: int | None
    deadline: int | None
    owner: str
    pool: str
    labels: dict[str, str]
    generation: int
    attempts: tuple[AttemptView, ...]
    attempt: int
    waiting_for: str | None
    capabilities: tuple[str, ...]
    max_attempts: int
    timeout_ms: int
    metadata: msgspec.Raw = NULL
    payload: msgspec.Raw = NULL
    refused: tuple[RefusedAnswer, ...] = ()
