"""Requests and answers by which operators read and change the settings of pools, types and limits while all runs."""

from typing import Annotated

import msgspec
from msgspec import UNSET, Meta, UnsetType

from pointsman.contracts.base import NULL, Message, Request
from pointsman.contracts.limits import RETRIES_PER_S_DEFAULT, RETRY_PERCENT_DEFAULT, Affinity
from pointsman.contracts.task import (
    ATTEMPTS_MAX,
    DEADLINE_MS_MAX,
    TIMEOUT_MS_MAX,
    Key,
    Name,
    RetryRequest,
    TaskType,
)

SHARES_MAX = 1_000
SCHEMA_BYTES_MAX = 64 * 1024
SETTINGS_MAX = 1_000

Count = Annotated[int, Meta(ge=0, le=1_000_000)]
Share = Annotated[int, Meta(ge=1, le=1_000)]
Shares = Annotated[dict[Key, Share], Meta(max_length=SHARES_MAX)]
Backlog = Annotated[int, Meta(ge=1, le=100_000_000)]
RetryPercent = Annotated[int, Meta(ge=0, le=1_000)]
RetriesPerS = Annotated[float, Meta(ge=0, le=1_000_000)]
Priority = Annotated[int, Meta(ge=0, le=10)]
Capabilities = Annotated[tuple[Name, ...], Meta(max_length=32)]
DeadlineMs = Annotated[int, Meta(ge=1, le=DEADLINE_MS_MAX)]
TimeoutMs = Annotated[int, Meta(ge=1, le=TIMEOUT_MS_MAX)]
Attempts = Annotated[int, Meta(ge=1, le=ATTEMPTS_MAX)]
Revision = Annotated[int, Meta(ge=0)]


class RateRequest(Request):
    """A token bucket: `perSecond` tokens flow in, at most `burst` are kept."""

    per_second: Annotated[float, Meta(ge=0.001, le=1_000_000)]
    burst: Annotated[int, Meta(ge=1, le=1_000_000)] = 1


class LimitRequest(Request):
    """How many may run at once (0 stops the line) and how often one may start; what is left out does not bound."""

    max_concurrent: Count | None = None
    rate: RateRequest | None = None


class PoolRequest(Request):
    """All settings of a pool; what is left out takes its default. `algorithm` is a string so that a refusal lists them.

    `shares` weighs fairness keys (1 for those not named). Retries may take `retryPercent` of what runs plus `retriesPerS`.
    """

    algorithm: str = "response-time"
    affinity: Affinity = Affinity.PREFER
    limit: LimitRequest = LimitRequest()
    shares: Shares = {}
    retry_percent: RetryPercent = RETRY_PERCENT_DEFAULT
    retries_per_s: RetriesPerS = RETRIES_PER_S_DEFAULT
    max_backlog: Backlog | None = None
    max_backlog_per_owner: Backlog | None = None


class PoolPatch(Request):
    """The named settings of a pool; the others stay. A limit or the shares are replaced as a whole, null removes a bound."""

    algorithm: str | UnsetType = UNSET
    affinity: Affinity | UnsetType = UNSET
    limit: LimitRequest | UnsetType = UNSET
    shares: Shares | UnsetType = UNSET
    retry_percent: RetryPercent | UnsetType = UNSET
    retries_per_s: RetriesPerS | UnsetType = UNSET
    max_backlog: Backlog | UnsetType | None = UNSET
    max_backlog_per_owner: Backlog | UnsetType | None = UNSET


class TypeRequest(Request):
    """A declared task type: defaults of its tasks, its limit, and a JSON Schema that their payloads must satisfy.

    `capabilities` are needed in addition to those of the task. Patterns in `schema` know no look-around; its `$ref` are
    local (`#/...`) and do not recur.
    """

    pool: Name | None = None
    priority: Priority | None = None
    capabilities: Capabilities = ()
    timeout_ms: TimeoutMs | None = None
    deadline_ms: DeadlineMs | None = None
    max_attempts: Attempts | None = None
    retry: RetryRequest | None = None
    limit: LimitRequest = LimitRequest()
    schema: msgspec.Raw = NULL


class PageRequest(Request):
    """`cursor` is the last name of the page before."""

    limit: Annotated[int, Meta(ge=1, le=200)] = 200
    cursor: Annotated[str, Meta(max_length=256)] | None = None


class PoolName(Request):
    pool: Name
    if_match: Revision | None = None


class ReplacePool(Request):
    pool: Name
    settings: PoolRequest
    if_match: Revision | None = None


class ChangePool(Request):
    pool: Name
    settings: PoolPatch
    if_match: Revision | None = None


class PlanPool(Request):
    """What a switch to `algorithm` would mean for the pool; a plain string, so that a refusal can list the names."""

    pool: Name
    algorithm: str


class TypeName(Request):
    type: TaskType
    if_match: Revision | None = None


class DeclareType(Request):
    type: TaskType
    settings: TypeRequest
    if_match: Revision | None = None


class LimitName(Request):
    """`kind` is pool, type or key; a plain string, so that the refusal can list them."""

    kind: str
    name: Key
    if_match: Revision | None = None


class SetLimit(Request):
    kind: str
    name: Key
    limit: LimitRequest
    if_match: Revision | None = None


class RateView(Message):
    per_second: float
    burst: int


class LimitView(Message, omit_defaults=True):
    """What is left out does not bound."""

    max_concurrent: int | None = None
    rate: RateView | None = None


class ChangeView(Message):
    """`before` is what the settings were (what is left out is the default), null when there were none."""

    at: int
    by: str
    before: msgspec.Raw


class PoolView(Message):
    """`revision` 0: nothing was ever set, the defaults hold. `changes` are the last ten, the newest last."""

    pool: str
    algorithm: str
    affinity: Affinity
    limit: LimitView
    shares: dict[str, int]
    retry_percent: int
    retries_per_s: float
    max_backlog: int | None
    max_backlog_per_owner: int | None
    revision: int
    updated_at: int | None
    by: str | None
    changes: tuple[ChangeView, ...]


class PoolPage(Message):
    pools: tuple[PoolView, ...]
    cursor: str | None


class ExpectedShare(Message):
    """The part (0-1) of the pool's tasks that a server gets by the algorithm in force, and by the other."""

    server_id: str
    now: float
    then: float


class PoolPlan(Message):
    """A forecast by simulation: `tasks` arrivals at `perSecond`, the servers as they are now, each with its estimate.

    `moved` is the part (0-1) of the tasks to come that would go to another server; `servers` the up to 50 of
    `serverCount` whose share changes most. `revision` is that of the settings, for the switch to be guarded by.
    """

    pool: str
    algorithm: str
    wanted: str
    revision: int
    updated_at: int | None
    by: str | None
    per_second: float
    pending: int
    running: int
    server_count: int
    moved: float
    servers: tuple[ExpectedShare, ...]
    notes: tuple[str, ...]


class RetryView(Message):
    base_ms: int
    max_ms: int
    factor: float
    jitter: float


class TypeView(Message):
    """A declared type; what is null has no default of its own. `changes` are the last ten, the newest last.

    `declared` is false in the answer to an undo that took the declaration back.
    """

    type: str
    declared: bool
    pool: str | None
    priority: int | None
    capabilities: tuple[str, ...]
    timeout_ms: int | None
    deadline_ms: int | None
    max_attempts: int | None
    retry: RetryView | None
    limit: LimitView
    schema: msgspec.Raw
    revision: int
    updated_at: int
    by: str
    changes: tuple[ChangeView, ...]


class TypePage(Message):
    types: tuple[TypeView, ...]
    cursor: str | None


class LimitEntry(Message, omit_defaults=True):
    """One limit. `inUse` counts the attempts that run under it, as this replica of the balancer knows."""

    kind: str
    name: str
    limit: LimitView
    revision: int
    updated_at: int
    by: str
    in_use: int | None = None
    blocked_until: int | None = None


class LimitPage(Message):
    limits: tuple[LimitEntry, ...]
    cursor: str | None


class Removed(Message):
    message: str
    revision: int
