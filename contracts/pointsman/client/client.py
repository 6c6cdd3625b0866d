"""The typed client: `Client(bus, actor).tasks.submit(...)`; every answer is a contract struct, every refusal an error."""

from collections.abc import AsyncIterator, Awaitable
from contextlib import aclosing
from typing import Protocol

import msgspec

from pointsman.client.bus import Bus, Message
from pointsman.contracts.actor import Actor
from pointsman.contracts.alerts import AlertList, ListedAlert
from pointsman.contracts.balancer import AlgorithmAnswer, AlgorithmRequest, BalancerStatus
from pointsman.contracts.base import Request, encode
from pointsman.contracts.bulk import MaintainManyAnswer, MaintainManyRequest
from pointsman.contracts.commands import (
    BeatServer,
    CancelTask,
    ChangeServer,
    ExtendTask,
    MaintainServer,
    RegisterServer,
    RetryTask,
    TaskId,
    UpdateTask,
)
from pointsman.contracts.events import TaskEvent
from pointsman.contracts.explain import Explanation
from pointsman.contracts.frames import AcknowledgeRequest, Frame
from pointsman.contracts.search import AuditPage, AuditQuery, BulkCommand, Job, JobId, SearchTasks, TaskPage
from pointsman.contracts.server import (
    HeartbeatAnswer,
    HeartbeatRequest,
    MaintenanceAnswer,
    MaintenanceRequest,
    RegisterAnswer,
    Server,
    ServerChanged,
    ServerId,
    ServerPage,
    ServerPatch,
    ServerQuery,
    ServerRequest,
    UnregisterAnswer,
)
from pointsman.contracts.statistics import (
    FleetStatistics,
    HourlyStatistics,
    LoadBalancerStatistics,
    ServerStatistics,
    StatisticsQuery,
    TaskStatistics,
    TypesStatistics,
)
from pointsman.contracts.steering import (
    ChangePool,
    DeclareType,
    LimitEntry,
    LimitName,
    LimitPage,
    LimitRequest,
    PageRequest,
    PlanPool,
    PoolName,
    PoolPage,
    PoolPatch,
    PoolPlan,
    PoolRequest,
    PoolView,
    Removed,
    ReplacePool,
    SetLimit,
    TypeName,
    TypePage,
    TypeRequest,
    TypeView,
)
from pointsman.contracts.subjects import HEADER_IDEMPOTENCY_KEY, HEADER_OPERATION, HEADER_REVISION, verb
from pointsman.contracts.task import (
    ActAnswer,
    BatchAnswer,
    BatchRequest,
    ExtendAnswer,
    ExtendRequest,
    Task,
    TaskRequest,
    TaskUpdate,
    UpdateAnswer,
)


class Call(Protocol):
    """How one request is made; `pointsman.client.call.call` where there is an event loop."""

    def __call__(
        self, bus: Bus, subject: str, data: bytes, actor: Actor, *, headers: dict[str, str] | None = None
    ) -> Awaitable[Message]: ...


class _Verbs:
    """One service's verbs as one actor."""

    def __init__(self, bus: Bus, actor: Actor, service: str, call: Call) -> None:
        self._bus = bus
        self._actor = actor
        self._service = service
        self._call = call

    async def _ask[T](self, name: str, request: Request, answer: type[T], headers: dict[str, str] | None = None) -> T:
        message = await self._call(self._bus, verb(self._service, name), encode(request), self._actor, headers=headers)
        return msgspec.json.decode(message.data, type=answer)


def _named(operation: str) -> dict[str, str] | None:
    """The caller's name for an act: under one name it is done once, so that it may be sent again."""
    return {HEADER_OPERATION: operation} if operation else None


class Tasks(_Verbs):
    async def submit(self, request: TaskRequest, *, idempotency_key: str | None = None) -> Task:
        headers = {HEADER_IDEMPOTENCY_KEY: idempotency_key} if idempotency_key else None
        return await self._ask("create", request, Task, headers)

    async def submit_many(self, requests: list[TaskRequest]) -> BatchAnswer:
        items = tuple(msgspec.Raw(encode(request)) for request in requests)
        return await self._ask("batch", BatchRequest(tasks=items), BatchAnswer)

    async def get(self, task_id: str) -> Task:
        return await self._ask("get", TaskId(id=task_id), Task)

    async def wait(self, task_id: str, timeout_s: float) -> Task:
        """The ended task, or the task as it stands after `timeout_s`."""
        from pointsman.client.wait import until_terminal

        message = await until_terminal(self._bus, self._actor, task_id, timeout_s)
        return msgspec.json.decode(message.data, type=Task)

    async def events(self, task_id: str) -> AsyncIterator[TaskEvent]:
        """What has happened to the task, then what happens, until it has ended."""
        from pointsman.client.events import Lives

        async with aclosing(Lives(self._bus).follow(self._actor, task_id)) as told:
            async for one in told:
                if one is not None:
                    yield one[1]

    async def update(self, task_id: str, update: TaskUpdate) -> UpdateAnswer:
        return await self._ask("update", UpdateTask(id=task_id, update=update), UpdateAnswer)

    async def extend(self, task_id: str, extend: ExtendRequest) -> ExtendAnswer:
        return await self._ask("extend", ExtendTask(id=task_id, extend=extend), ExtendAnswer)

    async def cancel(self, task_id: str, reason: str | None = None, *, generation: int | None = None) -> ActAnswer:
        return await self._ask("cancel", CancelTask(id=task_id, reason=reason, generation=generation), ActAnswer)

    async def explain(self, task_id: str) -> Explanation:
        return await self._ask("explain", TaskId(id=task_id), Explanation)

    async def retry(self, task_id: str, *, generation: int | None = None) -> ActAnswer:
        return await self._ask("retry", RetryTask(id=task_id, generation=generation), ActAnswer)


class Servers(_Verbs):
    async def register(self, request: ServerRequest, *, if_match: int | None = None) -> RegisterAnswer:
        return await self._ask("register", RegisterServer(server=request, if_match=if_match), RegisterAnswer)

    async def get(self, server_id: str) -> Server:
        return await self._ask("get", ServerId(id=server_id), Server)

    async def list(self, query: ServerQuery | None = None) -> ServerPage:
        return await self._ask("list", query or ServerQuery(), ServerPage)

    async def heartbeat(self, server_id: str, heartbeat: HeartbeatRequest) -> HeartbeatAnswer:
        return await self._ask("heartbeat", BeatServer(id=server_id, heartbeat=heartbeat), HeartbeatAnswer)

    async def revision(self, server_id: str) -> int:
        """What an order is guarded by: it moves with every change of the configuration and every order."""
        asked = encode(ServerId(id=server_id))
        message = await self._call(self._bus, verb(self._service, "get"), asked, self._actor)
        return int(message.headers[HEADER_REVISION])

    async def maintain(
        self, server_id: str, request: MaintenanceRequest, *, if_match: int | None = None, operation: str = ""
    ) -> MaintenanceAnswer:
        asked = MaintainServer(id=server_id, maintenance=request, if_match=if_match)
        return await self._ask("maintenance", asked, MaintenanceAnswer, _named(operation))

    async def maintain_many(self, request: MaintainManyRequest, *, operation: str = "") -> MaintainManyAnswer:
        return await self._ask("maintain-many", request, MaintainManyAnswer, _named(operation))

    async def change(
        self, server_id: str, patch: ServerPatch, *, if_match: int | None = None, operation: str = ""
    ) -> ServerChanged:
        asked = ChangeServer(id=server_id, change=patch, if_match=if_match)
        return await self._ask("change", asked, ServerChanged, _named(operation))

    async def unregister(
        self, server_id: str, *, drain: bool = False, if_match: int | None = None, operation: str = ""
    ) -> UnregisterAnswer:
        asked = ServerId(id=server_id, drain=drain, if_match=if_match)
        return await self._ask("unregister", asked, UnregisterAnswer, _named(operation))


class Balancer(_Verbs):
    async def status(self) -> BalancerStatus:
        return await self._ask("status", ServerQuery(), BalancerStatus)

    async def switch(self, algorithm: str, pool: str = "default") -> AlgorithmAnswer:
        return await self._ask("algorithm", AlgorithmRequest(algorithm=algorithm, pool=pool), AlgorithmAnswer)


class Pools(_Verbs):
    """Settings of pools; `if_match` is the revision the caller has seen, `operation` its name for the act."""

    async def list(self, page: PageRequest | None = None) -> PoolPage:
        return await self._ask("pool.list", page or PageRequest(), PoolPage)

    async def get(self, pool: str) -> PoolView:
        return await self._ask("pool.get", PoolName(pool=pool), PoolView)

    async def plan(self, pool: str, algorithm: str) -> PoolPlan:
        return await self._ask("pool.plan", PlanPool(pool=pool, algorithm=algorithm), PoolPlan)

    async def replace(self, pool: str, settings: PoolRequest, *, if_match: int | None = None) -> PoolView:
        return await self._ask("pool.replace", ReplacePool(pool=pool, settings=settings, if_match=if_match), PoolView)

    async def change(
        self, pool: str, settings: PoolPatch, *, if_match: int | None = None, operation: str = ""
    ) -> PoolView:
        asked = ChangePool(pool=pool, settings=settings, if_match=if_match)
        return await self._ask("pool.change", asked, PoolView, _named(operation))

    async def undo(self, pool: str, *, if_match: int | None = None, operation: str = "") -> PoolView:
        return await self._ask("pool.undo", PoolName(pool=pool, if_match=if_match), PoolView, _named(operation))


class Types(_Verbs):
    """Declared task types."""

    async def list(self, page: PageRequest | None = None) -> TypePage:
        return await self._ask("type.list", page or PageRequest(), TypePage)

    async def get(self, name: str) -> TypeView:
        return await self._ask("type.get", TypeName(type=name), TypeView)

    async def declare(self, name: str, settings: TypeRequest, *, if_match: int | None = None) -> TypeView:
        return await self._ask("type.declare", DeclareType(type=name, settings=settings, if_match=if_match), TypeView)

    async def remove(self, name: str, *, if_match: int | None = None) -> Removed:
        return await self._ask("type.remove", TypeName(type=name, if_match=if_match), Removed)

    async def undo(self, name: str, *, if_match: int | None = None) -> TypeView:
        return await self._ask("type.undo", TypeName(type=name, if_match=if_match), TypeView)


class Limits(_Verbs):
    """Limits of pools, types and concurrency keys; `kind` is pool, type or key."""

    async def list(self, page: PageRequest | None = None) -> LimitPage:
        return await self._ask("limit.list", page or PageRequest(), LimitPage)

    async def set(self, kind: str, name: str, limit: LimitRequest, *, if_match: int | None = None) -> LimitEntry:
        return await self._ask("limit.set", SetLimit(kind=kind, name=name, limit=limit, if_match=if_match), LimitEntry)

    async def clear(self, kind: str, name: str, *, if_match: int | None = None) -> Removed:
        return await self._ask("limit.clear", LimitName(kind=kind, name=name, if_match=if_match), Removed)


class Statistics(_Verbs):
    async def tasks(self, query: StatisticsQuery | None = None) -> TaskStatistics:
        return await self._ask("tasks", query or StatisticsQuery(), TaskStatistics)

    async def hourly(self, date: str | None = None) -> HourlyStatistics:
        """24 hours of a day, today's when none is given."""
        return await self._ask("hourly", StatisticsQuery(date=date), HourlyStatistics)

    async def types(self, query: StatisticsQuery | None = None) -> TypesStatistics:
        return await self._ask("types", query or StatisticsQuery(), TypesStatistics)

    async def servers(self, query: StatisticsQuery | None = None) -> FleetStatistics:
        return await self._ask("fleet", query or StatisticsQuery(), FleetStatistics)

    async def server(self, server_id: str, date: str | None = None) -> ServerStatistics:
        return await self._ask("servers", StatisticsQuery(server_id=server_id, date=date), ServerStatistics)

    async def load_balancer(self) -> LoadBalancerStatistics:
        return await self._ask("load-balancer", StatisticsQuery(), LoadBalancerStatistics)

    async def frame(self) -> Frame:
        """All that a cockpit shows, as of now."""
        return await self._ask("frame", StatisticsQuery(), Frame)

    async def alerts(self) -> AlertList:
        return await self._ask("alerts", StatisticsQuery(), AlertList)

    async def acknowledge(self, request: AcknowledgeRequest) -> ListedAlert:
        """Raises 404 when there is no such alert any more."""
        return await self._ask("acknowledge", request, ListedAlert)


class History(_Verbs):
    async def search(self, request: SearchTasks) -> TaskPage:
        return await self._ask("search", request, TaskPage)

    async def bulk(self, command: BulkCommand, *, operation: str = "") -> Job:
        return await self._ask("bulk", command, Job, _named(operation))

    async def job(self, job_id: str) -> Job:
        return await self._ask("job", JobId(id=job_id), Job)

    async def audit(self, query: AuditQuery) -> AuditPage:
        return await self._ask("audit", query, AuditPage)


class Client:
    def __init__(self, bus: Bus, actor: Actor, call: Call | None = None) -> None:
        ask = call or _usual_call()
        self.bus = bus
        self.actor = actor
        self.tasks = Tasks(bus, actor, "task", ask)
        self.servers = Servers(bus, actor, "registry", ask)
        self.balancer = Balancer(bus, actor, "balancer", ask)
        self.pools = Pools(bus, actor, "balancer", ask)
        self.types = Types(bus, actor, "balancer", ask)
        self.limits = Limits(bus, actor, "balancer", ask)
        self.statistics = Statistics(bus, actor, "statistics", ask)
        self.history = History(bus, actor, "history", ask)


def _usual_call() -> Call:
    """Imported only where it is used, as it brings the event loop."""
    from pointsman.client.call import call

    return call
