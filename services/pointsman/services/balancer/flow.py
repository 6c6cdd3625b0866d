"""What flows through the leader, counted as it folds: a few additions per event. No clock; handed out by `take`."""

from collections.abc import Callable
from math import log, log1p
from random import Random

from pointsman.contracts.events import ENDINGS, Kind
from pointsman.contracts.flow import TYPES_MAX, Histogram, bucket_of
from pointsman.contracts.frames import SAMPLE_MAX, Sample
from pointsman.contracts.lifecycle import Status
from pointsman.contracts.record import Attempt, CurrentAttempt, Lease, TaskHead
from pointsman.services.balancer.entry import Entry

FAILED = frozenset({"failed", "timed-out"})
OTHER_TYPES = ""
SKIPPED_MAX = 1e15


class Tally:
    """What attempts did at one server."""

    __slots__ = ("done", "failed", "lost", "runs", "started")

    def __init__(self) -> None:
        self.started = self.done = self.failed = self.lost = 0
        self.runs: Histogram = {}


class Counts:
    """What happened since the counts before. `types` holds done and failed attempts; the event that is the `keep_at`th
    to happen goes into the sample."""

    __slots__ = (
        "ended",
        "happened",
        "keep_at",
        "retried",
        "runs",
        "sample",
        "servers",
        "submitted",
        "types",
        "waits",
        "weight",
    )

    def __init__(self) -> None:
        self.submitted = self.retried = self.happened = 0
        self.keep_at, self.weight = 1, 1.0
        self.ended: dict[Status, int] = {}
        self.waits: Histogram = {}
        self.runs: Histogram = {}
        self.servers: dict[str, Tally] = {}
        self.types: dict[str, list[int]] = {}
        self.sample: list[Sample] = []


class Flow:
    """A sample of what happens is as likely to hold any of it; who folds a replay takes away what that counted."""

    def __init__(self, random: Callable[[], float] = Random().random) -> None:
        self._random = random
        self._counts = Counts()

    def take(self) -> Counts:
        counts, self._counts = self._counts, Counts()
        return counts

    def submitted(self, entry: Entry, at: int) -> None:
        """Accepted, or retried by hand."""
        counts = self._counts
        counts.submitted += 1
        counts.happened += 1
        if counts.happened >= counts.keep_at:
            kind, status = Kind.SUBMITTED, Status.PENDING
            self._keep(Sample(at=at, task_id=entry.id, kind=kind, type=entry.shape.type, status=status))

    def leased(self, entry: Entry, held: Lease | None, lease: Lease) -> None:
        """The entry's lease went on from `held`: an attempt began, or ended and is tried again."""
        if lease.attempts:
            known = held.attempts[-1].number if held is not None and held.attempts else 0
            if lease.attempts[-1].number > known:
                self._ended(entry, lease.attempts, known)
        current = lease.current
        if current is not None and (held is None or lease.attempt > held.attempt):
            self._started(entry, current)

    def ended(self, head: TaskHead, entry: Entry | None, now: int) -> None:
        """The task is over; `entry` as it was, None when it was never seen live."""
        counts, status = self._counts, head.status
        if entry is None:
            counts.submitted += 1
        counts.ended[status] = counts.ended.get(status, 0) + 1
        lease = entry.lease if entry is not None and entry.generation == head.generation else None
        known = lease.attempts[-1].number if lease is not None and lease.attempts else 0
        for attempt in reversed(head.attempts):
            if attempt.number <= known:
                break
            self._attempt(head.spec.type, attempt)
        counts.happened += 1
        if counts.happened >= counts.keep_at:
            self._keep(_end(head, entry, lease, now))

    def _started(self, entry: Entry, current: CurrentAttempt) -> None:
        counts, waited_ms = self._counts, max(0, current.started_at - entry.due)
        if current.number == 1:
            bucket = bucket_of(waited_ms)
            counts.waits[bucket] = counts.waits.get(bucket, 0) + 1
        self._tally(current.server_id).started += 1
        counts.happened += 1
        if counts.happened >= counts.keep_at:
            sample = Sample(
                at=current.started_at,
                task_id=entry.id,
                kind=Kind.ASSIGNED,
                type=entry.shape.type,
                attempt=current.number,
                server_id=current.server_id,
                waited_ms=waited_ms,
                status=Status.PROCESSING,
            )
            self._keep(sample)

    def _ended(self, entry: Entry, attempts: tuple[Attempt, ...], known: int) -> None:
        counts = self._counts
        for attempt in reversed(attempts):
            if attempt.number <= known:
                return
            counts.retried += 1
            self._attempt(entry.shape.type, attempt)
            counts.happened += 1
            if counts.happened >= counts.keep_at:
                sample = Sample(
                    at=attempt.finished_at,
                    task_id=entry.id,
                    kind=Kind.ATTEMPT_ENDED,
                    type=entry.shape.type,
                    attempt=attempt.number,
                    server_id=attempt.server_id,
                    ms=attempt.finished_at - attempt.started_at,
                    status=Status.PENDING,
                )
                self._keep(sample)

    def _attempt(self, task_type: str, attempt: Attempt) -> None:
        """What a server did; lost attempts that are no fault of it, and cancelled ones, have no run."""
        tally = self._tally(attempt.server_id)
        is_done = attempt.outcome == "succeeded"
        if is_done:
            tally.done += 1
        elif attempt.outcome in FAILED or attempt.server_fault:
            tally.failed += 1
        else:
            tally.lost += attempt.outcome == "lost" and attempt.http_status is None
            return
        bucket = bucket_of(attempt.finished_at - attempt.started_at)
        tally.runs[bucket] = tally.runs.get(bucket, 0) + 1
        runs = self._counts.runs
        runs[bucket] = runs.get(bucket, 0) + 1
        self._type(task_type)[not is_done] += 1

    def _tally(self, server_id: str) -> Tally:
        tally = self._counts.servers.get(server_id)
        if tally is None:
            tally = self._counts.servers[server_id] = Tally()
        return tally

    def _type(self, name: str) -> list[int]:
        types = self._counts.types
        found = types.get(name)
        if found is None:
            found = types.setdefault(name if len(types) < TYPES_MAX else OTHER_TYPES, [0, 0])
        return found

    def _keep(self, sample: Sample) -> None:
        """Into the sample, in place of another when it is full; which event is the next to be kept (Li's algorithm L)."""
        counts = self._counts
        if len(counts.sample) < SAMPLE_MAX:
            counts.sample.append(sample)
            counts.keep_at += 1
        else:
            counts.sample[int(self._random() * SAMPLE_MAX)] = sample
        if len(counts.sample) == SAMPLE_MAX:
            counts.weight *= (1 - self._random()) ** (1 / SAMPLE_MAX)
            skipped = log(1 - self._random()) / log1p(-counts.weight) if counts.weight < 1 else 0.0
            counts.keep_at = counts.happened + int(min(skipped, SKIPPED_MAX)) + 1


def _end(head: TaskHead, entry: Entry | None, lease: Lease | None, now: int) -> Sample:
    last = head.attempts[-1] if head.attempts else None
    current = lease.current if lease is not None else None
    return Sample(
        at=last.finished_at if last is not None else now,
        task_id=head.id,
        kind=ENDINGS[head.status],
        type=head.spec.type,
        attempt=last.number if last is not None else None,
        server_id=last.server_id if last is not None else None,
        ms=last.finished_at - last.started_at if last is not None else None,
        waited_ms=max(0, current.started_at - entry.due) if entry is not None and current is not None else None,
        status=head.status,
    )
