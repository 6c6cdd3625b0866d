"""What a cockpit is told: one frame several times a second, and once a second a whole one that is kept for an hour.

Frames are JSON arrays in the order of the fields below, for they are many and mostly numbers. A reader takes longer
arrays than it knows. None is always "not known"; it is never written as 0.
"""

from enum import StrEnum
from typing import Annotated

import msgspec
from msgspec import Meta

from pointsman.contracts.base import ContractMeta, Request

RATE_HZ = 5
SAMPLE_MAX = 20
NEWS_MAX = 20
ALERTS_MAX = 100
VIEWER_BEAT_S = 5.0
KEPT_S = 3600

AlertKind = Annotated[str, Meta(pattern=r"^[a-z-]{1,64}$(?!\n)")]
AlertSubject = Annotated[str, Meta(max_length=128)]
Note = Annotated[str, Meta(max_length=500)]


class Part(msgspec.Struct, metaclass=ContractMeta, array_like=True):
    """An array in a frame; new fields go to the end and have a default."""


class Severity(StrEnum):
    CRITICAL = "critical"
    WARNING = "warning"


class Flow(Part):
    """The cluster over the last 10 s: rates per second, times in ms, `fail_rate` in 0-1 of the tasks that ended.

    `pending` is due and waits for a slot, `delayed` waits for its time or its next attempt; `oldest_ms` is how long the
    oldest pending task has been due. `submitted`, `retried` count tasks and attempts; waits are from due to the first
    start, runs from an attempt's start to its end.
    """

    submitted: float | None = None
    completed: float | None = None
    failed: float | None = None
    timed_out: float | None = None
    cancelled: float | None = None
    retried: float | None = None
    pending: int | None = None
    delayed: int | None = None
    running: int | None = None
    slots: int | None = None
    oldest_ms: int | None = None
    fail_rate: float | None = None
    wait_p50: float | None = None
    wait_p95: float | None = None
    run_p50: float | None = None
    run_p95: float | None = None


class ServerRow(Part):
    """What changes rarely of a server. `wanted` is a `Wanted`, `state` a `HealthState`, `since` of the later change.

    `failures` counts checks or heartbeats missed in a row, of the `failures_max` that take it out. `until` ends a drain.
    `warmth` is the part of its limit that a server in its slow start may use (0-1), None when all of it. `revision` is
    what an order on it is guarded by, 0 when not known. Times in ms since the epoch.
    """

    id: str
    pool: str
    wanted: str
    state: str
    since: int
    limit: int
    max_concurrent: int
    weight: int
    score: int
    failures: int = 0
    failures_max: int | None = None
    error: str | None = None
    reason: str | None = None
    until: int | None = None
    version: str | None = None
    groups: tuple[str, ...] = ()
    warmth: float | None = None
    declared: bool = False
    by: str = ""
    revision: int = 0


class ServerPulse(Part):
    """The moving numbers of a server: rates over 10 s, `error_rate` (0-1 of the attempts that ended) and `share` (0-1 of
    its pool's tasks) over 60 s; `fair` is the share by slots that it could have had. `beat_ms` and `check_ms` are ages at
    the frame's `at`; `run_p95`, `estimate` in ms. `running` is not known while the balancer is silent.
    """

    id: str
    running: int | None = None
    beat_ms: int | None = None
    check_ms: int | None = None
    done_per_s: float | None = None
    run_p95: int | None = None
    error_rate: float | None = None
    share: float | None = None
    fair: float | None = None
    estimate: int | None = None


class PoolRow(Part):
    """A pool: servers in all and that may take tasks, tasks due and running, slots that may be used.

    While the balancer is silent only what rarely changes is told: the algorithm, the servers, who changed it.
    """

    name: str
    algorithm: str
    servers: int
    eligible: int | None
    pending: int | None
    running: int | None
    slots: int | None
    starts_per_s: float | None = None
    revision: int | None = None
    changed_at: int | None = None
    changed_by: str | None = None


class Sample(Part):
    """One thing that happened to a task: `kind` is a `pointsman.contracts.events.Kind`; `ms` what it took, if it ended."""

    at: int
    task_id: str
    kind: str
    type: str | None = None
    attempt: int | None = None
    server_id: str | None = None
    ms: int | None = None
    waited_ms: int | None = None
    status: str | None = None


class News(Part):
    """A line of the screen Events: a server's change, an act or its refusal. `kind`: server, act, tasks, config."""

    at: int
    kind: str
    subject: str
    what: str
    why: str | None = None
    by: str | None = None
    ok: bool = True
    request_id: str | None = None


class AlertRow(Part):
    """`kind` and `subject` name it; `screen` where to look (servers, tasks, balancer, statistics, events)."""

    severity: str
    kind: str
    subject: str
    since: int
    detail: str
    screen: str = "overview"
    acknowledged_by: str | None = None
    note: str | None = None


class Frame(Part):
    """What changed since the frame before (`seq - 1` of the same `epoch`), or everything when `full`, as the first of an
    epoch is.

    A changed part is sent whole. `flow`, `pools` and `alerts` are whole in every frame. A full frame that was asked for
    has the newest `news`, of which the reader may have some; a keyframe has those since the keyframe before. `heard_at`:
    when the balancer last told of itself. `happened` counts what `sample` was drawn from. The archive holds all that
    ended before `archived_at`; `backlog` entries wait for it.
    """

    epoch: int
    seq: int
    at: int
    full: bool
    flow: Flow
    pools: tuple[PoolRow, ...] = ()
    servers: tuple[ServerRow, ...] = ()
    pulses: tuple[ServerPulse, ...] = ()
    gone: tuple[str, ...] = ()
    alerts: tuple[AlertRow, ...] = ()
    sample: tuple[Sample, ...] = ()
    happened: int = 0
    news: tuple[News, ...] = ()
    leader: str | None = None
    heard_at: int | None = None
    backlog: int | None = None
    archived_at: int | None = None


class ViewerBeat(Request):
    """What a viewer tells every `VIEWER_BEAT_S`: that it looks. Without viewers there are keyframes only."""

    viewer: str


class AcknowledgeRequest(Request):
    """Of an alert: it stays listed, marked, until its cause is gone. `acknowledged: false` takes it back."""

    kind: AlertKind
    subject: AlertSubject = ""
    note: Note = ""
    acknowledged: bool = True


_ENCODER = msgspec.json.Encoder()
_DECODER = msgspec.json.Decoder(Frame)


def encode_frame(frame: Frame) -> bytes:
    return _ENCODER.encode(frame)


def decode_frame(data: bytes) -> Frame:
    """Raises msgspec.DecodeError."""
    return _DECODER.decode(data)
