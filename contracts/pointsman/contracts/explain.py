"""Why a task is where it is: the answer of `GET /api/task/{id}/explain`."""

from enum import StrEnum

from pointsman.contracts.base import Message
from pointsman.contracts.lifecycle import Status


class Gate(StrEnum):
    """What a waiting task waits at, in the order in which the gates are tried."""

    RUN_AT = "run-at"
    BACKOFF = "backoff"
    LEADER = "leader"
    EXECUTOR = "executor"
    TYPE_LIMIT = "type-limit"
    KEY_LIMIT = "key-limit"
    POOL_LIMIT = "pool-limit"
    BLOCKED = "blocked-until"
    RETRY_BUDGET = "retry-budget"
    NO_SERVER = "no-server"
    AFFINITY = "affinity"
    PROBATION = "probation"
    SERVER = "server"
    TURN = "turn"


class ServerRefusal(Message):
    """One candidate server and why it does not take the task now; `reasons` is empty when it could."""

    server_id: str
    reasons: tuple[str, ...]
    active_tasks: int
    effective_limit: int
    estimate_ms: float | None = None


class Explanation(Message):
    """`gate` is the first that fails (None: it runs or has ended). `position` counts from 1 in the order of its line.

    `eta` is when it may start at the present pace, in ms since the epoch (None: cannot be told).
    """

    id: str
    status: Status
    gate: Gate | None
    detail: str
    position: int | None = None
    ahead: int | None = None
    eta: int | None = None
    run_at: int | None = None
    deadline: int | None = None
    pool: str = ""
    servers: tuple[ServerRefusal, ...] = ()
    as_of: int = 0
