"""What the leading balancer tells of its work: counts since it last told, and how things stand now.

A core message: one that is lost takes its counts with it. Arrays in the order of the fields, as frames are.
"""

from collections.abc import Mapping
from math import ceil, log

import msgspec

from pointsman.contracts.balancer import Alert
from pointsman.contracts.frames import Part, Sample

FLOW_IDLE_S = 1.0
VIEWER_GONE_S = 10.0
TYPES_MAX = 500
GROWTH = 1.04
NOTHING = -1
_PER_LOG = 1 / log(GROWTH)

Histogram = dict[int, int]
"""How many durations fell into each bucket; buckets grow by 4 %, so what is read back is wrong by 2 % at most."""


class ServerFlow(Part):
    """`started`, `done`, `failed`, `lost` count attempts; one that was cancelled is in neither of the last three. `failed`
    are errors, timeouts and faults of the server, `lost` attempts of which nothing came back. `limit` is what it may run now.
    """

    id: str
    active: int
    limit: int
    serves: bool
    estimate: int | None = None
    started: int = 0
    done: int = 0
    failed: int = 0
    lost: int = 0
    runs: Histogram = {}


class TypeFlow(Part):
    """Attempts of a task type; the types beyond the first `TYPES_MAX` share the name ""."""

    type: str
    done: int
    failed: int


class PoolFlow(Part):
    """`oldest_due`: when the longest waiting task that no limit holds back fell due, in ms since the epoch.

    `revision`, `changed_at`, `changed_by` are of the pool's settings, None when it never had any.
    """

    name: str
    algorithm: str
    servers: int
    eligible: int
    pending: int
    running: int
    slots: int
    starts_per_s: float
    oldest_due: int | None = None
    revision: int | None = None
    changed_at: int | None = None
    changed_by: str | None = None


class FlowFrame(Part):
    """`span_ms` is how long the counts took to come about. A `whole` one, told once a second, lists every server and the
    balancer's alerts; the others list servers that changed, and no alerts.

    `submitted` to `cancelled` count tasks, `retried` attempts that ended and are tried again. `waits` are from due to the
    first start, `runs` from an attempt's start to its end. `executors` take attempts.
    """

    epoch: int
    leader: str
    at: int
    span_ms: int
    whole: bool
    submitted: int = 0
    completed: int = 0
    failed: int = 0
    timed_out: int = 0
    cancelled: int = 0
    retried: int = 0
    waits: Histogram = {}
    runs: Histogram = {}
    pending: int = 0
    delayed: int = 0
    running: int = 0
    slots: int = 0
    oldest_due: int | None = None
    executors: int = 0
    pools: tuple[PoolFlow, ...] = ()
    servers: tuple[ServerFlow, ...] = ()
    types: tuple[TypeFlow, ...] = ()
    sample: tuple[Sample, ...] = ()
    happened: int = 0
    alerts: tuple[Alert, ...] = ()


def bucket_of(ms: int) -> int:
    """The bucket (GROWTH^(n-1), GROWTH^n] of a duration, NOTHING for 0."""
    return ceil(log(ms) * _PER_LOG) if ms > 0 else NOTHING


def ms_of(bucket: int) -> float:
    """The value that is wrong by the least part for all that may be in the bucket."""
    return 0.0 if bucket == NOTHING else 2 * GROWTH**bucket / (GROWTH + 1)


def quantile(counts: Mapping[int, int], share: float) -> float | None:
    """The duration in ms below which `share` (0-1) of the counted lie; None when nothing was counted."""
    rank = share * (sum(counts.values()) - 1)
    if rank < 0:
        return None
    below = 0
    for bucket in sorted(counts):
        below += counts[bucket]
        if below > rank:
            return ms_of(bucket)
    return None


def add(total: Histogram, counts: Mapping[int, int]) -> None:
    for bucket, count in counts.items():
        total[bucket] = total.get(bucket, 0) + count


def subtract(total: Histogram, counts: Mapping[int, int]) -> None:
    """What was added before."""
    for bucket, count in counts.items():
        left = total[bucket] - count
        if left:
            total[bucket] = left
        else:
            del total[bucket]


_ENCODER = msgspec.json.Encoder()
_DECODER = msgspec.json.Decoder(FlowFrame)


def encode_flow(flow: FlowFrame) -> bytes:
    return _ENCODER.encode(flow)


def decode_flow(data: bytes) -> FlowFrame:
    """Raises msgspec.DecodeError."""
    return _DECODER.decode(data)
