"""The statistics service: reports for viewers, operators, admins and users."""

import asyncio
from typing import NoReturn

import msgspec

from pointsman.contracts.actor import Actor, Role
from pointsman.contracts.errors import PointsmanError, forbidden, invalid, unavailable
from pointsman.contracts.ids import SERVER_ID
from pointsman.contracts.server import ServerId
from pointsman.contracts.statistics import (
    FleetStatistics,
    HourlyStatistics,
    LoadBalancerStatistics,
    ServerStatistics,
    StatisticsQuery,
    TaskStatistics,
    TypesStatistics,
)
from pointsman.services.runtime.context import Context, RunningService
from pointsman.services.runtime.loop import Background
from pointsman.services.runtime.serve import Answer, Call, Serving, Verb, VerbHandler, serve
from pointsman.services.statistics import rules, store
from pointsman.services.statistics.aggregator import Aggregator
from pointsman.services.statistics.lasting import Lasting
from pointsman.services.statistics.live import Live
from pointsman.services.statistics.outage import Outage
from pointsman.services.statistics.spans import Range, day_before
from pointsman.services.statistics.store import DatabaseAway, Pool, StatisticsStore, TooLong
from pointsman.services.version import VERSION

REPORTS_MAX = 32
CLOSE_S = 5.0
TOO_LONG = "the report takes too long; let the range begin and end at full hours"
READERS = (Role.VIEWER, Role.OPERATOR, Role.ADMIN, Role.USER)
_QUERY = msgspec.json.Decoder(StatisticsQuery)
_SERVER = msgspec.json.Decoder(ServerId)


class StatisticsService:
    """Verbs of `pointsman.statistics`. While Postgres is away the last report of the same question is told again: only
    who finds out that it is has to wait."""

    def __init__(self, context: Context, pool: Pool, background: Background) -> None:
        self._clock = context.clock
        self._store = StatisticsStore(pool)
        self._live = Live(context.bus)
        self._lasting = Lasting()
        self._outage = Outage(self._store.look, background)

    async def tasks(self, call: Call) -> TaskStatistics:
        now_ms = self._clock.now_ms()
        span = rules.range_of(call.decode(_QUERY), now_ms)
        before = day_before(span, now_ms)
        as_of, (pending, processing) = await asyncio.gather(self._as_of(call.actor), self._open(call.actor))
        totals = await self._store.totals(span, before)
        ended = totals.all.ended
        return TaskStatistics(
            total_tasks=totals.all.created,
            pending_tasks=pending,
            processing_tasks=processing,
            successful_tasks=ended.successful,
            failed_tasks=ended.failed,
            retried_tasks=ended.retried,
            cancelled_tasks=ended.cancelled,
            timeout_tasks=ended.timed_out,
            average_processing_time=ended.run.mean,
            p50=ended.run.p50,
            p95=ended.run.p95,
            p99=ended.run.p99,
            wait_p50=ended.wait.p50,
            wait_p95=ended.wait.p95,
            wait_p99=ended.wait.p99,
            server_count=len(totals.servers),
            top_servers=rules.top_servers(totals.servers),
            hourly_trend=rules.trend(totals.hours),
            as_of=as_of,
            vs=rules.day_before_of(before, totals.before),
        )

    async def hourly(self, call: Call) -> HourlyStatistics:
        query, now_ms = call.decode(_QUERY), self._clock.now_ms()
        if query.from_ms is not None or query.to_ms is not None:
            raise invalid("date", "hours are reported for one day: give date, not from and to")
        day = rules.day_range(query.date, now_ms)
        as_of = await self._as_of(call.actor)
        found = await self._store.hours(day, rules.running_hour(now_ms))
        return HourlyStatistics(
            date=rules.date_of(day.start),
            hourly_breakdown=rules.breakdown(day, found.hours, found.running, now_ms),
            as_of=as_of,
        )

    async def types(self, call: Call) -> TypesStatistics:
        span = rules.range_of(call.decode(_QUERY), self._clock.now_ms())
        as_of = await self._as_of(call.actor)
        found = await self._store.types(span)
        figures = tuple(rules.type_figures(name, counted) for name, counted in found.types)
        return TypesStatistics(types=figures, total=found.total, as_of=as_of)

    async def fleet(self, call: Call) -> FleetStatistics:
        span = rules.range_of(call.decode(_QUERY), self._clock.now_ms())
        as_of = await self._as_of(call.actor)
        found = await self._store.fleet(span)
        figures = tuple(rules.server_figures(served) for served in found.servers)
        return FleetStatistics(servers=figures, total=found.total, as_of=as_of)

    async def servers(self, call: Call) -> ServerStatistics:
        query = call.decode(_QUERY)
        span = rules.range_of(query, self._clock.now_ms())
        return await self._server(call.actor, query.server_id or "", span)

    async def window(self, call: Call) -> ServerStatistics:
        """One server over the last `window`, an hour when not given."""
        query = call.decode(_SERVER)
        return await self._server(call.actor, query.id, rules.window_range(query.window, self._clock.now_ms()))

    async def load_balancer(self, call: Call) -> LoadBalancerStatistics:
        status = await self._live.balancer(call.actor)
        if status is not None:
            return rules.load_balancer(status)
        return rules.without_leader(pending=await self._store.open_tasks(), as_of=self._clock.now_ms())

    def verbs(self) -> list[Verb]:
        handlers: dict[str, VerbHandler] = {
            "tasks": self.tasks,
            "hourly": self.hourly,
            "types": self.types,
            "fleet": self.fleet,
            "servers": self.servers,
            "window": self.window,
            "load-balancer": self.load_balancer,
        }
        return [Verb(name, self._guarded(name, handler), REPORTS_MAX) for name, handler in handlers.items()]

    async def _server(self, actor: Actor, server_id: str, span: Range) -> ServerStatistics:
        if not SERVER_ID.fullmatch(server_id):
            raise invalid("serverId", "must be 1-64 characters of A-Z a-z 0-9 . _ -")
        as_of, registered_at = await asyncio.gather(self._as_of(actor), self._live.registered_at(server_id))
        served = await self._store.server(span, server_id)
        figures = msgspec.structs.asdict(rules.server_figures(served))
        return ServerStatistics(
            **figures,
            uptime=None if registered_at is None else max(0, self._clock.now_ms() - registered_at),
            as_of=as_of,
        )

    def _guarded(self, name: str, handler: VerbHandler) -> VerbHandler:
        async def handle(call: Call) -> Answer | msgspec.Struct:
            if not call.actor.has(*READERS):
                raise forbidden("Viewer role required")
            question = (name, call.data, rules.date_of(self._clock.now_ms()))
            if self._outage.lasts and (known := self._lasting.again(question)):
                return known
            try:
                report = await handler(call)
            except TooLong:
                raise PointsmanError(422, TOO_LONG, slug="range-too-long") from None
            except DatabaseAway as error:
                self._outage.note()
                return self._lasting.again(question) or _nothing_known(name, error)
            return self._lasting.keep(question, report)

        return handle

    async def _open(self, actor: Actor) -> tuple[int, int]:
        """Pending and processing now, those that wait for their time among the pending; without a balancer, all that
        have not ended in the archive are pending."""
        status = await self._live.balancer(actor)
        return (status.pending + status.waiting, status.active) if status else (await self._store.open_tasks(), 0)

    async def _as_of(self, actor: Actor) -> int | None:
        """Now when everything is archived, else the last moment that is; None when nothing is known."""
        now_ms = self._clock.now_ms()
        archive = await self._live.archive(actor)
        if archive and archive.backlog == 0:
            return now_ms
        return (archive and archive.last_commit) or await self._store.freshness()


def _nothing_known(name: str, error: Exception) -> NoReturn:
    raise unavailable(f"the archive (Postgres) is not reachable, and no earlier {name} report is at hand") from error


class RunningStatistics:
    def __init__(self, context: Context) -> None:
        self._context = context
        self._serving: Serving | None = None
        self._pool: Pool | None = None
        self._background = Background()
        self._aggregator = Aggregator(context)

    async def start(self) -> None:
        """Does not wait for Postgres."""
        self._pool = await store.connect(self._context.settings.postgres_dsn)
        service = StatisticsService(self._context, self._pool, self._background)
        await self._aggregator.start()
        self._serving = await serve(self._context.bus, "statistics", VERSION, service.verbs())

    async def stop(self) -> None:
        if self._serving:
            await self._serving.drain()
        await self._background.stop()
        await self._aggregator.stop()
        if self._pool:
            await store.close(self._pool, within_s=CLOSE_S)


def build(context: Context) -> RunningService:
    return RunningStatistics(context)
