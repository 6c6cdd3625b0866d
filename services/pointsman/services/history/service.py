"""The history service: archives in the background, answers what was archived and how far it is."""

import msgspec

from pointsman.client.bus import BusError
from pointsman.contracts.base import Message
from pointsman.contracts.commands import TaskId
from pointsman.contracts.errors import PointsmanError, not_found, unavailable
from pointsman.contracts.subjects import CONSUMER_HISTORY, STREAM_HISTORY
from pointsman.services.history import store
from pointsman.services.history.loops import Archiver
from pointsman.services.history.store import DatabaseAway, HistoryStore, Pool
from pointsman.services.runtime import buckets
from pointsman.services.runtime.context import Context, RunningService
from pointsman.services.runtime.loop import Background
from pointsman.services.runtime.serve import Answer, Call, Serving, Verb, serve
from pointsman.services.version import VERSION

GETS_MAX = 64
DAYS_EVERY_S = 3_600.0
PULL_AGAIN_S = 1.0
CLOSE_S = 5.0
_TASK_ID = msgspec.json.Decoder(TaskId)


class HistoryStatus(Message, frozen=True, kw_only=True):
    """`backlog` counts records not yet in Postgres, null when the broker cannot say; `lastCommit` in ms."""

    connected: bool
    backlog: int | None
    held: int
    committed: int
    buried: int
    last_commit: int | None
    as_of: int


class _ConsumerInfo(msgspec.Struct):
    num_pending: int
    num_ack_pending: int


class HistoryService:
    """Verbs of `pointsman.history`. The task service decides who may see a record before it asks."""

    def __init__(self, context: Context, pool: Pool) -> None:
        self._context = context
        self._pool = pool
        self._store = HistoryStore(pool)
        self._archiver = Archiver(context.bus, self._store, context.clock)

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
        return HistoryStatus(
            connected=archiver.is_connected,
            backlog=await self._backlog(),
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

    def verbs(self) -> list[Verb]:
        return [Verb("get", self.get, GETS_MAX), Verb("status", self.status, GETS_MAX)]

    def work(self, background: Background) -> None:
        background.every(DAYS_EVERY_S, self._archiver.ensure_days_ahead, "history days")
        background.every(0, self._archiver.step, "history archiver")
        background.every(PULL_AGAIN_S, self._archiver.puller.run, "history puller")

    async def hand_back(self) -> None:
        await self._archiver.hand_back()


class RunningHistory:
    def __init__(self, context: Context) -> None:
        self._context = context
        self._background = Background()
        self._service: HistoryService | None = None
        self._serving: Serving | None = None
        self._pool: Pool | None = None

    async def start(self) -> None:
        """Does not wait for Postgres."""
        self._pool = await store.connect(self._context.settings.postgres_dsn)
        self._service = service = HistoryService(self._context, self._pool)
        service.work(self._background)
        self._serving = await serve(self._context.bus, "history", VERSION, service.verbs())

    async def stop(self) -> None:
        if self._serving:
            await self._serving.drain()
        await self._background.stop()
        if self._service:
            await self._service.hand_back()
        if self._pool:
            await store.close(self._pool, within_s=CLOSE_S)


def build(context: Context) -> RunningService:
    return RunningHistory(context)
