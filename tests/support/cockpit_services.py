"""The services behind a cockpit without a terminal: the registry's own rules over memory, and of the others what acts need.

Everything that would change something is written down, done or not.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import msgspec

from pointsman.client.bus import BusTimeout, Headers, Message, NoResponders
from pointsman.contracts.alerts import ListedAlert
from pointsman.contracts.balancer import PoolStatus
from pointsman.contracts.base import encode
from pointsman.contracts.bulk import MaintainManyRequest
from pointsman.contracts.commands import CancelTask, ChangeServer, RegisterServer, RetryTask, TaskId
from pointsman.contracts.errors import PointsmanError, conflict, not_found, precondition_failed
from pointsman.contracts.ids import new_job_id
from pointsman.contracts.lifecycle import Status
from pointsman.contracts.limits import Kind, PoolSettings
from pointsman.contracts.search import BulkCommand, Job, JobId
from pointsman.contracts.server import HealthState, ServerHealth, ServerId, Wanted
from pointsman.contracts.steering import ChangePool, PlanPool, PoolName
from pointsman.contracts.subjects import HEADER_ERROR_CODE, HEADER_OPERATION, HEADER_REVISION, HEADER_SUB
from pointsman.contracts.task import ActAnswer, Task, TaskRequest
from pointsman.services.balancer import planning
from pointsman.services.balancer import settings_rules as pool_rules
from pointsman.services.balancer.settings_view import pool_view
from pointsman.services.registry import bulk
from pointsman.services.registry.changes import Changes
from pointsman.services.runtime.live_settings import Stored
from tests.support.cockpit_world import World
from tests.unit.test_registry import Desk, asked

NOW = 1_764_427_039_000


@dataclass
class Write:
    """A request that changes something; `operation` is the name under which it was sent."""

    verb: str
    asked: Any
    operation: str
    by: str


@dataclass
class Services:
    """A bus with services on it, who know the servers of a made-up world."""

    world: World
    desk: Desk = field(default_factory=Desk)
    writes: list[Write] = field(default_factory=list)
    tasks: dict[str, Task] = field(default_factory=dict)
    jobs: dict[str, Job] = field(default_factory=dict)
    pool: PoolSettings = field(default_factory=PoolSettings)
    pool_revision: int = 41
    matching: int = 9_870
    held: asyncio.Event | None = None
    answers_lost: int = 0
    refusal: PointsmanError | None = None
    is_connected: bool = True
    round_trip_url: str = "made up"

    async def fill(self) -> None:
        for name, row in self.world.rows.items():
            await self.desk.registration.register(
                RegisterServer(server=asked(id=name, weight=row.weight, max_concurrent=row.max_concurrent)), "setup"
            )
            health = ServerHealth(
                state=HealthState(row.state), since=self.desk.time.ms, registered_at=self.desk.time.ms
            )
            await self.desk.store.put_health(name, health, 0)
            if row.wanted != Wanted.ACTIVE:
                await self.desk.orders.take_out(name, row.by, reason=row.reason, drain_timeout_ms=None)
        self.desk.running(**{name: pulse.running for name, pulse in self.world.pulses.items()})
        self.told()

    def told(self) -> None:
        """The rows of the world say again what the registry knows."""
        for name in list(self.world.rows):
            member = self.desk.fleet.member(name)
            if member is not None and member.config is not None:
                self.world.change(
                    name, wanted=member.admin.wanted, revision=member.revision, weight=member.config.weight
                )

    async def request(
        self, subject: str, data: bytes, *, headers: Headers | None = None, timeout_s: float = 5.0
    ) -> Message:
        service_verb = subject.removeprefix("pointsman.")
        answer = self._verbs().get(service_verb)
        if answer is None:
            raise NoResponders(subject)
        given = dict(headers or {})
        try:
            told = await self._done(answer, data, given)
        except PointsmanError as error:
            return Message(subject, encode(error.problem()), {HEADER_ERROR_CODE: str(error.status)})
        if self.answers_lost and self.writes and self.writes[-1].verb == service_verb:
            self.answers_lost -= 1
            raise BusTimeout(subject)
        return told

    async def _done(self, answer: Callable[..., Any], data: bytes, headers: dict[str, str]) -> Message:
        told = await answer(data, headers)
        return told if isinstance(told, Message) else Message("", encode(told), {})

    async def _write(self, name: str, asked_for: Any, headers: dict[str, str]) -> str:
        operation = headers.get(HEADER_OPERATION, "")
        self.writes.append(Write(name, asked_for, operation, headers.get(HEADER_SUB, "")))
        if self.held is not None:
            await self.held.wait()
        if self.refusal is not None:
            refusal, self.refusal = self.refusal, None
            raise refusal
        return operation

    def _verbs(self) -> dict[str, Callable[..., Any]]:
        return {
            "registry.maintain-many": self._maintain,
            "registry.change": self._change,
            "registry.get": self._get_server,
            "registry.register": self._register,
            "balancer.pool.plan": self._plan_pool,
            "balancer.pool.get": self._get_pool,
            "balancer.pool.change": self._change_pool,
            "balancer.pool.undo": self._undo_pool,
            "task.get": self._get_task,
            "task.cancel": self._cancel,
            "task.retry": self._retry,
            "task.create": self._create,
            "history.bulk": self._bulk,
            "history.job": self._job,
            "statistics.acknowledge": self._acknowledge,
        }

    async def _maintain(self, data: bytes, headers: dict[str, str]) -> Any:
        request = msgspec.json.decode(data, type=MaintainManyRequest)
        planned = bulk.plan(self.desk.fleet, request)
        if request.dry_run:
            return planned
        operation = await self._write("registry.maintain-many", request, headers)
        acting = bulk.Acting(self.desk.orders, self.desk.registration, request, headers[HEADER_SUB], operation)
        return await acting.run(bulk.plan(self.desk.fleet, request))

    async def _change(self, data: bytes, headers: dict[str, str]) -> Any:
        command = msgspec.json.decode(data, type=ChangeServer)
        operation = ""
        if not command.change.dry_run:
            operation = await self._write("registry.change", command, headers)
        return await Changes(self.desk.store, self.desk.fleet).change(command, headers[HEADER_SUB], operation)

    async def _get_server(self, data: bytes, headers: dict[str, str]) -> Any:
        server_id = msgspec.json.decode(data, type=ServerId).id
        member = self.desk.fleet.member(server_id)
        if member is None:
            raise not_found(f"server {server_id} does not exist")
        return Message("", b"{}", {HEADER_REVISION: str(member.revision)})

    async def _register(self, data: bytes, headers: dict[str, str]) -> Any:
        command = msgspec.json.decode(data, type=RegisterServer)
        await self._write("registry.register", command, headers)
        return (await self.desk.registration.register(command, headers[HEADER_SUB])).answer

    def _stored(self) -> Stored:
        return Stored(Kind.POOL, "default", self.pool, self.pool_revision)

    async def _plan_pool(self, data: bytes, headers: dict[str, str]) -> Any:
        command = msgspec.json.decode(data, type=PlanPool)
        wanted = pool_rules.algorithm_of(command.algorithm)
        status = PoolStatus(
            algorithm=self.pool.algorithm, servers=200, eligible=195, pending=4, active_tasks=30, slots=6_304
        )
        now = {"srv-0001": 0.6, "srv-0002": 0.4}
        return planning.plan(self._stored(), status, wanted, 120.0, now, {"srv-0001": 0.5, "srv-0002": 0.5})

    async def _get_pool(self, data: bytes, headers: dict[str, str]) -> Any:
        return pool_view("default", self.pool, self.pool_revision)

    async def _change_pool(self, data: bytes, headers: dict[str, str]) -> Any:
        command = msgspec.json.decode(data, type=ChangePool)
        await self._write("balancer.pool.change", command, headers)
        pool_rules.check_revision(command.if_match, self.pool_revision, self.pool)
        wanted = pool_rules.patched(self.pool, command.settings)
        self.set_pool(wanted, headers[HEADER_SUB])
        return pool_view("default", self.pool, self.pool_revision)

    def set_pool(self, wanted: PoolSettings, by: str) -> None:
        edited = pool_rules.edited(self.pool, wanted, PoolSettings(), by=by, now=NOW)
        assert edited is not None
        self.pool, self.pool_revision = edited, self.pool_revision + 1

    async def _undo_pool(self, data: bytes, headers: dict[str, str]) -> Any:
        command = msgspec.json.decode(data, type=PoolName)
        await self._write("balancer.pool.undo", command, headers)
        pool_rules.check_revision(command.if_match, self.pool_revision, self.pool)
        self.pool = pool_rules.undone(self.pool, PoolSettings(), by=headers[HEADER_SUB], now=NOW)
        self.pool_revision += 1
        return pool_view("default", self.pool, self.pool_revision)

    async def _get_task(self, data: bytes, headers: dict[str, str]) -> Any:
        return self._task(msgspec.json.decode(data, type=TaskId).id)

    def _task(self, task_id: str) -> Task:
        if task_id not in self.tasks:
            raise not_found(f"task {task_id} not found")
        return self.tasks[task_id]

    async def _cancel(self, data: bytes, headers: dict[str, str]) -> Any:
        command = msgspec.json.decode(data, type=CancelTask)
        await self._write("task.cancel", command, headers)
        task = self._task(command.id)
        if command.generation not in (None, task.generation):
            raise precondition_failed(f"the task is in generation {task.generation}")
        if task.status is Status.COMPLETED:
            raise conflict(f"the task is already {task.status}")
        self.tasks[task.id] = msgspec.structs.replace(task, status=Status.CANCELLED)
        return ActAnswer(id=task.id, status=Status.CANCELLED, success=True, message="Task cancelled")

    async def _retry(self, data: bytes, headers: dict[str, str]) -> Any:
        command = msgspec.json.decode(data, type=RetryTask)
        await self._write("task.retry", command, headers)
        return ActAnswer(id=command.id, status=Status.PENDING, success=True, message="Task queued for retry")

    async def _create(self, data: bytes, headers: dict[str, str]) -> Any:
        request = msgspec.json.decode(data, type=TaskRequest)
        await self._write("task.create", request, headers)
        made = a_task(f"task_{len(self.tasks):032x}", type=request.type)
        self.tasks[made.id] = made
        return made

    async def _bulk(self, data: bytes, headers: dict[str, str]) -> Any:
        command = msgspec.json.decode(data, type=BulkCommand)
        total = self.matching if command.bulk.filter else len(command.bulk.tasks)
        job = Job(
            id=new_job_id("x", headers.get(HEADER_OPERATION, "")),
            kind=command.kind,
            status="COUNTED",
            total=total,
            filter=command.bulk.filter,
            by=headers[HEADER_SUB],
            started_at=NOW,
            updated_at=NOW,
        )
        if command.bulk.dry_run:
            return job
        await self._write("history.bulk", command, headers)
        return self.jobs.setdefault(job.id, msgspec.structs.replace(job, status="RUNNING"))

    async def _job(self, data: bytes, headers: dict[str, str]) -> Any:
        return self.jobs[msgspec.json.decode(data, type=JobId).id]

    async def _acknowledge(self, data: bytes, headers: dict[str, str]) -> Any:
        asked_for = msgspec.json.decode(data)
        await self._write("statistics.acknowledge", asked_for, headers)
        return ListedAlert(
            severity="critical",
            kind=asked_for["kind"],
            subject=asked_for["subject"],
            since=NOW,
            detail="",
            screen="servers",
            acknowledged_by=headers[HEADER_SUB],
            note=asked_for["note"],
        )


def a_task(task_id: str, *, type: str = "resize-image", status: Status = Status.FAILED, generation: int = 1) -> Task:
    raw = msgspec.Raw(b"null")
    return Task(
        id=task_id,
        type=type,
        status=status,
        priority=0,
        progress=None,
        server_id="srv-0001",
        result=raw,
        error=None,
        error_code=None,
        created_at=NOW,
        updated_at=NOW,
        started_at=NOW,
        finished_at=None,
        run_at=None,
        deadline=None,
        owner="ann",
        pool="default",
        labels={},
        generation=generation,
        attempts=(),
        attempt=1,
        waiting_for=None,
        capabilities=(),
        max_attempts=4,
        timeout_ms=1_000,
    )
