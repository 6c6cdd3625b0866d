"""Algorithms, pool settings and what the leader tells of itself."""

from enum import StrEnum

from pointsman.contracts.base import Message, Request
from pointsman.contracts.record import POOL_DEFAULT
from pointsman.contracts.task import Name


class Algorithm(StrEnum):
    ROUND_ROBIN = "round-robin"
    WEIGHTED_ROUND_ROBIN = "weighted-round-robin"
    LEAST_CONNECTIONS = "least-connections"
    WEIGHTED_LEAST_CONNECTIONS = "weighted-least-connections"
    RESPONSE_TIME = "response-time"
    P2C = "p2c"
    FIRST = "first"
    CONSISTENT_HASH = "consistent-hash"
    RANDOM = "random"


ALIASES = {"fastest-free": Algorithm.RESPONSE_TIME}
ALGORITHM_NAMES = (*Algorithm, *ALIASES)


class AlgorithmRequest(Request):
    """`algorithm` is a plain string, so that the refusal can list the names."""

    algorithm: str
    pool: Name = POOL_DEFAULT


class AlgorithmAnswer(Message):
    message: str
    algorithm: str


class ServerLoad(Message):
    """`load` is active / effective limit in 0-1."""

    load: float
    active_tasks: int
    weight: int
    effective_limit: int
    healthy: bool
    pool: str
    estimate_ms: float | None = None


class PoolStatus(Message):
    algorithm: str
    servers: int
    eligible: int
    pending: int
    active_tasks: int
    slots: int
    starts_per_s: float = 0.0


class ClassStatus(Message):
    """Waiting tasks that need the same: `servers` match, of which `free` could take one now."""

    pool: str
    capabilities: tuple[str, ...]
    pending: int
    servers: int
    free: int


class GateStatus(Message):
    """A limit in force, or a key that a server sent away until `blocked_until` (ms since the epoch)."""

    scope: str
    name: str
    running: int
    max_concurrent: int | None = None
    per_second: float | None = None
    burst: int | None = None
    tokens: float | None = None
    blocked_until: int | None = None


class Alert(Message):
    """Something an operator should look at. `kind` is stable, `detail` for people."""

    kind: str
    pool: str
    detail: str


class BalancerStatus(Message):
    """What the leader answers to `pointsman.balancer.status`; `last_dispatch` in ms since the epoch.

    The 100 largest classes, the first 200 gates and 100 alerts.
    """

    leader: str
    epoch: int
    pools: dict[str, PoolStatus]
    servers: dict[str, ServerLoad]
    pending: int
    waiting: int
    active: int
    last_dispatch: int | None
    dispatched: int
    as_of: int
    classes: tuple[ClassStatus, ...] = ()
    gates: tuple[GateStatus, ...] = ()
    alerts: tuple[Alert, ...] = ()


class PoolLoad(Message):
    """Of a pool whose backlog is bounded: how many wait (be it for their time), tasks ended per second over about 10 s,
    how many left the line in the last second, and the owners with the most waiting, if owners are bounded.
    """

    waiting: int
    drain_per_s: float
    left: int = 0
    owners: dict[str, int] = {}


class LoadFrame(Message):
    """What the leader tells everyone about slots and backlogs, once a second."""

    epoch: int
    active: dict[str, int]
    limits: dict[str, int]
    cancel: dict[str, tuple[str, ...]]
    pending: int
    as_of: int
    drain_per_s: float = 0.0
    pools: dict[str, PoolLoad] = {}
