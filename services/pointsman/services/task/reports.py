"""What becomes of a live task by request: reports and extensions of an attempt, cancel, retry by hand."""

from typing import Any

from pointsman.client.bus import Bus
from pointsman.contracts.actor import Actor
from pointsman.contracts.base import NULL, encode
from pointsman.contracts.commands import CancelTask, ExtendTask, RetryTask, UpdateTask
from pointsman.contracts.errors import conflict, unavailable
from pointsman.contracts.execution import Release
from pointsman.contracts.ids import new_operation_id
from pointsman.contracts.json_limits import check_text
from pointsman.contracts.lifecycle import Event, Status, after
from pointsman.contracts.record import CurrentAttempt, Lease, TaskRecord
from pointsman.contracts.subjects import VIEW_RELEASES
from pointsman.contracts.task import ActAnswer, ExtendAnswer, UpdateAnswer
from pointsman.services.runtime import outcomes
from pointsman.services.runtime.audit import Notes
from pointsman.services.runtime.clock import Clock
from pointsman.services.runtime.kv import RevisionMoved
from pointsman.services.runtime.late_answers import LateAnswers
from pointsman.services.runtime.settling import Settled, Settler
from pointsman.services.runtime.task_store import StoredTask
from pointsman.services.runtime.tokens import AttemptClaims, AttemptTokens
from pointsman.services.task import rules
from pointsman.services.task.store import Shelf

ROUNDS_MAX = 20


class Reports:
    def __init__(
        self, bus: Bus, shelf: Shelf, settler: Settler, tokens: AttemptTokens, late: LateAnswers, clock: Clock
    ) -> None:
        self._bus = bus
        self._shelf = shelf
        self._settler = settler
        self._tokens = tokens
        self._late = late
        self._clock = clock

    async def update(self, command: UpdateTask, actor: Actor) -> UpdateAnswer:
        """Raises 400/413, 401/403/404, 409 for a stale attempt or another final result."""
        rules.check_update(command.update)
        claims, proven = None, self._claims(actor)
        for _ in range(ROUNDS_MAX):
            task = await self._load(command.id)
            rules.check_report(actor, proven, task.record)
            claims = proven or claims or _claims_of(task)
            answer = await self._update(task, command, claims)
            if answer is not None:
                return answer
        raise _contended(command.id)

    async def _update(self, task: StoredTask, command: UpdateTask, claims: AttemptClaims | None) -> UpdateAnswer | None:
        update = command.update
        if task.is_terminal:
            return await self._update_ended(task, command, claims)
        attempt = self._attempt(task, claims)
        if attempt is None:
            number = claims.number if claims else 0
            if task.lease and rules.repeats_attempt(task.lease.attempts, number, update):
                return self._told(task)
            await self._keep_late(command, claims)
            raise rules.stale(_why_stale(task, claims))
        if update.status == "PROCESSING":
            return await self._progress(task, command)
        settled = await self._settler.settle(_with_attempt(task, attempt), attempt, rules.outcome_of(update))
        return self._told(await self._load(command.id)) if settled is Settled.COMMITTED else None

    async def _update_ended(self, task: StoredTask, command: UpdateTask, claims: AttemptClaims | None) -> UpdateAnswer:
        """A cancelled backend is told so; the same final word again is fine; a different one is refused and recorded."""
        if claims is not None and claims.generation != task.record.generation:
            raise rules.stale(_why_stale(task, claims))
        if rules.repeats(task.record, command.update):
            return self._told(task)
        if command.update.status == "PROCESSING" and task.record.status is Status.CANCELLED:
            return self._told(task)
        if claims is not None:
            await self._release(claims)
            await self._keep_late(command, claims)
        raise conflict(f"the task is already {task.record.status}", slug="already-final")

    async def _progress(self, task: StoredTask, command: UpdateTask) -> UpdateAnswer | None:
        """Where a broker crash took the lease there is nothing to note it in until the leader has written it again."""
        if task.lease is None:
            return self._told(task)
        now, update = self._clock.now_ms(), command.update
        lease = outcomes.progress(task.lease, update.progress, update.metadata, now)
        moved = await self._put(task, lease)
        return self._told(moved) if moved else None

    async def extend(self, command: ExtendTask, actor: Actor) -> ExtendAnswer:
        """Push the attempt's deadline out, at most to the task's own; raises 409 for a stale attempt."""
        claims, proven = None, self._claims(actor)
        for _ in range(ROUNDS_MAX):
            task = await self._load(command.id)
            rules.check_report(actor, proven, task.record)
            claims = proven or claims or _claims_of(task)
            if task.record.status is Status.CANCELLED:
                return ExtendAnswer(cancel=True, deadline=task.record.spec.deadline)
            attempt = None if task.is_terminal else self._attempt(task, claims)
            if attempt is None:
                raise rules.stale(_why_stale(task, claims))
            if task.lease is None:
                raise unavailable("the lease is being restored; try again", 1)
            answer = await self._extend(task, task.lease, command)
            if answer is not None:
                return answer
        raise _contended(command.id)

    async def _extend(self, task: StoredTask, lease: Lease, command: ExtendTask) -> ExtendAnswer | None:
        now = self._clock.now_ms()
        until = min(now + round(command.extend.seconds * 1000), task.record.spec.deadline)
        extended = outcomes.extend(lease, until, now)
        if command.extend.progress is not None:
            extended = outcomes.progress(extended, command.extend.progress, NULL, now)
        if await self._put(task, extended) is None:
            return None
        assert extended.current is not None
        return ExtendAnswer(cancel=False, deadline=extended.current.deadline)

    async def cancel(self, command: CancelTask, actor: Actor, notes: Notes) -> ActAnswer:
        """Of the generation that is there now, or that the caller has seen.

        Raises 404, 403, 409 when the task has already ended otherwise, 412 when it is in another generation.
        """
        if command.reason is not None:
            check_text(command.reason, "reason")
        generation = 0
        for _ in range(ROUNDS_MAX):
            task = await self._load(command.id)
            rules.check_steer(actor, task.record)
            rules.check_generation(command.generation, task.record)
            generation = generation or task.record.generation
            notes.before = _stand(task.record)
            if generation == task.record.generation and task.record.status is not Status.CANCELLED:
                if task.is_terminal:
                    raise conflict(f"the task is already {task.record.status}", slug="already-final")
                record = outcomes.cancel(task.record, task.lease, command.reason, self._clock.now_ms())
                try:
                    await self._shelf.live.finish(record, task.revision, new_operation_id())
                except RevisionMoved:
                    continue
                notes.after = {**_stand(record), "reason": command.reason}
            return ActAnswer(id=command.id, status=Status.CANCELLED, success=True, message="Task cancelled")
        raise _contended(command.id)

    async def retry(self, command: RetryTask, actor: Actor, notes: Notes) -> ActAnswer:
        """The next generation of an ended task; raises 409 for a live or completed one, 412 when the caller has seen
        another generation than that which is there, unless it is this very request that made the next one."""
        generation, task_id = 0, command.id
        for _ in range(ROUNDS_MAX):
            task = await self._load(task_id)
            rules.check_steer(actor, task.record)
            notes.before = _stand(task.record)
            if rules.is_retried_by(actor, command.generation, task.record):
                return _queued(task_id)
            rules.check_generation(command.generation, task.record)
            generation = generation or task.record.generation
            if task.record.generation > generation:
                return _queued(task_id)
            after(task.record.status, Event.RETRIED_BY_HAND)
            record = outcomes.renew(task.record, self._clock.now_ms(), actor.request_id)
            try:
                await self._shelf.live.reopen(record, task.revision, new_operation_id())
            except RevisionMoved:
                continue
            notes.after = _stand(record)
            return _queued(task_id)
        raise _contended(task_id)

    def _claims(self, actor: Actor) -> AttemptClaims | None:
        token = actor.attempt_token
        return self._tokens.verify(token, self._clock.now_ms()) if token else None

    async def _load(self, task_id: str) -> StoredTask:
        task = await self._shelf.get(task_id)
        if task is None:
            raise rules.absent(task_id)
        return task

    def _attempt(self, task: StoredTask, claims: AttemptClaims | None) -> CurrentAttempt | None:
        """The attempt a report speaks of, if it is the current one. A token proves its attempt even if a broker crash
        took the lease."""
        current = task.lease.current if task.lease else None
        if claims is None:
            return current
        if claims.generation != task.record.generation:
            return None
        if task.lease is None:
            return _claimed(claims, self._clock.now_ms())
        matches = current is not None and (current.number, current.server_id) == (claims.number, claims.server_id)
        return current if matches else None

    async def _put(self, task: StoredTask, lease: Lease) -> StoredTask | None:
        try:
            revision = await self._shelf.live.put_lease(task.record.id, lease, task.lease_revision, new_operation_id())
        except RevisionMoved:
            return None
        return StoredTask(task.record, task.revision, lease, revision)

    async def _release(self, claims: AttemptClaims) -> None:
        """A late final word proves that the server no longer runs the attempt."""
        release = Release(task_id=claims.task_id, generation=claims.generation, number=claims.number)
        await self._bus.publish(VIEW_RELEASES, encode(release))

    async def _keep_late(self, command: UpdateTask, claims: AttemptClaims | None) -> None:
        if claims is not None and command.update.status != "PROCESSING":
            outcome = rules.outcome_of(command.update)
            await self._late.keep(command.id, claims.generation, claims.number, claims.server_id, outcome)

    def _told(self, task: StoredTask) -> UpdateAnswer:
        view = rules.show(task, with_payload=False)
        current = task.lease.current if task.lease and not task.is_terminal else None
        return UpdateAnswer(
            id=view.id,
            status=view.status,
            updated_at=view.updated_at,
            message="Task updated",
            cancel=view.status is Status.CANCELLED,
            deadline=current.deadline if current else view.deadline,
        )


def _stand(record: TaskRecord) -> dict[str, Any]:
    """What the audit trail shows of a task that was steered."""
    return {"status": record.status, "generation": record.generation}


def _queued(task_id: str) -> ActAnswer:
    return ActAnswer(id=task_id, status=Status.PENDING, success=True, message="Task queued for retry")


def _claims_of(task: StoredTask) -> AttemptClaims | None:
    """A report without a token speaks of the attempt that runs when it comes, and of no later one."""
    current = task.lease.current if task.lease is not None else None
    if current is None or task.is_terminal:
        return None
    return AttemptClaims(
        task_id=task.record.id,
        generation=task.record.generation,
        number=current.number,
        server_id=current.server_id,
        expires_at=current.deadline,
    )


def _claimed(claims: AttemptClaims, now: int) -> CurrentAttempt:
    return CurrentAttempt(
        number=claims.number,
        server_id=claims.server_id,
        executor="",
        started_at=now,
        start_by=now,
        deadline=claims.expires_at,
        epoch=0,
    )


def _with_attempt(task: StoredTask, attempt: CurrentAttempt) -> StoredTask:
    if task.lease is not None:
        return task
    lease = Lease(generation=task.record.generation, attempt=attempt.number, current=attempt)
    return StoredTask(task.record, task.revision, lease, task.lease_revision)


def _why_stale(task: StoredTask, claims: AttemptClaims | None) -> str:
    if claims is None:
        return "no attempt of this task is running"
    if claims.generation != task.record.generation:
        return f"the task is in generation {task.record.generation}, the report is of {claims.generation}"
    return f"attempt {claims.number} on {claims.server_id} is no longer the current one"


def _contended(task_id: str) -> Exception:
    return unavailable(f"task {task_id} is being changed by others; try again", 1)
