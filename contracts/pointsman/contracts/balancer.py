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


class BalancerStatus(Message):
    """What the leader answers to `pointsman.balancer.status`; `last_dispatch` in ms since the epoch."""

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


class LoadFrame(Message):
    """What the leader tells everyone about slots, on change, at most once a second."""

    epoch: int
    active: dict[str, int]
    limits: dict[str, int]
    cancel: dict[str, tuple[str, ...]]
    pending: int
    as_of: int
