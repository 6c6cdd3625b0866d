"""The health machine of one server as a table, and what a probe's answer means. Pure."""

from collections.abc import Collection
from dataclasses import dataclass, replace
from random import Random
from typing import Annotated

import msgspec
from msgspec.structs import replace as with_fields

from pointsman.contracts.server import HealthState, ServerConfig, ServerHealth
from pointsman.services.instance.answer import Answer
from pointsman.services.instance.fleet import Known

S = HealthState


@dataclass(frozen=True, slots=True)
class Row:
    """`waits_s` before the next probe: the first, and the next after each further bad one; each +- `jitter`.

    `good` and `bad`: so many probes in a row lead to that state.
    """

    is_eligible: bool
    waits_s: tuple[float, ...]
    jitter: float
    good: tuple[int, HealthState] | None = None
    bad: tuple[int, HealthState] | None = None


TABLE: dict[HealthState, Row] = {
    S.NEW: Row(False, (1.0,), 0.0, good=(1, S.HEALTHY), bad=(5, S.UNHEALTHY)),
    S.HEALTHY: Row(True, (5.0,), 0.1, bad=(3, S.UNHEALTHY)),
    S.UNHEALTHY: Row(False, (2.0, 4.0, 8.0, 16.0, 30.0), 0.2, good=(2, S.HEALTHY)),
}


@dataclass(frozen=True, slots=True)
class Check:
    """A server's health as its prober knows it; `misses` counts bad probes since the state was entered."""

    health: ServerHealth
    misses: int = 0
    wait_s: float = 0.0


def row_of(state: HealthState) -> Row:
    """A state that this version does not use yet is looked at like a new server."""
    return TABLE.get(state, TABLE[S.NEW])


def is_eligible(state: HealthState) -> bool:
    return row_of(state).is_eligible


def current(known: Known, now: int) -> ServerHealth:
    """The stored health where it is of this registration, else NEW."""
    config, health = known.config, known.health
    registered_at = config.registered_at if isinstance(config, ServerConfig) else 0
    if health is not None and health.registered_at == registered_at and health.state in TABLE:
        return health
    return ServerHealth(state=S.NEW, since=now, registered_at=registered_at)


def after_probe(check: Check, error: str | None, *, now: int, rng: Random) -> Check:
    """The check after a good probe (`error` None) or a bad one; `now` in ms since the epoch."""
    counted = _counted(check.health, error, now)
    state = _next_state(counted)
    entered = state is not counted.state
    misses = 0 if entered or error is None else check.misses + 1
    wait_s = _wait_s(row_of(state), misses, rng)
    health = with_fields(
        counted,
        state=state,
        since=now if entered else counted.since,
        next_check=now + round(wait_s * 1000),
        consecutive_successes=0 if entered else counted.consecutive_successes,
        consecutive_failures=0 if entered and error is None else counted.consecutive_failures,
    )
    return replace(check, health=health, misses=misses, wait_s=wait_s)


def _counted(health: ServerHealth, error: str | None, now: int) -> ServerHealth:
    return with_fields(
        health,
        last_check=now,
        error=error,
        consecutive_failures=0 if error is None else health.consecutive_failures + 1,
        consecutive_successes=health.consecutive_successes + 1 if error is None else 0,
    )


def _next_state(health: ServerHealth) -> HealthState:
    row = row_of(health.state)
    if row.good is not None and health.consecutive_successes >= row.good[0]:
        return row.good[1]
    if row.bad is not None and health.consecutive_failures >= row.bad[0]:
        return row.bad[1]
    return health.state


def _wait_s(row: Row, misses: int, rng: Random) -> float:
    wait_s = row.waits_s[min(misses, len(row.waits_s) - 1)]
    return wait_s * rng.uniform(1 - row.jitter, 1 + row.jitter)


class _Model(msgspec.Struct):
    server_id: str | None = None


class _Load(msgspec.Struct):
    active_tasks: Annotated[int, msgspec.Meta(ge=0)] | None = None


class _Told(msgspec.Struct):
    """What a health answer may say; other fields and other shapes are the server's own business."""

    status: msgspec.Raw = msgspec.Raw(b"")
    server_id: msgspec.Raw = msgspec.Raw(b"")
    model: msgspec.Raw = msgspec.Raw(b"")
    load: msgspec.Raw = msgspec.Raw(b"")


_TOLD = msgspec.json.Decoder(_Told)
_STR = msgspec.json.Decoder(str)
_MODEL = msgspec.json.Decoder(_Model)
_LOAD = msgspec.json.Decoder(_Load)


def fault_of(answer: Answer, server_id: str, registered: Collection[str]) -> str | None:
    """Why this health answer is bad, or None; `registered` are the ids of all servers."""
    if not 200 <= answer.status < 300:
        return f"the health check answered HTTP {answer.status}"
    if answer.is_cut:
        return "the health check's answer is too large"
    try:
        told = _TOLD.decode(answer.body)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None
    if _text(told.status) == "unhealthy":
        return "the server says that it is unhealthy"
    for named in (_text(told.server_id), _model_id(told.model)):
        if named and named != server_id and named in registered:
            return f"wiring mistake: the server that answers says it is {named}"
    return None


def active_tasks_of(answer: Answer) -> int | None:
    """How many tasks the server says it runs, if its health answer says so."""
    try:
        load = _TOLD.decode(answer.body).load
        return _LOAD.decode(load).active_tasks if load else None
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None


def _text(raw: msgspec.Raw) -> str:
    try:
        return _STR.decode(raw) if raw else ""
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return ""


def _model_id(raw: msgspec.Raw) -> str:
    try:
        return (_MODEL.decode(raw).server_id or "") if raw else ""
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return ""
