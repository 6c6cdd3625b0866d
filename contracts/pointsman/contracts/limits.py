"""What operators set while the system runs: pools, declared task types, and limits per pool, type or concurrency key."""

from enum import StrEnum

import msgspec

from pointsman.contracts.balancer import Algorithm
from pointsman.contracts.base import NULL, Record
from pointsman.contracts.record import RetryPolicy

CHANGES_KEPT_MAX = 10
EVERY_KEY = "*"
"""The concurrency key whose limit holds for each key that has none of its own."""
RETRY_PERCENT_DEFAULT = 20
RETRIES_PER_S_DEFAULT = 3


class Rate(Record):
    """A token bucket: `per_second` tokens (> 0) flow in, at most `burst` (>= 1) are kept."""

    per_second: float
    burst: int = 1


class Limit(Record):
    """What is None does not bound. `max_concurrent` 0 stops the line."""

    max_concurrent: int | None = None
    rate: Rate | None = None


class Kind(StrEnum):
    """What has settings, and so a limit."""

    POOL = "pool"
    TYPE = "type"
    KEY = "key"


class Change(Record):
    """Who changed the settings, when (ms since the epoch), and what they were before: what undo goes back to.

    `before` is null when there were none.
    """

    at: int
    by: str
    before: msgspec.Raw = NULL


class Affinity(StrEnum):
    """Whether a task with an affinity key may go elsewhere while its own server is full."""

    PREFER = "prefer"
    REQUIRE = "require"


class PoolSettings(Record):
    """Key `pool.<token of the pool>` of `settings`.

    `shares` weighs fairness keys (1 for those not named). Retries may take `retry_percent` of what runs plus
    `retries_per_s`. `max_backlog` bounds the tasks that wait in the pool, `max_backlog_per_owner` those of one owner.
    """

    algorithm: Algorithm = Algorithm.RESPONSE_TIME
    affinity: Affinity = Affinity.PREFER
    limit: Limit = Limit()
    shares: dict[str, int] = {}
    retry_percent: int = RETRY_PERCENT_DEFAULT
    retries_per_s: float = RETRIES_PER_S_DEFAULT
    max_backlog: int | None = None
    max_backlog_per_owner: int | None = None
    removed: bool = False
    updated_at: int = 0
    by: str = ""
    changes: tuple[Change, ...] = ()


class TypeSettings(Record):
    """Key `type.<token of the type>` of `settings`: a declared task type, with the defaults of its tasks.

    `schema` is a JSON Schema for the payload.
    """

    type: str
    pool: str | None = None
    priority: int | None = None
    capabilities: tuple[str, ...] = ()
    timeout_ms: int | None = None
    deadline_ms: int | None = None
    max_attempts: int | None = None
    retry: RetryPolicy | None = None
    limit: Limit = Limit()
    schema: msgspec.Raw = NULL
    removed: bool = False
    updated_at: int = 0
    by: str = ""
    changes: tuple[Change, ...] = ()


class KeySettings(Record):
    """Key `key.<hex of the UTF-8 of the key>` of `settings`: the limit of one concurrency key."""

    key: str
    limit: Limit = Limit()
    removed: bool = False
    updated_at: int = 0
    by: str = ""
    changes: tuple[Change, ...] = ()


type Settings = PoolSettings | TypeSettings | KeySettings


def in_force[S: PoolSettings | TypeSettings | KeySettings](stored: S | None) -> S | None:
    return None if stored is None or stored.removed else stored
