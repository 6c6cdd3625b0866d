"""The history service: archives in the background, answers what was archived and how far it is."""

import asyncio
from datetime import datetime

import msgspec

from pointsman.client.bus import BusError
from pointsman.contracts.commands import TaskId
from pointsman.contracts.errors import PointsmanError, not_found, unavailable
from pointsman.contracts.history import HistoryStatus
from pointsman.contracts.search import AuditPage, AuditQuery, BulkCommand, Job, JobId, SearchTasks, TaskPage
from pointsman.contracts.subjects import BUCKET_JOBS, CONSUMER_HISTORY, STREAM_HISTORY
from pointsman.services.history import finder, store
from pointsman.services.history.cursor import Cursors
from pointsman.services.history.finder import Finder
from pointsman.services.history.jobs import Jobs
from pointsman.services.history.loops import Archiver
from pointsman.services.history.retention import Retention
from pointsman.services.history.rollups import Folding
from pointsman.services.history.searching import Searcher
from pointsman.services.history.store import DatabaseAway, HistoryStore, Pool
from pointsman.services.history.trail import AuditReader, AuditWriter
from pointsman.services.history.webhooks import Announcer
from pointsman.services.runtime import buckets
from pointsman.services.runtime.audit import Audited
from pointsman.services.runtime.context import Context, RunningService
from pointsman.services.runtime.kv import KvBucket
from pointsman.services.runtime.leader import Leadership
from pointsman.services.runtime.loop import Background
from pointsman.services.runtime.serve import Answer, Call, Serving, Verb, serve
from pointsman.services.version import VERSION

GETS_MAX, SEARCHES_MAX = 64, 16
RETENTION_EVERY_S = 60.0
ADOPT_EVERY_S = 5.0
DAYS_EVERY_S = 3_600.0
PULL_AGAIN_S = 1.0
CLOSE_S = 5.0
_TASK_ID = msgspec.json.Decoder(TaskId)
_SEARCH = msgspec.json.Decoder(SearchTasks)
_BULK = msgspec.json.Decoder(BulkCommand)
_JOB_ID = msgspec.json.Decoder(JobId)
_AUDIT = msgspec.json.Decoder(AuditQuery)


class _ConsumerInfo(msgspec.Struct):
    num_pending: int
    num_ack_pending: int


class _StreamState(msgspec.Struct):
    messages: int
    first_ts: datetime


class HistoryService:
    """Verbs of `pointsman.history`. The task service decides who may see a record before it asks."""

    def __init__(self, context: Context, pool: Pool, search_pool: Pool, background: Background) -> None:
        bus, clock, settings = context.bus, context.clock, context.settings
        self._context = context
        self._store = HistoryStore(pool)
        cursors = Cursors(settings.jwt_secret)
        self._searcher = Searcher(bus, Finder(search_pool), cursors, clock)
        jobs = KvBucket(bus, BUCKET_JOBS)
        self._jobs = Jobs(bus, jobs, self._searcher, clock, context.instance, background)
        self._audit = AuditReader(search_pool, cursors, clock)
        self._audit_writer = AuditWriter(bus, pool, clock)
        self.leadership = Leadership(context, "history.retention")
        self._retention = Retention(self._store, self.leadership, clock, settings.retention_days)
        self._announcer = Announcer(bus, clock)
        self._folding = Folding(self._store)
        self._archiver = Archiver(bus, self._store, clock, self._announcer, self._folding.note)

    async def get(self, call: Call) -> Answer:
        """The bytes of the last stored record; 404, or 503 while Postgres is away."""
        task_id = call.decode(_TASK_ID).id
        try:
            record = await self._store.get(task_id)
        except DatabaseAway as error:
            raise unavailable("the history database is not reachable") from error
        if record is None:
            raise not_found(f"no task {task_id}")
        return Answer(record)

    async def status(self, _call: Call) -> HistoryStatus:
        archiver = self._archiver
        backlog, lag_ms, (dead_letters, silence) = await asyncio.gather(
            self._backlog(), self._lag_ms(), self._dead_letters()
        )
        trouble = archiver.trouble or silence or None
        return HistoryStatus(
            connected=trouble is None,
            trouble=trouble,
            backlog=backlog,
            lag_ms=lag_ms,
            dead_letters=dead_letters,
            held=archiver.puller.held,
            committed=archiver.committed,
            buried=archiver.buried,
            last_commit=archiver.last_commit,
            as_of=self._context.clock.now_ms(),
        )

    async def _backlog(self) -> int | None:
        """What the consumer has not been acknowledged, over all replicas."""
        try:
            answer = await buckets.api(self._context.bus, f"CONSUMER.INFO.{STREAM_HISTORY}.{CONSUMER_HISTORY}")
        except (BusError, PointsmanError):
            return None
        info = msgspec.convert(answer, _ConsumerInfo)
        return info.num_pending + info.num_ack_pending

    async def _lag_ms(self) -> int | None:
        """The age of the first record of the stream: those that are archived leave it."""
        try:
            info = await buckets.api(self._context.bus, f"STREAM.INFO.{STREAM_HISTORY}")
        except (BusError, PointsmanError):
            return None
        state = msgspec.convert(info["state"], _StreamState)
        if not state.messages:
            return 0
        return max(0, self._context.clock.now_ms() - round(state.first_ts.timestamp() * 1000))

    async def _dead_letters(self) -> tuple[int | None, str]:
        """How many, or why Postgres does not tell."""
        try:
            return await self._store.dead_letters(), ""
        except DatabaseAway as error:
            return None, str(error) or "it does not answer in time"

    async def search(self, call: Call) -> TaskPage:
        return await self._searcher.page(call.decode(_SEARCH), call.actor)

    async def bulk(self, call: Call) -> Job:
        command = call.decode(_BULK)
        call.notes.is_plan = command.bulk.dry_run
        job = await self._jobs.begin(command, call.actor, call.operation)
        call.notes.target, call.notes.after = job.id, job
        return job

    async def job(self, call: Call) -> Job:
        return await self._jobs.get(call.decode(_JOB_ID).id, call.actor)

    async def audit(self, call: Call) -> AuditPage:
        return await self._audit.page(call.decode(_AUDIT), call.actor)

    def verbs(self) -> list[Verb]:
        return [
            Verb("get", self.get, GETS_MAX),
            Verb("status", self.status, GETS_MAX),
            Verb("search", self.search, SEARCHES_MAX),
            Verb("bulk", self.bulk, SEARCHES_MAX, audit=Audited()),
            Verb("job", self.job, GETS_MAX),
            Verb("audit", self.audit, SEARCHES_MAX),
        ]

    def work(self, background: Background) -> None:
        background.every(DAYS_EVERY_S, self._archiver.ensure_days_ahead, "history days")
        background.run(self._announcer.listen(), "ends heard")
        background.every(0, self._announcer.step, "webhooks announced")
        background.every(0, self._archiver.step, "history archiver")
        background.every(PULL_AGAIN_S, self._archiver.puller.run, "history puller")
        background.every(0, self._folding.step, "rollups")
        background.every(0, self._audit_writer.step, "audit writer")
        background.every(PULL_AGAIN_S, self._audit_writer.puller.run, "audit puller")
        background.every(RETENTION_EVERY_S, self._retention.step, "retention")
        background.every(ADOPT_EVERY_S, self._jobs.adopt, "jobs")

    async def hand_back(self) -> None:
        await self._archiver.hand_back()


class RunningHistory:
    def __init__(self, context: Context) -> None:
        self._context = context
        self._background = Background()
        self._service: HistoryService | None = None
        self._serving: Serving | None = None
        self._pools: list[Pool] = []

    async def start(self) -> None:
        """Does not wait for Postgres."""
        dsn = self._context.settings.postgres_dsn
        pool, search_pool = await store.connect(dsn), await finder.connect(dsn)
        self._pools = [pool, search_pool]
        self._service = service = HistoryService(self._context, pool, search_pool, self._background)
        await service.leadership.start()
        service.work(self._background)
        self._serving = await serve(self._context.bus, "history", VERSION, service.verbs())

    async def stop(self) -> None:
        if self._serving:
            await self._serving.drain()
        await self._background.stop()
        if self._service:
            await self._service.hand_back()
            await self._service.leadership.stop()
        for pool in self._pools:
            await store.close(pool, within_s=CLOSE_S)


def build(context: Context) -> RunningService:
    return RunningHistory(context)
