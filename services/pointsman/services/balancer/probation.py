"""A server that fails one type of task which others complete gets that type one by one, after growing pauses.

Errors of tasks are no evidence against a server as long as they come from everywhere: a poison type stays with its
tasks. What only one server fails is a black hole, since failures are fast and leave slots free.
"""

from collections import OrderedDict
from collections.abc import Iterator

from pointsman.contracts.record import Attempt
from pointsman.services.balancer.estimator import TYPES_MAX

FAILURES = 3
PAUSE_FIRST_MS, PAUSE_MAX_MS = 250, 10_000
TRIAL_MS = 30_000
RECENT_MS = 60_000
WIDESPREAD_MS = 100
SHARE_MAX = 0.3


class Record:
    """How one server fares with one type; times in ms since the epoch. `pauses` > 0: on probation."""

    __slots__ = ("at", "failures", "held_until", "is_on_trial", "pauses", "since")

    def __init__(self) -> None:
        self.at = self.since = self.held_until = 0
        self.failures = self.pauses = 0
        self.is_on_trial = False

    def succeeded(self, attempt: Attempt) -> None:
        """What began before the failures says nothing of now."""
        self.at = attempt.finished_at
        if attempt.started_at >= self.since:
            self.acquit()

    def failed(self, now: int) -> None:
        self.since = now if not self.failures else self.since
        self.at = now
        self.failures += 1

    def acquit(self) -> None:
        self.failures = self.pauses = self.held_until = 0
        self.is_on_trial = False

    def judge(self, now: int, *, is_alone: bool) -> None:
        """What fails while it is held, and is no trial, began before."""
        if not is_alone:
            self.pauses = self.held_until = 0
            self.is_on_trial = False
        if not is_alone or (now < self.held_until and not self.is_on_trial):
            return
        self.held_until = now + min(PAUSE_MAX_MS, PAUSE_FIRST_MS * 2 ** min(self.pauses, 10))
        self.pauses += 1
        self.is_on_trial = False

    def try_again(self, now: int) -> None:
        """One attempt goes through, and no second one until it has ended (or takes very long)."""
        self.is_on_trial = True
        self.held_until = now + TRIAL_MS

    def end_trial(self, now: int) -> None:
        """It told nothing: let another try."""
        if self.is_on_trial:
            self.is_on_trial = False
            self.held_until = now


class OfType:
    """The records of one type in one pool, and who of them is on probation."""

    __slots__ = ("_widespread_until", "records", "suspects")

    def __init__(self) -> None:
        self.records: dict[str, Record] = {}
        self.suspects: set[str] = set()
        self._widespread_until = 0

    def record(self, server_id: str) -> Record:
        record = self.records.get(server_id)
        if record is None:
            record = self.records[server_id] = Record()
        return record

    def note(self, server_id: str) -> None:
        (self.suspects.add if self.records[server_id].pauses else self.suspects.discard)(server_id)

    def forget(self, server_id: str) -> None:
        self.records.pop(server_id, None)
        self.suspects.discard(server_id)

    def is_alone(self, server_id: str, now: int, servers: int) -> bool:
        """Whether most others have lately done well, and few are on probation already; a no stands for 100 ms."""
        if now < self._widespread_until:
            return False
        others = [one for name, one in self.records.items() if name != server_id and one.at >= now - RECENT_MS]
        well = sum(one.failures == 0 for one in others)
        on_probation = len(self.suspects - {server_id})
        if well * 2 > len(others) and on_probation + 1 <= max(1.0, servers * SHARE_MAX):
            return True
        self._widespread_until = now + WIDESPREAD_MS
        return False


class Probation:
    """The records of one pool, of at most 256 types."""

    def __init__(self) -> None:
        self._types: OrderedDict[str, OfType] = OrderedDict()

    def observe(self, task_type: str, attempt: Attempt, servers: int) -> None:
        """`servers`: how many there are in the pool."""
        of_type = self._of(task_type)
        record, now = of_type.record(attempt.server_id), attempt.finished_at
        if attempt.outcome == "succeeded":
            record.succeeded(attempt)
        elif not _blames_somebody(attempt):
            record.end_trial(now)
        else:
            record.failed(now)
            if record.failures >= FAILURES:
                record.judge(now, is_alone=of_type.is_alone(attempt.server_id, now, servers))
        of_type.note(attempt.server_id)

    def held(self, task_type: str, now: int) -> Iterator[str]:
        """Servers that take no task of this type now."""
        of_type = self._types.get(task_type)
        for server_id in of_type.suspects if of_type is not None else ():
            if self.release_at(task_type, server_id) > now:
                yield server_id

    def release_at(self, task_type: str, server_id: str) -> int:
        """When this server may be tried again with this type, in ms since the epoch; 0 when it is not on probation."""
        of_type = self._types.get(task_type)
        record = of_type.records.get(server_id) if of_type is not None else None
        return record.held_until if record is not None else 0

    def picked(self, task_type: str, server_id: str, now: int) -> None:
        of_type = self._types.get(task_type)
        if of_type is not None and server_id in of_type.suspects:
            of_type.records[server_id].try_again(now)

    def next_release(self, now: int) -> int | None:
        """When the next of all may be tried again, in ms since the epoch."""
        times = (of_type.records[one].held_until for of_type in self._types.values() for one in of_type.suspects)
        return min((at for at in times if at > now), default=None)

    def forget(self, server_id: str) -> None:
        for of_type in self._types.values():
            of_type.forget(server_id)

    def _of(self, task_type: str) -> OfType:
        of_type = self._types.get(task_type)
        if of_type is None:
            of_type = self._types[task_type] = OfType()
            if len(self._types) > TYPES_MAX:
                self._types.popitem(last=False)
        self._types.move_to_end(task_type)
        return of_type


def _blames_somebody(attempt: Attempt) -> bool:
    """An error of the task's handler or a timeout: not a refused request (4xx), not what stopped the server as a whole."""
    if attempt.server_fault or attempt.outcome not in ("failed", "timed-out"):
        return False
    return attempt.http_status is None or attempt.http_status >= 500
