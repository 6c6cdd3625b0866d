"""Acts on all tasks that match a filter: jobs in a bucket, each run by one replica and taken over when that dies."""

import asyncio

import msgspec
import structlog
from msgspec.structs import replace

from pointsman.client.bus import Bus, BusError
from pointsman.client.call import call
from pointsman.contracts.actor import Actor, Role
from pointsman.contracts.base import Request, encode
from pointsman.contracts.commands import CancelTask, RetryTask
from pointsman.contracts.errors import PointsmanError, forbidden, not_found, overloaded, refused
from pointsman.contracts.ids import new_job_id, new_operation_id
from pointsman.contracts.search import BULK_TASKS_MAX, BulkCommand, Job, MarkedTask
from pointsman.contracts.subjects import BUCKET_JOBS, HEADER_JOB, stream_of, verb
from pointsman.services.history import job_rules
from pointsman.services.history.finder import Count
from pointsman.services.history.job_rules import JobRecord, Outcome
from pointsman.services.history.searching import Search, Searcher
from pointsman.services.runtime.bulk import every_message
from pointsman.services.runtime.clock import Clock
from pointsman.services.runtime.kv import Bucket, RevisionMoved
from pointsman.services.runtime.loop import Background, gather_all

log = structlog.get_logger()

RUNNING_MAX = 4
CHUNK = 100
ABREAST = 16
KEPT_S = 7 * 86_400
ORPHANED_MS = 15_000
PAUSE_S = 2.0
PATIENCE_MS = 600_000
MOVED_ON = (404, 409, 412)
STEERERS = (Role.ADMIN, Role.OPERATOR)
_JOB = msgspec.json.Decoder(JobRecord)


class Jobs:
    def __init__(
        self, bus: Bus, bucket: Bucket, searcher: Searcher, clock: Clock, instance: str, background: Background
    ) -> None:
        self._bus = bus
        self._bucket = bucket
        self._searcher = searcher
        self._clock = clock
        self._instance = instance
        self._background = background
        self._running: set[str] = set()

    async def begin(self, command: BulkCommand, actor: Actor, operation: str = "") -> Job:
        """Count, and unless it is a dry run begin. Raises 400, 403, 422 above 100,000 tasks, 429 while four run.

        Asked again under the same operation it answers with the job that runs already.
        """
        require_steerer(actor)
        job_id = new_job_id(actor.sub, operation)
        record = job_rules.new(command, actor, job_id, self._instance, self._clock.now_ms())
        if operation and not command.bulk.dry_run:
            begun = await self._bucket.get(job_id, latest=True)
            if begun is not None:
                return _JOB.decode(begun.data).job
        count = await self._count(record)
        if count.is_estimate:
            raise refused(
                "filter", f"about {count.tasks} tasks match, at most {BULK_TASKS_MAX} can be acted on at once"
            )
        record = replace(record, job=replace(record.job, total=count.tasks))
        if command.bulk.dry_run:
            return replace(record.job, status="COUNTED")
        if len(self._running) >= RUNNING_MAX:
            raise overloaded(f"{RUNNING_MAX} jobs are running here", 5)
        try:
            revision = await self._bucket.create(job_id, encode(record), operation=new_operation_id(), ttl_s=KEPT_S)
        except RevisionMoved:
            return await self.get(job_id, actor)
        self._run(record, revision)
        return record.job

    async def get(self, job_id: str, actor: Actor) -> Job:
        require_steerer(actor)
        entry = await self._bucket.get(job_id, latest=True)
        if entry is None:
            raise not_found(f"no job {job_id}; they are kept for {KEPT_S // 86_400} days")
        return _JOB.decode(entry.data).job

    async def adopt(self) -> None:
        """Go on with jobs of which nobody has been heard for 15 s."""
        async for message in every_message(self._bus, stream_of(BUCKET_JOBS)):
            if not message.data or len(self._running) >= RUNNING_MAX:
                continue
            record, now = _JOB.decode(message.data), self._clock.now_ms()
            if job_rules.is_orphan(record, now, ORPHANED_MS) and record.job.id not in self._running:
                log.warning("job taken over", job=record.job.id, held_by=record.holder)
                claimed = replace(record, holder=self._instance, job=replace(record.job, updated_at=now))
                try:
                    revision = await self._put(claimed, int(message.headers["Nats-Sequence"]))
                except RevisionMoved:
                    continue
                self._run(claimed, revision)

    def _run(self, record: JobRecord, revision: int) -> None:
        self._running.add(record.job.id)
        task = self._background.run(self._work(record, revision), f"job {record.job.id}")
        task.add_done_callback(lambda _: self._running.discard(record.job.id))

    async def _work(self, record: JobRecord, revision: int) -> None:
        """Chunk by chunk, noting after each how far it is. Another replica's claim ends it here."""
        heard_ms = self._clock.now_ms()
        while record.job.status == "RUNNING":
            try:
                record = await self._step(record)
                heard_ms = self._clock.now_ms()
            except (PointsmanError, BusError) as error:
                log.warning("job waits", job=record.job.id, error=str(error))
                await asyncio.sleep(PAUSE_S)
                if self._clock.now_ms() - heard_ms > PATIENCE_MS:
                    record = job_rules.stopped(record, f"stopped: {error}")
            record = replace(record, job=replace(record.job, updated_at=self._clock.now_ms()))
            try:
                revision = await self._put(record, revision)
            except RevisionMoved:
                log.warning("job was taken over by another process", job=record.job.id)
                return
            except (PointsmanError, BusError) as error:
                log.warning("job could not be noted", job=record.job.id, error=str(error))
        log.info("job ended", job=record.job.id, status=record.job.status, done=record.job.done)

    async def _step(self, record: JobRecord) -> JobRecord:
        if record.marked:
            chosen, last = job_rules.next_marked(record, CHUNK), None
        else:
            hits = await self._searcher.hits(self._search(record), record.after, CHUNK)
            chosen, last = tuple(MarkedTask(id=task.id) for task in hits.tasks), hits.last
        places = asyncio.Semaphore(ABREAST)

        async def one(task: MarkedTask) -> Outcome:
            async with places:
                return await self._act(record, task)

        return job_rules.after_chunk(record, await gather_all([one(task) for task in chosen]), last)

    async def _act(self, record: JobRecord, task: MarkedTask) -> Outcome:
        """Raises 429 and 503, after which the chunk is looked at again."""
        job, task_id = record.job, task.id
        request: Request
        if job.kind == "retry":
            request = RetryTask(id=task_id, generation=task.generation)
        else:
            request = CancelTask(id=task_id, reason=record.reason, generation=task.generation)
        actor = Actor(sub=job.by, roles=record.roles, request_id=job.id)
        try:
            await call(self._bus, verb("task", job.kind), encode(request), actor, headers={HEADER_JOB: job.id})
        except PointsmanError as error:
            if error.status in (429, 503):
                raise
            return Outcome(task_id, is_skipped=error.status in MOVED_ON, error=error.detail)
        return Outcome(task_id)

    async def _count(self, record: JobRecord) -> Count:
        if record.marked:
            return Count(len(record.marked), is_estimate=False)
        return await self._searcher.count(self._search(record), BULK_TASKS_MAX)

    def _search(self, record: JobRecord) -> Search:
        terms = job_rules.terms_of(record)
        return self._searcher.search(terms, job_rules.span(terms, record), None)

    async def _put(self, record: JobRecord, revision: int) -> int:
        return await self._bucket.update(
            record.job.id, encode(record), revision=revision, operation=new_operation_id(), ttl_s=KEPT_S
        )


def require_steerer(actor: Actor) -> None:
    if not actor.has(*STEERERS):
        raise forbidden("Admin or operator role required")
