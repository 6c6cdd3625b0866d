"""What follows from what happened: pure transitions of a task's record and lease. No clock, no bus, no awaiting."""

from random import Random

import msgspec
from msgspec.structs import replace

from pointsman.contracts.base import NULL, Message, is_null
from pointsman.contracts.lifecycle import Event, Status, after
from pointsman.contracts.record import (
    Attempt,
    CurrentAttempt,
    Lease,
    Lingering,
    PastGeneration,
    RetryPolicy,
    TaskRecord,
)
from pointsman.contracts.task import ATTEMPTS_KEPT_MAX, REFUSED_KEPT_MAX, Choice, RefusedAnswer

ERROR_LENGTH_MAX = 1000
CODE_LENGTH_MAX = 256
START_BY_MS = 5_000
CONNECT_MS = 5_000
PAST_KEPT_MAX = 3
LOST_WAIT_FIRST_MS, LOST_WAIT_MAX_MS = 100, 10_000


class Succeeded(Message, tag=True):
    result: msgspec.Raw = NULL
    http_status: int | None = None
    metadata: msgspec.Raw = NULL


class Failed(Message, tag=True):
    """A failed attempt; `server_fault` when the server, not the task, is to blame."""

    error: str
    code: str | None = None
    http_status: int | None = None
    final: bool = False
    retry_after_ms: int | None = None
    server_fault: bool = False


class TimedOut(Message, tag=True):
    error: str = "the attempt timed out"


class Lost(Message, tag=True):
    """Not the task's doing: backpressure, connection refused, our own restart. Spends no attempt.

    `may_still_run`: the call was not seen to end, so the server's slot stays held until the attempt's deadline.
    """

    reason: str
    http_status: int | None = None
    retry_after_ms: int | None = None
    server_fault: bool = False
    may_still_run: bool = False


class Accepted(Message, tag=True):
    """The backend will call back."""

    http_status: int = 202


Ended = Succeeded | Failed | TimedOut | Lost
Outcome = Ended | Accepted


def cut(text: str) -> str:
    return text if len(text) <= ERROR_LENGTH_MAX else text[: ERROR_LENGTH_MAX - 1] + "…"


def backoff_ms(policy: RetryPolicy, failures: int, rng: Random) -> int:
    """Wait after `failures` failed attempts (>= 1). Equal jitter: d = min(cap, base*factor^(n-1)), in [d*(1-j), d]."""
    wait = min(float(policy.max_ms), policy.base_ms * policy.factor ** min(failures - 1, 64))
    return round(wait * (1 - policy.jitter) + rng.uniform(0, wait * policy.jitter))


def lost_wait_ms(attempts: tuple[Attempt, ...]) -> int:
    """Wait before the attempt after a lost one: none after the first in a row, then 100 ms doubling to 10 s."""
    in_a_row = 0
    for attempt in reversed(attempts):
        if attempt.outcome != "lost":
            break
        in_a_row += 1
    return 0 if in_a_row <= 1 else min(LOST_WAIT_MAX_MS, LOST_WAIT_FIRST_MS * 2 ** min(in_a_row - 2, 16))


def keep(attempts: tuple[Attempt, ...]) -> tuple[Attempt, ...]:
    """Of more than 20 attempts the first and the last 19."""
    if len(attempts) <= ATTEMPTS_KEPT_MAX:
        return attempts
    return (attempts[0], *attempts[-(ATTEMPTS_KEPT_MAX - 1) :])


def assign(
    lease: Lease | None,
    generation: int,
    *,
    server_id: str,
    executor: str,
    epoch: int,
    now: int,
    deadline: int,
    choice: Choice | None = None,
) -> Lease:
    """The lease of the next attempt, written before anything is sent; `deadline` is that of the attempt."""
    after(Status.PENDING, Event.ASSIGNED)
    held = lease if lease is not None and lease.generation == generation else Lease(generation=generation)
    number = held.attempt + 1
    current = CurrentAttempt(
        number=number,
        server_id=server_id,
        executor=executor,
        started_at=now,
        start_by=min(now + START_BY_MS, deadline),
        deadline=deadline,
        epoch=epoch,
        due_at=held.run_at,
        choice=choice,
    )
    return replace(held, attempt=number, current=current, run_at=None, waiting_for=None, updated_at=now)


def ended(current: CurrentAttempt, outcome: Ended, now: int) -> Attempt:
    """The finished attempt as it is kept."""
    name, error, http_status = _told(outcome)
    retry_after_ms = outcome.retry_after_ms if isinstance(outcome, Failed | Lost) else None
    return Attempt(
        number=current.number,
        server_id=current.server_id,
        started_at=current.started_at,
        finished_at=max(now, current.started_at),
        outcome=name,
        http_status=http_status,
        error=cut(error) if error else None,
        retry_after_ms=retry_after_ms,
        server_fault=isinstance(outcome, Failed | Lost) and outcome.server_fault,
        due_at=current.due_at,
        choice=current.choice,
    )


def _told(outcome: Ended) -> tuple[str, str | None, int | None]:
    match outcome:
        case Succeeded():
            return "succeeded", None, outcome.http_status
        case Failed():
            return "failed", outcome.error, outcome.http_status
        case TimedOut():
            return "timed-out", outcome.error, None
        case Lost():
            return "lost", outcome.reason, outcome.http_status


def settle(record: TaskRecord, lease: Lease, outcome: Ended, *, now: int, rng: Random) -> TaskRecord | Lease:
    """What an ended attempt leads to: the terminal record, or the lease that waits for the next attempt."""
    current = lease.current
    if current is None:
        raise ValueError("no attempt is running")
    attempts = (*lease.attempts, ended(current, outcome, now))
    lingering = still_lingering(lease.lingering, now)
    if isinstance(outcome, Lost) and outcome.may_still_run:
        lingering = (*lingering, linger(current, lease.generation))
    lease = replace(lease, attempts=keep(attempts), current=None, lingering=lingering, updated_at=now)
    match outcome:
        case Succeeded():
            return _succeed(record, lease, outcome, now)
        case Failed():
            return _fail(record, lease, outcome, now, rng)
        case TimedOut():
            return _time_out(record, lease, outcome, now, rng)
        case Lost():
            return _lose(record, lease, outcome, now)


def _succeed(record: TaskRecord, lease: Lease, outcome: Succeeded, now: int) -> TaskRecord:
    done = finish(record, lease, Event.SUCCEEDED, now)
    return replace(done, result=outcome.result, progress=100.0, metadata=outcome.metadata)


def _fail(record: TaskRecord, lease: Lease, outcome: Failed, now: int, rng: Random) -> TaskRecord | Lease:
    waiting = _after_spent(record, lease, now, rng, outcome.retry_after_ms)
    if outcome.final or waiting is None:
        return finish(record, lease, Event.FAILED_FOR_GOOD, now, error=outcome.error, code=outcome.code or "failed")
    after(Status.PROCESSING, Event.FAILED_RETRYABLE)
    return waiting


def _time_out(record: TaskRecord, lease: Lease, outcome: TimedOut, now: int, rng: Random) -> TaskRecord | Lease:
    waiting = _after_spent(record, lease, now, rng, None)
    if waiting is None:
        return finish(record, lease, Event.ATTEMPT_TIMED_OUT, now, error=outcome.error, code="timeout")
    after(Status.PROCESSING, Event.ATTEMPT_TIMED_OUT_RETRYABLE)
    return waiting


def _lose(record: TaskRecord, lease: Lease, outcome: Lost, now: int) -> TaskRecord | Lease:
    if now >= record.spec.deadline:
        return expire(record, lease, now)
    after(Status.PROCESSING, Event.LOST)
    return replace(lease, run_at=now + lost_wait_ms(lease.attempts), waiting_for=cut(outcome.reason))


def _after_spent(record: TaskRecord, lease: Lease, now: int, rng: Random, retry_after_ms: int | None) -> Lease | None:
    """The lease with one more attempt spent, or None when no attempt is left or the next would be past the deadline."""
    spent = lease.spent + 1
    wait = retry_after_ms if retry_after_ms is not None else backoff_ms(record.spec.retry, spent, rng)
    if spent >= record.spec.max_attempts or now + wait >= record.spec.deadline:
        return None
    return replace(lease, spent=spent, run_at=now + wait, waiting_for="backoff")


def finish(
    record: TaskRecord,
    lease: Lease,
    event: Event,
    now: int,
    *,
    state: Status = Status.PROCESSING,
    error: str | None = None,
    code: str | None = None,
) -> TaskRecord:
    """The terminal record: everything there is to know, in one write."""
    attempts = lease.attempts
    return replace(
        record,
        status=after(state, event),
        updated_at=now,
        started_at=attempts[0].started_at if attempts else None,
        finished_at=now,
        server_id=attempts[-1].server_id if attempts else None,
        error=cut(error) if error else None,
        error_code=code[:CODE_LENGTH_MAX] if code else None,
        attempts=attempts,
        attempt=lease.attempt,
        lingering=still_lingering((*record.lingering, *lease.lingering), now),
        refused=lease.refused,
    )


def linger(current: CurrentAttempt, generation: int) -> Lingering:
    """A call begun just before its start-by has reached the server when its connection must stand."""
    return Lingering(
        server_id=current.server_id,
        generation=generation,
        number=current.number,
        start_by=current.start_by + CONNECT_MS,
        until=current.deadline,
    )


def still_lingering(lingering: tuple[Lingering, ...], now: int) -> tuple[Lingering, ...]:
    return tuple(one for one in lingering if one.until > now) if lingering else ()


def cancel(record: TaskRecord, lease: Lease | None, reason: str | None, now: int) -> TaskRecord:
    """CANCELLED, from waiting or running; the attempt that runs is kept as cancelled."""
    held = _interrupted(record, lease, "cancelled", now)
    return finish(record, held, Event.CANCELLED, now, state=_state(lease), error=reason, code="cancelled")


def expire(record: TaskRecord, lease: Lease | None, now: int) -> TaskRecord:
    """TIMEOUT because the task's own deadline passed."""
    held = _interrupted(record, lease, "timed-out", now)
    return finish(
        record, held, Event.DEADLINE_PASSED, now, state=_state(lease), error="the deadline passed", code="deadline"
    )


def _state(lease: Lease | None) -> Status:
    return Status.PROCESSING if lease is not None and lease.current is not None else Status.PENDING


def _interrupted(record: TaskRecord, lease: Lease | None, outcome: str, now: int) -> Lease:
    if lease is None or lease.generation != record.generation:
        return Lease(generation=record.generation)
    if lease.current is None:
        return lease
    attempt = replace(ended(lease.current, TimedOut(), now), outcome=outcome, error=None)
    return replace(
        lease,
        attempts=keep((*lease.attempts, attempt)),
        current=None,
        lingering=(*lease.lingering, linger(lease.current, lease.generation)),
    )


def renew(record: TaskRecord, now: int, request_id: str) -> TaskRecord:
    """Retried by hand: the next generation, with as much time to its deadline as the first had."""
    started = record.spec.run_at if record.spec.run_at is not None else record.created_at
    spec = replace(record.spec, run_at=None, deadline=now + max(record.spec.deadline - started, 1))
    return TaskRecord(
        id=record.id,
        owner=record.owner,
        spec=spec,
        created_at=record.created_at,
        updated_at=now,
        status=after(record.status, Event.RETRIED_BY_HAND),
        generation=record.generation + 1,
        request_id=request_id,
        trace=record.trace,
        lingering=still_lingering(record.lingering, now),
        past=(*record.past, _past(record))[-PAST_KEPT_MAX:],
    )


def _past(record: TaskRecord) -> PastGeneration:
    return PastGeneration(
        generation=record.generation,
        status=record.status,
        finished_at=record.updated_at if record.finished_at is None else record.finished_at,
        started_at=record.started_at,
        server_id=record.server_id,
        error=record.error,
        error_code=record.error_code,
        attempts=record.attempts,
    )


def accept(lease: Lease, now: int) -> Lease:
    """The backend took the attempt and will call back."""
    return _with_current(lease, now, accepted=True)


def refuse(lease: Lease, number: int, server_id: str, outcome: Ended, now: int) -> Lease | None:
    """Note what a server said of an attempt that was over; None when that is known already or five others are."""
    name, error, _ = _told(outcome)
    known = any((one.number, one.server_id, one.outcome) == (number, server_id, name) for one in lease.refused)
    if known or len(lease.refused) >= REFUSED_KEPT_MAX:
        return None
    said = cut(error) if error else None
    answer = RefusedAnswer(number=number, server_id=server_id, at=now, outcome=name, error=said)
    return replace(lease, refused=(*lease.refused, answer), updated_at=now)


def progress(lease: Lease, percent: float | None, metadata: msgspec.Raw, now: int) -> Lease:
    after(Status.PROCESSING, Event.PROGRESSED)
    changes: dict[str, object] = {}
    if percent is not None:
        changes["progress"] = percent
    if not is_null(metadata):
        changes["metadata"] = metadata
    return _with_current(lease, now, **changes)


def extend(lease: Lease, until: int, now: int) -> Lease:
    """Push the attempt's deadline out; never back."""
    current = lease.current
    return _with_current(lease, now, deadline=max(until, current.deadline if current else 0))


def _with_current(lease: Lease, now: int, **changes: object) -> Lease:
    if lease.current is None:
        raise ValueError("no attempt is running")
    return replace(lease, current=replace(lease.current, **changes), updated_at=now)
