"""The task as it is stored: the accepted or terminal record in `tasks`, the working state in `leases`."""

import msgspec
from msgspec import field

from pointsman.contracts.base import NULL, Record
from pointsman.contracts.lifecycle import Status
from pointsman.contracts.task import (
    ATTEMPTS_DEFAULT,
    TIMEOUT_MS_DEFAULT,
    AttemptView,
    Choice,
    RefusedAnswer,
)

POOL_DEFAULT = "default"


class RetryPolicy(Record):
    """Wait before attempt n+1: d = min(maxMs, baseMs * factor^n), drawn from [d * (1 - jitter), d]."""

    base_ms: int = 1_000
    max_ms: int = 3_600_000
    factor: float = 2.0
    jitter: float = 0.5


PRESETS = {
    "fast": RetryPolicy(base_ms=100, max_ms=10_000),
    "standard": RetryPolicy(),
    "patient": RetryPolicy(base_ms=30_000, max_ms=6 * 3_600_000),
}


class TaskNeeds(Record):
    """What scheduling must know of a task; the payload is left out on purpose."""

    type: str
    deadline: int
    priority: int = 0
    capabilities: tuple[str, ...] = ()
    is_async: bool = field(name="async", default=True)
    pool: str = POOL_DEFAULT
    run_at: int | None = None
    timeout_ms: int = TIMEOUT_MS_DEFAULT
    max_attempts: int = ATTEMPTS_DEFAULT
    retry: RetryPolicy = RetryPolicy()
    fairness_key: str | None = None
    concurrency_key: str | None = None
    affinity_key: str | None = None


class TaskSpec(TaskNeeds):
    """All that was submitted, defaults filled in."""

    payload: msgspec.Raw = msgspec.Raw(b"{}")
    labels: dict[str, str] = {}
    callback_url: str | None = None


class Attempt(Record):
    """A finished attempt; `outcome` is one of succeeded, failed, timed-out, lost, cancelled."""

    number: int
    server_id: str
    started_at: int
    finished_at: int
    outcome: str
    http_status: int | None = None
    error: str | None = None
    retry_after_ms: int | None = None
    server_fault: bool = False
    due_at: int | None = None
    choice: Choice | None = None

    def view(self) -> AttemptView:
        return AttemptView(
            number=self.number,
            server_id=self.server_id,
            started_at=self.started_at,
            finished_at=self.finished_at,
            outcome=self.outcome,
            http_status=self.http_status,
            error=self.error,
            due_at=self.due_at,
            choice=self.choice,
        )


class Lingering(Record):
    """An ended attempt that its server may still run: its slot stays held until `until` (ms since the epoch).

    `start_by` is when it has surely reached the server, if it ever does.
    """

    server_id: str
    generation: int
    number: int
    start_by: int
    until: int


class PastGeneration(Record):
    """How an earlier generation ended. It travels with the task, so that the archive learns of it even where a retry
    by hand replaced its last record before that was sourced into HISTORY."""

    generation: int
    status: Status
    finished_at: int
    started_at: int | None = None
    server_id: str | None = None
    error: str | None = None
    error_code: str | None = None
    attempts: tuple[Attempt, ...] = ()


class TaskHead(Record):
    """The part of a task record the scheduler keeps; decoding skips payload and result."""

    id: str
    owner: str
    spec: TaskNeeds
    created_at: int
    status: Status = Status.PENDING
    generation: int = 1
    attempts: tuple[Attempt, ...] = ()
    attempt: int = 0
    lingering: tuple[Lingering, ...] = ()
    updated_at: int = 0


class TaskRecord(Record):
    """Key `<id>` of `tasks`: PENDING from acceptance on, then one terminal record per generation."""

    id: str
    owner: str
    spec: TaskSpec
    created_at: int
    updated_at: int
    status: Status = Status.PENDING
    generation: int = 1
    request_id: str = ""
    trace: str = ""
    started_at: int | None = None
    finished_at: int | None = None
    server_id: str | None = None
    progress: float | None = None
    result: msgspec.Raw = NULL
    error: str | None = None
    error_code: str | None = None
    attempts: tuple[Attempt, ...] = ()
    attempt: int = 0
    metadata: msgspec.Raw = NULL
    lingering: tuple[Lingering, ...] = ()
    past: tuple[PastGeneration, ...] = ()
    refused: tuple[RefusedAnswer, ...] = ()


class CurrentAttempt(Record):
    """The attempt that holds a slot. Times in ms since the epoch; `epoch` is that of the leader that assigned it.

    `due_at` is when a retry was due.
    """

    number: int
    server_id: str
    executor: str
    started_at: int
    start_by: int
    deadline: int
    epoch: int
    accepted: bool = False
    progress: float | None = None
    metadata: msgspec.Raw = NULL
    due_at: int | None = None
    choice: Choice | None = None


class Lease(Record):
    """Key `<id>` of `leases`: attempts so far, and the current one or the time of the next."""

    generation: int = 1
    spent: int = 0
    attempt: int = 0
    attempts: tuple[Attempt, ...] = ()
    current: CurrentAttempt | None = None
    run_at: int | None = None
    waiting_for: str | None = None
    lingering: tuple[Lingering, ...] = ()
    updated_at: int = 0
    refused: tuple[RefusedAnswer, ...] = ()
