"""Why a task is where it is: the first gate that does not let it pass, its place in line, when it may start."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import NamedTuple

from pointsman.contracts.explain import Explanation, Gate, ServerRefusal
from pointsman.contracts.lifecycle import Status
from pointsman.services.balancer import gate as gates
from pointsman.services.balancer.entry import Entry, State
from pointsman.services.balancer.model import Model
from pointsman.services.balancer.waiting import Waiting

SERVERS_MAX = 100
CHUNK, PLACES_CHUNK = 20_000, 5_000
ETA_MS_MAX = 7 * 86_400_000
"""What is further away than a week is a guess that helps nobody."""


@dataclass(frozen=True, slots=True)
class Reason:
    """`opens_at` is when time alone opens the gate, in ms since the epoch; `per_s` is how many pass it per second.

    None: as many as the pool starts. 0: nobody, until somebody changes something.
    """

    gate: Gate | None
    detail: str
    opens_at: int | None = None
    is_in_line: bool = False
    per_s: float | None = None


def reason(model: Model, entry: Entry, *, executors: int, now: int, now_s: float) -> Reason:
    """The first gate that fails, in the order of `Gate`."""
    if entry.state in (State.RUNNING, State.RESERVED):
        current = entry.lease.current if entry.lease is not None else None
        return Reason(
            None, f"runs on {current.server_id}, attempt {current.number}" if current else "is being handed over"
        )
    if entry.state is State.DELAYED:
        return _delayed(entry)
    if not executors:
        return Reason(Gate.EXECUTOR, "no executor is alive")
    pool = model.pending.gates.get(gates.GateId(Gate.POOL_LIMIT, entry.shape.pool))
    if pool is not None and model.pending.gates.room(pool, now, now_s) < 1:
        return _limited(model, entry, pool, now, now_s)
    closed = model.pending.gate_of(entry, now, now_s)
    if closed is not None:
        return _limited(model, entry, closed, now, now_s)
    return _no_server(model, entry, now)


def _delayed(entry: Entry) -> Reason:
    lease = entry.lease
    if lease is None or lease.run_at is None:
        return Reason(Gate.RUN_AT, "is scheduled for later", entry.due)
    said = "is waiting to be retried" if lease.spent else "was given back and waits a moment"
    last = f": {lease.attempts[-1].error}" if lease.attempts and lease.attempts[-1].error else ""
    return Reason(Gate.BACKOFF, f"{said} after {_counted(len(lease.attempts), 'attempt')}{last}", entry.due)


def _limited(model: Model, entry: Entry, gate: gates.Gate, now: int, now_s: float) -> Reason:
    opens_at = gate.opens_at(now, now_s)
    what = f"{_SCOPES.get(gate.id.scope, gate.id.scope)} {gate.id.name}"
    if gate.id.scope is Gate.AFFINITY:
        return Reason(Gate.AFFINITY, f"its affinity key belongs to {gate.id.name}, which is full", is_in_line=True)
    if gate.id.scope is Gate.PROBATION:
        detail = f"the free servers fail type {gate.id.name} and are tried again one by one"
        return Reason(Gate.PROBATION, detail, opens_at, is_in_line=True)
    if gate.blocked_until > now:
        return Reason(Gate.BLOCKED, f"{what}: a server asked to wait (Retry-After)", opens_at, is_in_line=True)
    running = model.pending.gates.running(gate)
    if gate.limit is not None and running >= gate.limit:
        detail = f"{what}: {running} of at most {gate.limit} run"
        return Reason(gate.id.scope, detail, is_in_line=True, per_s=_turnover(model, entry, gate.limit, now_s))
    if gate.bucket is not None:
        rate = gate.bucket.rate.per_second
        return Reason(gate.id.scope, f"{what}: at most {rate:g}/s begin", opens_at, is_in_line=True, per_s=rate)
    return Reason(Gate.TURN, "others are first", is_in_line=True)


def _turnover(model: Model, entry: Entry, limit: int, now_s: float) -> float | None:
    """How many per second so many slots let begin, at the time that tasks of this type are known to take."""
    if not limit:
        return 0.0
    servers = model.fleet.matching(entry.shape.requirement)
    known = [ms for server in servers if (ms := server.estimator.read_ms(entry.shape.type, now_s)) > 0]
    return limit * len(known) / sum(known) * 1000 if known else None


_SCOPES = {
    Gate.TYPE_LIMIT: "type",
    Gate.KEY_LIMIT: "concurrency key",
    Gate.POOL_LIMIT: "pool",
    Gate.RETRY_BUDGET: "retries of pool",
}


def _no_server(model: Model, entry: Entry, now: int) -> Reason:
    requirement = entry.shape.requirement
    matching = model.fleet.matching(requirement)
    if not matching:
        needs = f" with {', '.join(sorted(entry.shape.capabilities))}" if entry.shape.capabilities else ""
        return Reason(Gate.NO_SERVER, f"no server{needs} is registered in pool {entry.shape.pool}")
    if not model.fleet.has_free(requirement, now):
        detail = f"none of {_counted(len(matching), 'matching server')} takes a task now"
        return Reason(Gate.SERVER, detail, is_in_line=True, per_s=None if any(one.serves for one in matching) else 0.0)
    return Reason(Gate.TURN, "others are first", is_in_line=True)


def ahead(model: Model, entry: Entry) -> Iterator[int]:
    """How many go first, counted piece by piece, so that a million do not hold up the rest of the process."""
    own = entry.place
    if not isinstance(own, Waiting):
        return
    rank, mine = 0, (entry.due, entry.id)
    for start in range(0, len(own.queued), CHUNK):
        found = sum(one[:2] < mine and one[2].place is own for one in own.queued[start : start + CHUNK])
        rank += found
        yield found
    fairness, shape = model.pending.fairness, entry.shape
    shares = fairness.of(shape.pool, shape.priority)
    tag = shares.tag(entry.fairness_key) + rank / fairness.weight(shape.pool, entry.fairness_key)

    def first_of(beside: Beside) -> int:
        """Those of another place: all of a higher priority, of the same those whose turn comes before `tag`."""
        if beside.place is own or beside.priority < shape.priority:
            return 0
        if beside.priority > shape.priority:
            return beside.place.count
        turns = (tag - shares.tag(beside.key)) * fairness.weight(shape.pool, beside.key)
        return min(beside.place.count, max(0, math.ceil(turns)))

    others = _beside(model, entry)
    while some := list(islice(others, PLACES_CHUNK)):
        yield sum(map(first_of, some))


class Beside(NamedTuple):
    """Tasks of one priority and fairness key that wait at the same gate or in the same line."""

    priority: int
    key: str
    place: Waiting


def _beside(model: Model, entry: Entry) -> Iterator[Beside]:
    """Who waits where the entry does, and its own place; as it was when asked, for it may change between the pieces."""
    shape, place = entry.shape, entry.place
    if isinstance(place, gates.Lane):
        sleeping = place.gate.sleeping(shape.requirement) if place.gate is not None else ()
        return (Beside(lane.id.priority, lane.id.fairness_key, lane) for lane in sleeping)
    line = model.pending.line(shape.requirement)
    levels = list(line.levels.items()) if line is not None else []
    return (Beside(priority, key, waiting) for priority, level in levels for key, waiting in list(level.by_key.items()))


def refusals(model: Model, entry: Entry, now: int, now_s: float) -> tuple[ServerRefusal, ...]:
    """The servers of the pool, those that could take it first."""
    servers = [server for server in model.fleet if server.config.pool == entry.shape.pool]
    failing = model.fleet.on_probation(entry.shape.pool, entry.shape.type, now)
    shown = [
        ServerRefusal(
            server_id=server.id,
            reasons=model.fleet.refusals(server, entry.shape.requirement, now)
            + (("on probation with this type",) if server.id in failing else ()),
            active_tasks=server.active,
            effective_limit=server.limit,
            estimate_ms=server.estimator.read_ms(entry.shape.type, now_s) or None,
        )
        for server in servers
    ]
    shown.sort(key=lambda one: (len(one.reasons), one.server_id))
    return tuple(shown[:SERVERS_MAX])


def explanation(model: Model, entry: Entry, why: Reason, before: int | None, *, now: int, now_s: float) -> Explanation:
    """`before` is how many go first, None when it stands in no line."""
    pace = model.pools.starts_per_s(entry.shape.pool)
    return Explanation(
        id=entry.id,
        status=Status.PROCESSING if entry.state is State.RUNNING else Status.PENDING,
        gate=why.gate,
        detail=why.detail,
        position=before + 1 if before is not None else None,
        ahead=before,
        eta=_eta(why, before, pace, now),
        run_at=entry.due if entry.due > now else None,
        deadline=entry.deadline,
        pool=entry.shape.pool,
        servers=refusals(model, entry, now, now_s) if entry.state is State.PENDING else (),
        as_of=now,
    )


def _eta(why: Reason, before: int | None, pace: float, now: int) -> int | None:
    """When those that go first have begun, at the gate's own pace or that of the pool."""
    if why.gate is None or why.gate is Gate.NO_SERVER:
        return None
    per_s = why.per_s if why.per_s is not None else pace
    if why.opens_at is not None:
        return why.opens_at + (_takes_ms(before or 0, per_s) or 0)
    wait_ms = _takes_ms(before + 1, per_s) if before is not None else None
    return now + wait_ms if wait_ms is not None else None


def _takes_ms(count: int, per_s: float) -> int | None:
    """None: longer than a guess is good for."""
    return round(count / per_s * 1000) if per_s > 0 and count * 1000 <= per_s * ETA_MS_MAX else None


def _counted(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"
