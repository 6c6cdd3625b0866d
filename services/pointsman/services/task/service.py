"""The task service: verbs create, batch, get, update, extend, cancel and retry on `pointsman.task.*`."""

from random import Random

import msgspec

from pointsman.client.bus import Message, Subscription
from pointsman.contracts.balancer import LoadFrame
from pointsman.contracts.base import Message as Wire
from pointsman.contracts.commands import CancelTask, ExtendTask, RetryTask, TaskId, UpdateTask
from pointsman.contracts.errors import invalid
from pointsman.contracts.ids import is_task_id
from pointsman.contracts.limits import Kind, PoolSettings, TypeSettings
from pointsman.contracts.subjects import (
    BUCKET_IDEMPOTENCY,
    BUCKET_LEASES,
    BUCKET_SETTINGS,
    BUCKET_TASKS,
    HEADER_IDEMPOTENCY_KEY,
    HEADER_REPLAYED,
    HEADER_REVISION,
    HEADER_TASK_ID,
    VIEW_LOAD,
    stream_of,
)
from pointsman.contracts.task import BatchAnswer, BatchRequest
from pointsman.services.runtime.audit import Audited, acts_with_power
from pointsman.services.runtime.context import Context
from pointsman.services.runtime.follow import Followed, Follower
from pointsman.services.runtime.kv import KvBucket
from pointsman.services.runtime.late_answers import LateAnswers
from pointsman.services.runtime.live_settings import followed_setting
from pointsman.services.runtime.loop import gather_all
from pointsman.services.runtime.serve import Answer, Call, Serving, Verb, serve
from pointsman.services.runtime.settling import Settler
from pointsman.services.runtime.task_store import TaskStore
from pointsman.services.runtime.tokens import AttemptTokens
from pointsman.services.task import rules
from pointsman.services.task.admission import Admission
from pointsman.services.task.explaining import explained
from pointsman.services.task.reports import Reports
from pointsman.services.task.store import Archive, IdempotencyKeys, Shelf
from pointsman.services.task.submission import Submission, encoded_view
from pointsman.services.task.types import Types
from pointsman.services.version import VERSION

CREATE_CONCURRENCY = 1024

_ID = msgspec.json.Decoder(TaskId)
_UPDATE = msgspec.json.Decoder(UpdateTask)
_EXTEND = msgspec.json.Decoder(ExtendTask)
_CANCEL = msgspec.json.Decoder(CancelTask)
_RETRY = msgspec.json.Decoder(RetryTask)
_BATCH = msgspec.json.Decoder(BatchRequest)
_LOAD = msgspec.json.Decoder(LoadFrame)


class TaskService:
    def __init__(self, context: Context) -> None:
        bus, clock, settings = context.bus, context.clock, context.settings
        live = TaskStore(KvBucket(bus, BUCKET_TASKS), KvBucket(bus, BUCKET_LEASES), settings.result_ttl_s)
        self._bus = bus
        self._clock = clock
        self._shelf = Shelf(live, Archive(bus))
        self._types = Types(settings.task_types_strict)
        self._admission = Admission(settings.max_backlog)
        self._settings = Follower(bus, stream_of(BUCKET_SETTINGS), self._on_setting)
        keys = IdempotencyKeys(KvBucket(bus, BUCKET_IDEMPOTENCY))
        self._submission = Submission(self._shelf, keys, clock, settings.egress, self._types, self._admission)
        settler, late = Settler(bus, live, clock, Random()), LateAnswers(bus, live, clock)
        self._reports = Reports(bus, self._shelf, settler, AttemptTokens(settings.jwt_secret), late, clock)
        self._serving: Serving | None = None
        self._load: Subscription | None = None

    async def start(self) -> None:
        await self._settings.start()
        await self._settings.caught_up()
        self._load = await self._bus.subscribe(VIEW_LOAD, self._on_load)
        verbs = (
            Verb("create", self._create, CREATE_CONCURRENCY),
            Verb("batch", self._batch, 16),
            Verb("get", self._get, CREATE_CONCURRENCY),
            Verb("update", self._update, CREATE_CONCURRENCY, audit=Audited(acts_with_power)),
            Verb("extend", self._extend),
            Verb("cancel", self._cancel, audit=Audited(acts_with_power)),
            Verb("retry", self._retry, audit=Audited(acts_with_power)),
            Verb("explain", self._explain),
        )
        self._serving = await serve(self._bus, "task", VERSION, verbs)

    async def stop(self) -> None:
        if self._serving:
            await self._serving.drain()
        if self._load:
            await self._load.unsubscribe()
        await self._settings.stop()

    async def _on_load(self, message: Message) -> None:
        self._admission.heard(_LOAD.decode(message.data), self._clock.monotonic_s())

    def _on_setting(self, message: Followed) -> None:
        stored = followed_setting(message)
        if stored is None:
            return
        match stored.settings, stored.kind:
            case TypeSettings() as settings, _:
                self._types.set(stored.name, settings)
            case PoolSettings() as settings, _:
                self._admission.set_pool(stored.name, settings)
            case None, Kind.TYPE:
                self._types.set(stored.name, None)
            case None, Kind.POOL:
                self._admission.set_pool(stored.name, None)
            case _:
                pass

    async def _create(self, call: Call) -> Answer:
        key, task_id = call.headers.get(HEADER_IDEMPOTENCY_KEY), call.headers.get(HEADER_TASK_ID)
        if task_id is not None and not is_task_id(task_id):
            raise invalid(HEADER_TASK_ID, "not a task id")
        accepted = await self._submission.submit(call.data, call.actor, key, task_id)
        headers = {HEADER_REVISION: rules.etag(accepted.task)}
        if accepted.replayed:
            headers[HEADER_REPLAYED] = "true"
        return Answer(encoded_view(accepted.task, with_payload=False), headers)

    async def _batch(self, call: Call) -> BatchAnswer:
        batch = call.decode(_BATCH)
        items = [self._submission.submit_item(bytes(item), call.actor) for item in batch.tasks]
        return BatchAnswer(results=tuple(await gather_all(items)))

    async def _get(self, call: Call) -> Answer:
        task_id = call.decode(_ID).id
        task = await self._shelf.get(task_id) if is_task_id(task_id) else None
        if task is None:
            raise rules.absent(task_id)
        rules.check_visible(call.actor, task.record)
        return Answer(encoded_view(task, with_payload=True), {HEADER_REVISION: rules.etag(task)})

    async def _explain(self, call: Call) -> Wire:
        task_id = call.decode(_ID).id
        task = await self._shelf.get(task_id) if is_task_id(task_id) else None
        if task is None:
            raise rules.absent(task_id)
        rules.check_visible(call.actor, task.record)
        return await explained(self._bus, task, call.actor, self._clock.now_ms())

    async def _update(self, call: Call) -> Wire:
        command = call.decode(_UPDATE)
        _check_id(command.id)
        return await self._reports.update(command, call.actor)

    async def _extend(self, call: Call) -> Wire:
        command = call.decode(_EXTEND)
        _check_id(command.id)
        return await self._reports.extend(command, call.actor)

    async def _cancel(self, call: Call) -> Wire:
        command = call.decode(_CANCEL)
        _check_id(command.id)
        return await self._reports.cancel(command, call.actor, call.notes)

    async def _retry(self, call: Call) -> Wire:
        command = call.decode(_RETRY)
        _check_id(command.id)
        return await self._reports.retry(command, call.actor, call.notes)


def _check_id(task_id: str) -> None:
    if not is_task_id(task_id):
        raise rules.absent(task_id)


def build(context: Context) -> TaskService:
    return TaskService(context)
