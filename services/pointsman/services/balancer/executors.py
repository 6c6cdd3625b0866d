"""The executors as the leader hears them: who is alive, who is least busy, which attempts nobody runs any more."""

from dataclasses import dataclass, field

from pointsman.contracts.execution import ExecutorBeat

SILENT_S = 4.5
MISSED_BEATS = 2


@dataclass(slots=True)
class Executor:
    id: str
    limit: int
    heard_s: float
    running: frozenset[str] = frozenset()
    stopping: bool = False
    unreachable: bool = False
    beat_at: int = 0
    missed: dict[str, int] = field(default_factory=dict)


class Executors:
    """Monotonic seconds throughout."""

    def __init__(self) -> None:
        self._executors: dict[str, Executor] = {}

    def heard(self, beat: ExecutorBeat, now_s: float) -> None:
        executor = self._executors.get(beat.executor)
        if executor is None:
            executor = self._executors[beat.executor] = Executor(beat.executor, beat.limit, now_s)
        executor.heard_s, executor.limit, executor.stopping = now_s, beat.limit, beat.stopping
        executor.running, executor.unreachable, executor.beat_at = frozenset(beat.running), False, beat.at
        executor.missed = {key: count + 1 for key, count in executor.missed.items() if key not in executor.running}

    def is_alive(self, executor_id: str, now_s: float) -> bool:
        executor = self._executors.get(executor_id)
        return executor is not None and now_s - executor.heard_s < SILENT_S

    def choose(self, active: dict[str, int], now_s: float) -> str | None:
        """The executor with the smallest share in use; `active` counts attempts per executor."""
        best, best_share = None, 1.0
        for executor in self._executors.values():
            if executor.stopping or executor.unreachable or now_s - executor.heard_s >= SILENT_S:
                continue
            share = active.get(executor.id, 0) / executor.limit
            if share < best_share:
                best, best_share = executor.id, share
        return best

    def count(self, now_s: float) -> int:
        """How many take attempts."""
        return sum(
            not (one.stopping or one.unreachable) and now_s - one.heard_s < SILENT_S for one in self._executors.values()
        )

    def unreachable(self, executor_id: str) -> None:
        """Nobody listens at its subject: nothing more goes there until it is heard again."""
        if executor_id in self._executors:
            self._executors[executor_id].unreachable = True

    def any_alive(self, now_s: float) -> str | None:
        return self.choose({}, now_s)

    def abandoned(self, executor_id: str, attempt: str, start_by: int, age_s: float, now_s: float) -> bool:
        """Whether nobody holds this attempt's call: its executor is silent, or did not list it in several beats.

        Only beats of after `start_by` (ms since the epoch) count: until then the hand-over may still arrive.
        """
        executor = self._executors.get(executor_id)
        if executor is None or now_s - executor.heard_s >= SILENT_S:
            return age_s > SILENT_S
        if attempt in executor.running or executor.beat_at <= start_by:
            executor.missed.pop(attempt, None)
            return False
        return executor.missed.setdefault(attempt, 0) >= MISSED_BEATS

    def has_no_call(self, executor_id: str, attempt: str, start_by: int, now_s: float) -> bool:
        """Whether a living executor, asked after `start_by` (ms since the epoch), does not list this attempt."""
        executor = self._executors.get(executor_id)
        if executor is None or now_s - executor.heard_s >= SILENT_S:
            return False
        return executor.beat_at > start_by and attempt not in executor.running

    def forget_silent(self, now_s: float) -> None:
        for executor_id, executor in list(self._executors.items()):
            if now_s - executor.heard_s > 60 * SILENT_S:
                del self._executors[executor_id]
