"""The task service as its callers meet it, on the fake and on NATS alike; and against a model, whatever gets lost."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from msgspec.structs import replace

from pointsman.client.bus import Bus, Message
from pointsman.client.call import REPEAT_S, call
from pointsman.client.client import Client
from pointsman.contracts.actor import Actor, Role
from pointsman.contracts.balancer import LoadFrame, PoolLoad
from pointsman.contracts.base import encode
from pointsman.contracts.errors import PointsmanError, not_found
from pointsman.contracts.ids import new_operation_id, new_task_id
from pointsman.contracts.lifecycle import Status, is_terminal
from pointsman.contracts.record import Lease
from pointsman.contracts.search import AuditEntry
from pointsman.contracts.subjects import (
    BUCKET_LEASES,
    BUCKET_SETTINGS,
    BUCKET_TASKS,
    HEADER_IDEMPOTENCY_KEY,
    HEADER_REPLAYED,
    HEADER_REVISION,
    VIEW_LOAD,
    VIEW_RELEASES,
    audit_subject,
    verb,
)
from pointsman.contracts.task import ExtendRequest, Task, TaskRequest, TaskUpdate
from pointsman.services.runtime import buckets, kv, outcomes
from pointsman.services.runtime.kv import KvBucket, RevisionMoved
from pointsman.services.runtime.outcomes import Lost, assign
from pointsman.services.runtime.serve import Answer, Call, Verb, serve
from pointsman.services.runtime.task_store import StoredTask, TaskStore, decode_record
from pointsman.services.runtime.tokens import GRACE_MS, AttemptClaims, AttemptTokens
from pointsman.services.task.service import TaskService
from tests.support import worlds
from tests.support.fake_bus import FakeBroker
from tests.support.worlds import SECRET, FakeWorld, World, context, until

world, bus, fake = worlds.world, worlds.bus, worlds.fake

ANN = Actor(sub="ann", roles=(Role.USER,), request_id="r-1")
BOB = Actor(sub="bob", roles=(Role.USER,))
VIEWER = Actor(sub="vic", roles=(Role.VIEWER,))
OPERATOR = Actor(sub="olga", roles=(Role.OPERATOR,))
SERVICE = Actor(sub="backend", roles=(Role.SERVICE,))
TOKENS = AttemptTokens(SECRET)


class Archived:
    """Stands where the history service stands: what has left the bucket."""

    def __init__(self) -> None:
        self.records: dict[str, bytes] = {}

    async def get(self, given: Call) -> Answer:
        task_id = msgspec.json.decode(given.data)["id"]
        if task_id not in self.records:
            raise not_found(task_id)
        return Answer(self.records[task_id])


@dataclass
class Desk:
    """Everything a test of the service needs: callers, and the leader's pen."""

    world: World
    bus: Bus
    service: TaskService
    store: TaskStore
    archived: Archived

    def as_(self, actor: Actor) -> Client:
        return Client(self.bus, actor)

    async def submit(self, actor: Actor = ANN, **fields: Any) -> Task:
        return await self.as_(actor).tasks.submit(TaskRequest(**({"type": "resize"} | fields)))

    async def create(self, body: bytes, actor: Actor = ANN, key: str = "") -> Message:
        headers = {HEADER_IDEMPOTENCY_KEY: key} if key else None
        return await call(self.bus, verb("task", "create"), body, actor, headers=headers)

    async def get(self, task_id: str) -> Task:
        return await self.as_(OPERATOR).tasks.get(task_id)

    async def assign(self, task_id: str, server: str = "a", timeout_ms: int = 60_000) -> str:
        """The lease as the leader would write it; returns the attempt's token."""
        task = await self.stored(task_id)
        now = self.world.clock.now_ms()
        deadline = min(now + timeout_ms, task.record.spec.deadline)
        lease = assign(
            task.lease, task.record.generation, server_id=server, executor="x", epoch=1, now=now, deadline=deadline
        )
        await self.put(task, lease)
        return token(task_id, task.record.generation, lease.attempt, server, deadline + GRACE_MS)

    async def lose_attempt(self, task_id: str) -> None:
        """The executor went away: the task waits for its next attempt."""
        task = await self.stored(task_id)
        assert task.lease is not None
        now = self.world.clock.now_ms()
        lost = outcomes.settle(task.record, task.lease, Lost(reason="gone"), now=now, rng=Random(7))
        assert isinstance(lost, Lease)
        await self.put(task, lost)

    async def stored(self, task_id: str) -> StoredTask:
        task = await self.store.get(task_id)
        assert task is not None
        return task

    async def put(self, task: StoredTask, lease: Lease) -> None:
        await self.store.put_lease(task.record.id, lease, task.lease_revision, new_operation_id())

    async def said(self, task_id: str, attempt_token: str, **update: Any) -> Any:
        return await self.as_(Actor(sub="", attempt_token=attempt_token)).tasks.update(task_id, an_update(**update))


def an_update(status: str = "COMPLETED", result: Any = None, **fields: Any) -> TaskUpdate:
    return TaskUpdate(status=status, result=msgspec.Raw(msgspec.json.encode(result)), **fields)


def token(task_id: str, generation: int, number: int, server: str, expires_at: int = 2**53) -> str:
    claims = AttemptClaims(
        task_id=task_id, generation=generation, number=number, server_id=server, expires_at=expires_at
    )
    return TOKENS.mint(claims)


async def refused(work: Any) -> PointsmanError:
    with pytest.raises(PointsmanError) as refusal:
        await work
    return refusal.value


async def open_desk(world: World, bus: Bus) -> Desk:
    service, archived = TaskService(context(world, bus)), Archived()
    await serve(bus, "history", "1.0.0", [Verb("get", archived.get)])
    await service.start()
    store = TaskStore(KvBucket(bus, BUCKET_TASKS), KvBucket(bus, BUCKET_LEASES), 600)
    return Desk(world, bus, service, store, archived)


@pytest.fixture
async def desk(world: World, bus: Bus) -> AsyncIterator[Desk]:
    opened = await open_desk(world, bus)
    yield opened
    await opened.service.stop()


@pytest.fixture
async def fake_desk(fake: FakeWorld) -> AsyncIterator[Desk]:
    opened = await open_desk(fake, await fake.connect())
    yield opened
    await opened.service.stop()


async def test_a_submitted_task_can_be_read_by_its_owner(desk: Desk) -> None:
    submitted = await desk.submit(payload=msgspec.Raw(b'{"a": 1}'), labels={"team": "x"}, priority=3)
    task = await desk.as_(ANN).tasks.get(submitted.id)
    assert (task.status, task.owner, task.priority, task.labels) == (Status.PENDING, "ann", 3, {"team": "x"})
    assert (bytes(task.payload), task.generation, task.attempt, task.waiting_for) == (b'{"a": 1}', 1, 0, "slot")
    assert msgspec.json.decode(bytes(submitted.payload)) is None


async def test_a_delayed_task_says_when_it_is_due(desk: Desk) -> None:
    task = await desk.submit(delay_ms=60_000)
    assert task.run_at == task.created_at + 60_000
    assert task.waiting_for == "schedule"
    assert task.deadline == task.run_at + 86_400_000


async def test_of_racers_with_one_key_one_makes_the_task_and_all_get_it(desk: Desk) -> None:
    body = encode(TaskRequest(type="resize"))
    answers = await asyncio.gather(*(desk.create(body, key="order-1") for _ in range(20)))
    ids = {msgspec.json.decode(answer.data)["id"] for answer in answers}
    assert len(ids) == 1
    assert sum(HEADER_REPLAYED not in answer.headers for answer in answers) >= 1
    assert (await buckets.api(desk.bus, "STREAM.INFO.KV_tasks"))["state"]["last_seq"] == 1
    again = await desk.create(body, key="order-1")
    assert (msgspec.json.decode(again.data)["id"], again.headers[HEADER_REPLAYED]) == (ids.pop(), "true")


async def test_a_key_belongs_to_its_owner_and_to_one_request(desk: Desk) -> None:
    body, other = encode(TaskRequest(type="resize")), encode(TaskRequest(type="resize", priority=1))
    ann = msgspec.json.decode((await desk.create(body, key="k")).data)["id"]
    bob = msgspec.json.decode((await desk.create(body, actor=BOB, key="k")).data)["id"]
    assert ann != bob
    assert (await refused(desk.create(other, key="k"))).status == 422
    for bad in ("x" * 256, "ümlaut"):
        with pytest.raises((PointsmanError, UnicodeError)) as refusal:
            await desk.create(body, key=bad)
        assert getattr(refusal.value, "status", 400) == 400


async def test_a_key_whose_task_was_never_written_makes_it_now(desk: Desk) -> None:
    """A crash between the key and the task: the repetition finishes the work under the same id."""
    body = encode(TaskRequest(type="resize"))
    first = msgspec.json.decode((await desk.create(body, key="k")).data)["id"]
    await buckets.api(desk.bus, "STREAM.PURGE.KV_tasks")
    await buckets.api(desk.bus, "STREAM.PURGE.HISTORY")
    assert msgspec.json.decode((await desk.create(body, key="k")).data)["id"] == first
    assert (await desk.get(first)).status is Status.PENDING


async def test_a_repeated_key_finds_its_task_in_the_archive(desk: Desk) -> None:
    body = encode(TaskRequest(type="resize"))
    first = msgspec.json.decode((await desk.create(body, key="k")).data)["id"]
    entry = await KvBucket(desk.bus, BUCKET_TASKS).get(first)
    assert entry is not None
    desk.archived.records[first] = entry.data
    await buckets.api(desk.bus, "STREAM.PURGE.KV_tasks")
    await buckets.api(desk.bus, "STREAM.PURGE.HISTORY")
    again = await desk.create(body, key="k")
    assert (msgspec.json.decode(again.data)["id"], again.headers.get(HEADER_REPLAYED)) == (first, "true")


async def test_a_running_task_shows_its_attempt_and_its_etag_moves(desk: Desk) -> None:
    task = await desk.submit()
    seen = [await revision_of(desk, task.id)]
    await desk.assign(task.id, "server-7")
    running = await desk.get(task.id)
    seen.append(await revision_of(desk, task.id))
    assert (running.status, running.server_id, running.attempt) == (Status.PROCESSING, "server-7", 1)
    assert [(a.number, a.outcome) for a in running.attempts] == [(1, None)]
    assert running.waiting_for is None
    await desk.lose_attempt(task.id)
    waiting = await desk.get(task.id)
    seen.append(await revision_of(desk, task.id))
    assert (waiting.status, waiting.waiting_for, [a.outcome for a in waiting.attempts]) == (
        Status.PENDING,
        "gone",
        ["lost"],
    )
    assert len(set(seen)) == 3


async def test_archived_generations_have_etags_of_their_own(desk: Desk) -> None:
    task = await desk.submit()
    await Client(desk.bus, ANN).tasks.cancel(task.id)
    entry = await KvBucket(desk.bus, BUCKET_TASKS).get(task.id)
    assert entry is not None
    await buckets.api(desk.bus, "STREAM.PURGE.KV_tasks")
    await buckets.api(desk.bus, "STREAM.PURGE.HISTORY")
    record, seen = decode_record(entry.data), set()
    for generation in (1, 2):
        desk.archived.records[task.id] = encode(replace(record, generation=generation))
        seen.add(await revision_of(desk, task.id))
    assert len(seen) == 2


async def revision_of(desk: Desk, task_id: str) -> str:
    answer = await call(desk.bus, verb("task", "get"), msgspec.json.encode({"id": task_id}), ANN)
    return answer.headers[HEADER_REVISION]


async def test_a_callback_completes_the_task_once(desk: Desk) -> None:
    task = await desk.submit()
    attempt = await desk.assign(task.id)
    answer = await desk.said(task.id, attempt, result={"size": 1}, metadata=msgspec.Raw(b'{"m":1}'))
    assert (answer.status, answer.cancel) == (Status.COMPLETED, False)
    done = await desk.get(task.id)
    assert (msgspec.json.decode(done.result), done.progress, done.server_id) == ({"size": 1}, 100.0, "a")
    assert [(a.number, a.outcome) for a in done.attempts] == [(1, "succeeded")]
    again = await desk.said(task.id, attempt, result={"size": 1})
    assert (again.status, again.updated_at) == (Status.COMPLETED, answer.updated_at)
    assert (await refused(desk.said(task.id, attempt, result={"size": 2}))).status == 409
    assert (await refused(desk.said(task.id, attempt, status="FAILED", error="x"))).status == 409
    assert (await desk.get(task.id)).updated_at == done.updated_at


async def test_a_failure_by_callback_waits_for_the_retry_and_may_be_told_twice(desk: Desk) -> None:
    task = await desk.submit(max_attempts=2)
    attempt = await desk.assign(task.id)
    answer = await desk.said(task.id, attempt, status="FAILED", error="no disk", code=7)
    again = await desk.said(task.id, attempt, status="FAILED", error="no disk", code=7)
    assert (answer.status, again.status) == (Status.PENDING, Status.PENDING)
    waiting = await desk.get(task.id)
    assert (waiting.waiting_for, waiting.error, len(waiting.attempts)) == ("backoff", "no disk", 1)
    assert waiting.run_at is not None
    second = await desk.assign(task.id, "b")
    assert (await desk.said(task.id, second, status="FAILED", message="again")).status is Status.FAILED
    failed = await desk.get(task.id)
    assert (failed.error, [a.server_id for a in failed.attempts]) == ("again", ["a", "b"])


async def test_a_late_answer_is_kept_with_the_task_it_could_not_end(desk: Desk) -> None:
    task = await desk.submit()
    first = await desk.assign(task.id, "a")
    await desk.lose_attempt(task.id)
    second = await desk.assign(task.id, "b")
    for _ in range(2):
        assert (await refused(desk.said(task.id, first, result="late"))).slug == "stale-attempt"
    (answer,) = (await desk.get(task.id)).refused
    assert (answer.number, answer.server_id, answer.outcome) == (1, "a", "succeeded")
    await desk.said(task.id, second, result="in time")
    ended = await desk.get(task.id)
    assert (ended.status, ended.refused) == (Status.COMPLETED, (answer,))
    kinds = [event.event async for event in desk.as_(OPERATOR).tasks.events(task.id)]
    assert kinds == [
        "submitted",
        "assigned",
        "attempt-ended",
        "assigned",
        "answer-refused",
        "attempt-ended",
        "completed",
    ]


async def test_an_answer_after_the_end_is_in_the_audit_trail_once(desk: Desk) -> None:
    kept: list[AuditEntry] = []

    async def hear(message: Message) -> None:
        kept.append(msgspec.json.decode(message.data, type=AuditEntry))

    task = await desk.submit()
    attempt = await desk.assign(task.id, "a")
    await desk.as_(ANN).tasks.cancel(task.id)
    await desk.bus.subscribe(audit_subject(">"), hear)
    await desk.bus.barrier()
    for _ in range(2):
        assert (await refused(desk.said(task.id, attempt, result=1))).status == 409
    await until(lambda: len(kept) == 2)
    assert {(entry.what, entry.target, entry.who, entry.status) for entry in kept} == {
        ("task.late-answer", task.id, "a", 409)
    }
    assert len({entry.id for entry in kept}) == 1


async def test_a_final_failure_is_not_retried(desk: Desk) -> None:
    task = await desk.submit(max_attempts=5)
    attempt = await desk.assign(task.id)
    assert (await desk.said(task.id, attempt, status="FAILED", error="bad input", final=True)).status is Status.FAILED
    assert (await desk.said(task.id, attempt, status="FAILED", error="bad input")).status is Status.FAILED


async def test_a_late_answer_cannot_finish_a_task_that_moved_on(desk: Desk) -> None:
    task = await desk.submit()
    first = await desk.assign(task.id, "a")
    await desk.lose_attempt(task.id)
    assert (await refused(desk.said(task.id, first, result="late"))).slug == "stale-attempt"
    second = await desk.assign(task.id, "b")
    error = await refused(desk.said(task.id, first, result="late"))
    assert (error.status, error.slug) == (409, "stale-attempt")
    assert (await desk.get(task.id)).status is Status.PROCESSING
    await desk.said(task.id, second, result="in time")
    assert msgspec.json.decode((await desk.get(task.id)).result) == "in time"
    assert (await refused(desk.said(task.id, first, result="late"))).status == 409


async def test_a_token_counts_for_its_task_its_generation_and_its_time_only(desk: Desk) -> None:
    task, other = await desk.submit(), await desk.submit()
    attempt = await desk.assign(task.id)
    await desk.assign(other.id)
    now = desk.world.clock.now_ms()
    cases = {
        "another task": (attempt, other.id, 403),
        "another generation": (token(task.id, 2, 1, "a"), task.id, 409),
        "another server": (token(task.id, 1, 1, "b"), task.id, 409),
        "a newer attempt than there is": (token(task.id, 1, 2, "a"), task.id, 409),
        "expired": (token(task.id, 1, 1, "a", now - 1), task.id, 401),
        "damaged": (attempt[:-3], task.id, 401),
        "changed": (attempt[:6] + ("A" if attempt[6] != "A" else "B") + attempt[7:], task.id, 401),
        "of another key": (AttemptTokens("x" * 40).mint(TOKENS.verify(attempt, now)), task.id, 401),
        "no token": ("pat_", task.id, 401),
    }
    for name, (given, task_id, status) in cases.items():
        assert (await refused(desk.said(task_id, given))).status == status, name
    assert (await desk.get(task.id)).status is Status.PROCESSING
    assert (await desk.said(task.id, attempt)).status is Status.COMPLETED


async def test_a_token_of_the_generation_before_is_stale_after_a_retry_by_hand(desk: Desk) -> None:
    task = await desk.submit(max_attempts=1)
    first = await desk.assign(task.id)
    await desk.said(task.id, first, status="FAILED", error="x")
    await desk.as_(ANN).tasks.retry(task.id)
    assert (await refused(desk.said(task.id, first))).status == 409
    await desk.assign(task.id)
    assert (await refused(desk.said(task.id, first))).slug == "stale-attempt"


async def test_a_token_proves_its_attempt_even_if_a_broker_crash_took_the_lease(desk: Desk) -> None:
    task = await desk.submit()
    attempt = await desk.assign(task.id)
    await buckets.api(desk.bus, "STREAM.PURGE.KV_leases")
    assert (await desk.get(task.id)).status is Status.PENDING
    told = await desk.said(task.id, attempt, status="PROCESSING", progress=50)
    assert (told.cancel, told.status) == (False, Status.PENDING)
    assert (await desk.said(task.id, attempt, result=1)).status is Status.COMPLETED
    assert [(a.number, a.server_id) for a in (await desk.get(task.id)).attempts] == [(1, "a")]


async def test_without_a_token_an_owner_or_backend_speaks_of_the_current_attempt(desk: Desk) -> None:
    for actor in (ANN, OPERATOR, SERVICE):
        task = await desk.submit()
        error = await refused(desk.as_(actor).tasks.update(task.id, an_update()))
        assert (error.status, error.slug) == (409, "stale-attempt")
        await desk.assign(task.id)
        assert (await desk.as_(actor).tasks.update(task.id, an_update(result=1))).status is Status.COMPLETED


async def test_progress_is_shown_and_tells_a_cancelled_backend_to_stop(desk: Desk) -> None:
    task = await desk.submit()
    attempt = await desk.assign(task.id)
    told = await desk.said(task.id, attempt, status="PROCESSING", progress=40, metadata=msgspec.Raw(b'{"step":2}'))
    assert (told.status, told.cancel) == (Status.PROCESSING, False)
    shown = await desk.get(task.id)
    assert (shown.progress, msgspec.json.decode(shown.metadata)) == (40.0, {"step": 2})
    await desk.as_(ANN).tasks.cancel(task.id, "enough")
    assert (await desk.said(task.id, attempt, status="PROCESSING", progress=50)).cancel
    assert (await desk.as_(Actor(sub="", attempt_token=attempt)).tasks.extend(task.id, ExtendRequest(seconds=1))).cancel


async def test_a_late_final_word_of_a_cancelled_attempt_is_refused_and_frees_its_slot(desk: Desk) -> None:
    released: list[bytes] = []

    async def hear(message: Message) -> None:
        released.append(message.data)

    await desk.bus.subscribe(VIEW_RELEASES, hear)
    await desk.bus.barrier()
    task = await desk.submit()
    attempt = await desk.assign(task.id)
    await desk.as_(ANN).tasks.cancel(task.id)
    assert (await refused(desk.said(task.id, attempt, result=1))).status == 409
    await until(lambda: released)
    assert msgspec.json.decode(released[0]) == {"taskId": task.id, "generation": 1, "number": 1}
    assert (await desk.get(task.id)).status is Status.CANCELLED


async def test_an_extension_moves_the_deadline_but_not_beyond_the_task_s_own(desk: Desk) -> None:
    task = await desk.submit(deadline_ms=600_000)
    attempt = await desk.assign(task.id, timeout_ms=60_000)
    tasks = desk.as_(Actor(sub="", attempt_token=attempt)).tasks
    before = desk.world.clock.now_ms()
    extended = await tasks.extend(task.id, ExtendRequest(seconds=120, progress=10))
    assert before + 120_000 <= extended.deadline <= desk.world.clock.now_ms() + 120_000
    assert (await desk.get(task.id)).progress == 10
    shorter = await tasks.extend(task.id, ExtendRequest(seconds=1))
    assert shorter.deadline == extended.deadline
    longest = await tasks.extend(task.id, ExtendRequest(seconds=86_400))
    assert longest.deadline == task.deadline
    for seconds in (0, -1, 86_401):
        body = msgspec.json.encode({"id": task.id, "extend": {"seconds": seconds}})
        assert (await refused(call(desk.bus, verb("task", "extend"), body, ANN))).errors[0].field == "extend.seconds"
    await desk.lose_attempt(task.id)
    assert (await refused(tasks.extend(task.id, ExtendRequest(seconds=1)))).status == 409


async def test_a_waiting_or_running_task_can_be_cancelled_and_an_ended_one_cannot(desk: Desk) -> None:
    waiting, running, done = [await desk.submit() for _ in range(3)]
    await desk.assign(running.id)
    await desk.said(done.id, await desk.assign(done.id))
    tasks = desk.as_(ANN).tasks
    for task in (waiting, running):
        answer = await tasks.cancel(task.id, "not needed")
        assert (answer.status, answer.success, answer.message) == (Status.CANCELLED, True, "Task cancelled")
        assert (await tasks.cancel(task.id)).status is Status.CANCELLED
        shown = await desk.get(task.id)
        assert (shown.error, shown.error_code) == ("not needed", "cancelled")
    assert [a.outcome for a in (await desk.get(running.id)).attempts] == ["cancelled"]
    assert (await refused(tasks.cancel(done.id))).status == 409


async def test_a_retry_by_hand_begins_a_generation_and_only_for_ended_tasks(desk: Desk) -> None:
    task, done = await desk.submit(max_attempts=1), await desk.submit()
    await desk.said(done.id, await desk.assign(done.id))
    tasks = desk.as_(ANN).tasks
    assert (await refused(tasks.retry(task.id))).status == 409
    assert (await refused(tasks.retry(done.id))).status == 409
    await desk.said(task.id, await desk.assign(task.id), status="FAILED", error="x")
    answer = await tasks.retry(task.id)
    assert (answer.status, answer.message) == (Status.PENDING, "Task queued for retry")
    again = await desk.get(task.id)
    assert (again.generation, again.attempts, again.error, again.finished_at) == (2, (), None, None)
    assert (await desk.said(task.id, await desk.assign(task.id), result=2)).status is Status.COMPLETED


async def test_an_act_on_a_task_as_it_was_seen_is_refused_once_it_moved_on_and_done_once_however_often_sent(
    desk: Desk,
) -> None:
    task = await desk.submit()
    tasks = desk.as_(ANN).tasks
    await tasks.cancel(task.id, generation=1)
    named = desk.as_(msgspec.structs.replace(ANN, request_id="act-1")).tasks
    for _ in range(2):
        await named.retry(task.id, generation=1)
    assert (await desk.get(task.id)).generation == 2
    for late in (tasks.cancel(task.id, generation=1), tasks.retry(task.id, generation=1)):
        assert (await refused(late)).status == 412
    assert (await tasks.cancel(task.id, generation=2)).status is Status.CANCELLED


async def test_of_two_racing_retries_one_begins_the_generation(desk: Desk) -> None:
    task = await desk.submit()
    await desk.as_(ANN).tasks.cancel(task.id)
    answers = await asyncio.gather(*(desk.as_(ANN).tasks.retry(task.id) for _ in range(5)), return_exceptions=True)
    assert any(not isinstance(answer, Exception) for answer in answers)
    assert all(answer.status == 409 for answer in answers if isinstance(answer, PointsmanError))
    assert (await desk.get(task.id)).generation == 2


async def test_another_s_task_does_not_exist_and_is_not_steered(desk: Desk) -> None:
    task = await desk.submit()
    assert (await refused(desk.as_(BOB).tasks.get(task.id))).status == 404
    for name in ("cancel", "retry"):
        assert (await refused(getattr(desk.as_(BOB).tasks, name)(task.id))).status in (403, 404)
        assert (await refused(getattr(desk.as_(VIEWER).tasks, name)(task.id))).status == 403
    assert (await refused(desk.as_(BOB).tasks.update(task.id, an_update()))).status in (403, 404)
    assert (await desk.as_(VIEWER).tasks.get(task.id)).id == task.id
    assert (await desk.as_(OPERATOR).tasks.cancel(task.id)).success


async def test_a_leader_that_is_absent_or_frozen_is_told_as_the_gate_before_a_caller_asks_again(
    fake_desk: Desk,
) -> None:
    task, loop = await fake_desk.submit(), asyncio.get_running_loop()

    async def explained_in_time() -> None:
        asked_s = loop.time()
        said = await fake_desk.as_(ANN).tasks.explain(task.id)
        assert (said.gate, said.status) == ("leader", "PENDING")
        assert loop.time() - asked_s < REPEAT_S

    await explained_in_time()

    async def freeze(_: Call) -> Answer:
        await asyncio.sleep(3600)
        raise AssertionError("nobody waits that long")

    frozen = await serve(fake_desk.bus, "balancer", "1.0.0", [Verb("explain", freeze)])
    await explained_in_time()
    await frozen.drain()


async def test_what_never_was_is_404(desk: Desk) -> None:
    tasks = desk.as_(OPERATOR).tasks
    for task_id in (
        new_task_id(desk.world.clock.now_ms()),
        "task_1",
        "../../x",
        "a.b",
        "*",
        ">",
        "",
        "task_" + "g" * 32,
    ):
        for work in (tasks.get(task_id), tasks.cancel(task_id), tasks.retry(task_id)):
            assert (await refused(work)).status == 404, task_id
        assert (await refused(tasks.update(task_id, an_update()))).status == 404
        assert (await refused(tasks.extend(task_id, ExtendRequest(seconds=1)))).status == 404


async def test_a_batch_takes_what_is_good_and_says_what_is_not(desk: Desk) -> None:
    items = [
        b'{"type":"resize"}',
        b'{"type":"RESIZE"}',
        b'{"type":"resize","payload":[]}',
        b'{"type":"resize","nonsense":1}',
        b'{"type":"resize","payload":{"a":"\\u0000"}}',
        b'{"type":"resize","priority":10}',
    ]
    body = b'{"tasks":[' + b",".join(items) + b"]}"
    answer = await call(desk.bus, verb("task", "batch"), body, ANN)
    results = msgspec.json.decode(answer.data)["results"]
    assert [item.get("code") for item in results] == [None, 400, 400, 400, 400, None]
    assert [word in item["error"] for word, item in zip(("type", "payload", "nonsense"), results[1:4], strict=True)]
    for good in (results[0], results[5]):
        assert (await desk.get(good["id"])).status is Status.PENDING
    deep = b'{"tasks":[' + b"[" * 100_000 + b"]" * 100_000 + b"]}"
    assert (await refused(call(desk.bus, verb("task", "batch"), deep, ANN))).status == 400
    for bad in (b'{"tasks":[]}', b'{"tasks":[' + b",".join([b"{}"] * 1001) + b"]}", b"{}"):
        assert (await refused(call(desk.bus, verb("task", "batch"), bad, ANN))).errors[0].field == "tasks"


DEEP = b'{"a":' * 64 + b"1" + b"}" * 64
BAD_REQUESTS: dict[str, tuple[bytes, int, str]] = {
    "nothing": (b"", 400, "body"),
    "not an object": (b"[]", 400, "body"),
    "not UTF-8": (b'{"type":"\xff\xfe"}', 400, "body"),
    "no type": (b"{}", 400, "type"),
    "upper case type": (b'{"type":"Resize"}', 400, "type"),
    "type with a newline": (b'{"type":"resize\\n"}', 400, "type"),
    "type of 65": (b'{"type":"' + b"a" * 65 + b'"}', 400, "type"),
    "unknown field": (b'{"type":"a","typo":1}', 400, "typo"),
    "priority of 11": (b'{"type":"a","priority":11}', 400, "priority"),
    "priority as text": (b'{"type":"a","priority":"1"}', 400, "priority"),
    "priority as float": (b'{"type":"a","priority":1.0}', 400, "priority"),
    "attempts of 0": (b'{"type":"a","maxAttempts":0}', 400, "maxAttempts"),
    "attempts of 101": (b'{"type":"a","maxAttempts":101}', 400, "maxAttempts"),
    "timeout of 0": (b'{"type":"a","timeoutMs":0}', 400, "timeoutMs"),
    "deadline too far": (b'{"type":"a","deadlineMs":99999999999999}', 400, "deadlineMs"),
    "huge number": (b'{"type":"a","runAt":1e400}', 400, "runAt"),
    "beyond 64 bits": (b'{"type":"a","runAt":99999999999999999999999}', 400, "runAt"),
    "run at and delay": (b'{"type":"a","runAt":1,"delayMs":1}', 400, "delayMs"),
    "preset and parts": (b'{"type":"a","retry":{"preset":"fast","baseMs":1}}', 400, "retry"),
    "retry maximum below base": (b'{"type":"a","retry":{"baseMs":100,"maxMs":1}}', 400, "retry.maxMs"),
    "unknown retry field": (b'{"type":"a","retry":{"nope":1}}', 400, "retry.nope"),
    "labels as list": (b'{"type":"a","labels":["x"]}', 400, "labels"),
    "payload as list": (b'{"type":"a","payload":[1]}', 400, "payload"),
    "payload as null": (b'{"type":"a","payload":null}', 400, "payload"),
    "NUL in the payload": (b'{"type":"a","payload":{"a":"\\u0000"}}', 400, "payload"),
    "NUL in a payload key": (b'{"type":"a","payload":{"\\u0000":1}}', 400, "payload"),
    "NUL in a label": (b'{"type":"a","labels":{"x":"\\u0000"}}', 400, "labels.x"),
    "NUL in a key": (b'{"type":"a","affinityKey":"\\u0000"}', 400, "affinityKey"),
    "lone surrogate": (b'{"type":"a","payload":{"a":"\\ud800"}}', 400, "body"),
    "surrogate bytes": (b'{"type":"a","payload":{"a":"\xed\xa0\x80"}}', 400, "payload"),
    "65 levels": (b'{"type":"a","payload":{"a":' + DEEP + b"}}", 400, "payload"),
    "100,000 levels": (b'{"type":"a","payload":' + b"[" * 100_000 + b"]" * 100_000 + b"}", 400, "body"),
    "10,001 values": (b'{"type":"a","payload":{"a":[' + b",".join([b"1"] * 9_999) + b"]}}", 400, "payload"),
    "256 KiB + 1": (b'{"type":"a","payload":{"a":"' + b"x" * (256 * 1024 - 7) + b'"}}', 413, "payload"),
    "callback elsewhere": (b'{"type":"a","callbackUrl":"ftp://x"}', 422, "callbackUrl"),
    "callback inside": (b'{"type":"a","callbackUrl":"http://10.0.0.1/"}', 422, "callbackUrl"),
}


async def test_bad_input_is_refused_and_the_field_is_named(desk: Desk) -> None:
    told = {}
    for name, (body, _, _) in BAD_REQUESTS.items():
        error = await refused(desk.create(body))
        told[name] = (error.status, error.errors[0].field if error.errors else "")
    expected = {name: (status, field) for name, (_, status, field) in BAD_REQUESTS.items()}
    expected["callback elsewhere"] = (told["callback elsewhere"][0], "callbackUrl")
    assert told == expected
    assert told["callback elsewhere"][0] in (400, 422)
    assert (await buckets.api(desk.bus, "STREAM.INFO.KV_tasks"))["state"]["last_seq"] == 0


async def test_what_is_just_within_the_limits_is_taken(desk: Desk) -> None:
    for body in (
        b'{"type":"a","payload":' + DEEP + b"}",
        b'{"type":"a","payload":{"a":[' + b",".join([b"1"] * 9_998) + b"]}}",
        b'{"type":"a","payload":{"a":"' + b"x" * (256 * 1024 - 8) + b'"}}',
        b'{"type":"' + b"a" * 64 + b'","runAt":1,"priority":10}',
    ):
        assert msgspec.json.decode((await desk.create(body)).data)["status"] == "PENDING"


BAD_UPDATES: dict[str, tuple[bytes, int, str]] = {
    "unknown status": (b'{"status":"DONE"}', 400, "update.status"),
    "no status": (b"{}", 400, "update.status"),
    "unknown field": (b'{"status":"COMPLETED","x":1}', 400, "update.x"),
    "progress of 101": (b'{"status":"PROCESSING","progress":101}', 400, "update.progress"),
    "NUL in the result": (b'{"status":"COMPLETED","result":"\\u0000"}', 400, "result"),
    "NUL in the error": (b'{"status":"FAILED","error":"\\u0000"}', 400, "error"),
    "NUL in the code": (b'{"status":"FAILED","code":"\\u0000"}', 400, "code"),
    "65 levels": (b'{"status":"COMPLETED","result":[' + DEEP + b"]}", 400, "result"),
    "1 MiB + 1": (b'{"status":"COMPLETED","result":"' + b"x" * (1024 * 1024 - 1) + b'"}', 413, "result"),
    "metadata as list": (b'{"status":"COMPLETED","metadata":[]}', 400, "metadata"),
    "metadata of 16 KiB + 1": (b'{"status":"COMPLETED","metadata":{"a":"' + b"x" * 16384 + b'"}}', 413, "metadata"),
}


async def test_a_bad_report_is_refused_and_changes_nothing(desk: Desk) -> None:
    task = await desk.submit()
    attempt = Actor(sub="", attempt_token=await desk.assign(task.id))
    told = {}
    for name, (body, _, _) in BAD_UPDATES.items():
        data = b'{"id":"' + task.id.encode() + b'","update":' + body + b"}"
        error = await refused(call(desk.bus, verb("task", "update"), data, attempt))
        told[name] = (error.status, error.errors[0].field if error.errors else "")
    assert told == {name: (status, field) for name, (_, status, field) in BAD_UPDATES.items()}
    assert (await desk.get(task.id)).status is Status.PROCESSING


async def test_a_reason_with_a_nul_is_refused(desk: Desk) -> None:
    task = await desk.submit()
    error = await refused(desk.as_(ANN).tasks.cancel(task.id, "a\x00b"))
    assert (error.status, error.errors[0].field) == (400, "reason")


async def test_waiting_returns_when_the_task_has_ended(desk: Desk) -> None:
    task = await desk.submit()
    attempt = await desk.assign(task.id)
    waiting = asyncio.create_task(desk.as_(ANN).tasks.wait(task.id, 20))
    await asyncio.wait([waiting], timeout=0.1)
    assert not waiting.done()
    await desk.said(task.id, attempt, result=1)
    assert (await waiting).status is Status.COMPLETED
    pending = await desk.submit()
    assert (await desk.as_(ANN).tasks.wait(pending.id, 0.05)).status is Status.PENDING


async def test_a_full_backlog_is_429_and_a_repetition_is_still_answered(desk: Desk) -> None:
    body = encode(TaskRequest(type="a"))
    first = await desk.create(body, key="k")
    frame = LoadFrame(epoch=1, active={}, limits={}, cancel={}, pending=1_000_000, as_of=0)
    await desk.bus.publish(VIEW_LOAD, encode(frame))
    await until(lambda: desk.service._admission._frame)
    error = await refused(desk.create(body))
    assert (error.status, error.slug) == (429, "overloaded")
    assert error.retry_after_s
    assert (await refused(desk.create(body, key="other"))).status == 429
    assert msgspec.json.decode((await desk.create(body, key="k")).data) == msgspec.json.decode(first.data)


async def declare(desk: Desk, name: str, **fields: Any) -> None:
    """As the balancer stores it."""
    data = msgspec.json.encode({"type": name, **fields})
    await KvBucket(desk.bus, BUCKET_SETTINGS).update(f"type.{name}", data, revision=0, operation=new_operation_id())


async def test_a_declared_type_fills_in_what_a_task_leaves_out(desk: Desk) -> None:
    retry = {"baseMs": 7, "maxMs": 9}
    await declare(
        desk, "resize", pool="gpus", priority=4, capabilities=["gpu"], timeoutMs=5, maxAttempts=2, retry=retry
    )
    await until(lambda: desk.service._types._declared)
    task = await desk.stored((await desk.submit(capabilities=("big",))).id)
    spec = task.record.spec
    assert (spec.pool, spec.priority, spec.capabilities, spec.timeout_ms) == ("gpus", 4, ("big", "gpu"), 5)
    assert (spec.max_attempts, spec.retry.base_ms) == (2, 7)
    own = (await desk.stored((await desk.submit(pool="p", priority=0, timeout_ms=6, max_attempts=1)).id)).record.spec
    assert (own.pool, own.priority, own.timeout_ms, own.max_attempts) == ("p", 0, 6, 1)
    other = (await desk.stored((await desk.submit(type="other")).id)).record.spec
    assert (other.pool, other.priority, other.capabilities) == ("default", 0, ())


async def test_a_payload_that_breaks_its_schema_is_refused_by_place_and_rule(fake_desk: Desk) -> None:
    await declare(fake_desk, "resize", schema={"properties": {"n": {"maximum": 3}}})
    await until(lambda: fake_desk.service._types._declared)
    good, bad = (TaskRequest(type="resize", payload=msgspec.Raw(b'{"n":%d}' % n)) for n in (3, 4))
    error = await refused(fake_desk.create(encode(bad)))
    assert (error.status, error.errors[0].field) == (400, "payload.n")
    assert "maximum" in error.detail
    results = (await fake_desk.as_(ANN).tasks.submit_many([bad, good])).results
    assert (results[0].code, results[1].status) == (400, Status.PENDING)
    assert "payload.n" in (results[0].error or "")


async def test_where_types_are_strict_an_undeclared_one_is_refused_and_the_declared_are_listed(fake: FakeWorld) -> None:
    fake.settings = msgspec.structs.replace(fake.settings, task_types_strict=True)
    desk = await open_desk(fake, await fake.connect())
    try:
        assert "no type is" in (await refused(desk.submit())).detail
        await declare(desk, "known")
        await until(lambda: desk.service._types._declared)
        error = await refused(desk.submit())
        assert (error.status, error.errors[0].field, error.detail) == (
            400, "type", "type: resize is not declared; declared: known"
        )  # fmt: skip
        assert (await desk.submit(type="known")).status is Status.PENDING
    finally:
        await desk.service.stop()


async def test_a_full_pool_refuses_new_tasks_but_never_a_report(fake_desk: Desk) -> None:
    running = await fake_desk.submit(pool="p")
    attempt = await fake_desk.assign(running.id)
    data = msgspec.json.encode({"maxBacklog": 3})
    settings = KvBucket(fake_desk.bus, BUCKET_SETTINGS)
    await settings.update("pool.p", data, revision=0, operation=new_operation_id())
    await until(lambda: fake_desk.service._admission._pools)
    load = PoolLoad(waiting=2, drain_per_s=0.5)
    frame = LoadFrame(epoch=1, active={}, limits={}, cancel={}, pending=2, as_of=0, pools={"p": load})
    await fake_desk.bus.publish(VIEW_LOAD, encode(frame))
    await until(lambda: fake_desk.service._admission._frame)
    await fake_desk.submit(pool="p")
    error = await refused(fake_desk.submit(pool="p"))
    assert (error.status, error.slug, error.retry_after_s) == (429, "overloaded", 2)
    assert all(part in error.detail for part in ("pool p", "limit is 3", "0.5"))
    items = [TaskRequest(type="a", pool="p"), TaskRequest(type="a", pool="q")]
    results = (await fake_desk.as_(ANN).tasks.submit_many(items)).results
    assert (results[0].code, results[1].status) == (429, Status.PENDING)
    await fake_desk.said(running.id, attempt, result=1)
    assert (await fake_desk.get(running.id)).status is Status.COMPLETED


async def test_a_lost_acknowledgement_makes_one_task_not_two(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kv, "WRITE_TIMEOUT_S", 0.3)
    desk.world.lose_ack(desk.bus)
    task = await desk.submit()
    assert (await buckets.api(desk.bus, "STREAM.INFO.KV_tasks"))["state"]["last_seq"] == 1
    desk.world.lose_ack(desk.bus)
    assert (await desk.as_(ANN).tasks.cancel(task.id)).success
    desk.world.lose_ack(desk.bus)
    assert (await desk.as_(ANN).tasks.retry(task.id)).success
    assert (await desk.get(task.id)).generation == 2
    assert (await buckets.api(desk.bus, "STREAM.INFO.KV_tasks"))["state"]["last_seq"] == 3


async def test_a_task_that_ended_before_its_acceptance_was_confirmed_is_still_accepted(fake_desk: Desk) -> None:
    """The acknowledgement was lost, and a fast server finished the task while we waited for it."""
    desk, world = fake_desk, fake_desk.world
    assert isinstance(world, FakeWorld)
    world.broker.lose_answer("$KV.tasks.>")
    submitting = asyncio.create_task(desk.submit())
    stream = world.broker.streams["KV_tasks"]
    await until(lambda: stream.messages)
    task_id = stream.messages[1].subject.rpartition(".")[2]
    await desk.said(task_id, await desk.assign(task_id), result=1)
    assert (await submitting).id == task_id
    assert (await desk.get(task_id)).status is Status.COMPLETED


async def test_while_the_broker_is_away_nothing_is_acknowledged(fake_desk: Desk) -> None:
    desk = fake_desk
    caller = Client(await desk.world.connect("caller"), ANN)
    desk.world.cut(desk.bus)
    error = await refused(caller.tasks.submit(TaskRequest(type="a")))
    assert error.status == 503
    await desk.world.mend(desk.bus)
    assert (await caller.tasks.submit(TaskRequest(type="a"))).status is Status.PENDING


class Spy:
    """Watches the tasks bucket: per (task, generation) at most one terminal record, and never another after it."""

    def __init__(self, broker: FakeBroker) -> None:
        self._stream = broker.streams["KV_tasks"]

    def histories(self) -> dict[str, list[tuple[int, str]]]:
        seen: dict[str, list[tuple[int, str]]] = {}
        for stored in self._stream.journal:
            record = msgspec.json.decode(stored.data)
            seen.setdefault(record["id"], []).append((record.get("generation", 1), record.get("status", "PENDING")))
        return seen


@dataclass
class Modelled:
    """A task as the model has it."""

    generation: int = 1
    status: Status = Status.PENDING
    number: int = 0
    running: bool = False
    spent: int = 0
    result: int | None = None
    tokens: list[tuple[int, int, str]] = field(default_factory=list)


class TaskServiceMachine(RuleBasedStateMachine):
    """The service on the fake bus against the model; acknowledgements get lost at any moment."""

    ATTEMPTS_MAX = 3

    @initialize()
    def begin(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.world = self.run(self._make_world())
        self.bus = self.run(self.world.connect())
        self.run(buckets.ensure(self.bus, relaxed=False, replicas=1))
        self.desk = self.run(open_desk(self.world, self.bus))
        self.spy = Spy(self.world.broker)
        self.tasks: dict[str, Modelled] = {}

    async def _make_world(self) -> FakeWorld:
        return FakeWorld(Path())

    def run(self, work: Any) -> Any:
        return self.loop.run_until_complete(work)

    def outcome(self, work: Any) -> tuple[Any, int]:
        """The answer and 200, or None and the code of the refusal."""
        try:
            return self.run(work), 200
        except PointsmanError as error:
            return None, error.status

    def pick(self, index: int) -> tuple[str, Modelled]:
        return list(self.tasks.items())[index % len(self.tasks)]

    indices = st.integers(0, 3)

    @precondition(lambda self: len(self.world.broker._lost_answers) < 2)
    @rule()
    def lose_the_next_acknowledgement(self) -> None:
        self.world.broker.lose_answer("$KV.>")

    @precondition(lambda self: len(self.world.broker._lost_answers) < 2)
    @rule()
    def lose_the_next_write_on_the_way(self) -> None:
        self.world.broker.lose_answer("$KV.>", executed=False)

    @precondition(lambda self: len(self.tasks) < 3)
    @rule(key=st.sampled_from(["", "k"]))
    def submit(self, key: str) -> None:
        body = encode(TaskRequest(type="a", max_attempts=self.ATTEMPTS_MAX))
        answer, status = self.outcome(self.desk.create(body, key=key))
        assert status == 200
        task_id = msgspec.json.decode(answer.data)["id"]
        if key and HEADER_REPLAYED in answer.headers:
            assert task_id in self.tasks
        self.tasks.setdefault(task_id, Modelled())

    @precondition(lambda self: self.tasks)
    @rule(index=indices, server=st.sampled_from(["a", "b"]))
    def assign(self, index: int, server: str) -> None:
        task_id, task = self.pick(index)
        if task.status is not Status.PENDING or task.running:
            return
        self.run(self.desk.assign(task_id, server))
        task.number += 1
        task.running = True
        task.tokens.append((task.generation, task.number, server))

    @precondition(lambda self: self.tasks)
    @rule(index=indices)
    def the_executor_goes_away(self, index: int) -> None:
        task_id, task = self.pick(index)
        if task.running:
            self.run(self.desk.lose_attempt(task_id))
            task.running = False

    @precondition(lambda self: any(task.tokens for task in self.tasks.values()))
    @rule(index=indices, which=st.integers(0, 20), status=st.sampled_from(["COMPLETED", "FAILED", "PROCESSING"]),
          value=st.integers(0, 1), final=st.booleans())  # fmt: skip
    def call_back(self, index: int, which: int, status: str, value: int, final: bool) -> None:
        task_id, task = self.pick(index)
        if not task.tokens:
            return
        generation, number, server = task.tokens[which % len(task.tokens)]
        given = token(task_id, generation, number, server)
        fields: dict[str, Any] = {"result": value} if status == "COMPLETED" else {}
        fields |= {"error": "e", "final": final} if status == "FAILED" else {}
        _, code = self.outcome(self.desk.said(task_id, given, status=status, **fields))
        is_current = task.running and (generation, number) == (task.generation, task.number)
        if is_current:
            assert code == 200
            self._apply(task, status, value, final)
        elif generation != task.generation:
            assert code == 409
        elif is_terminal(task.status):
            repeats = task.status == status and (status == "FAILED" or task.result == value)
            told_to_stop = status == "PROCESSING" and task.status is Status.CANCELLED
            assert code == (200 if repeats or told_to_stop else 409)
        elif status != "FAILED":
            assert code == 409
        else:
            assert code in (200, 409)

    def _apply(self, task: Modelled, status: str, value: int, final: bool) -> None:
        if status == "PROCESSING":
            return
        task.running = False
        if status == "COMPLETED":
            task.status, task.result = Status.COMPLETED, value
            return
        task.spent += 1
        if final or task.spent >= self.ATTEMPTS_MAX:
            task.status = Status.FAILED

    @precondition(lambda self: self.tasks)
    @rule(index=indices)
    def cancel(self, index: int) -> None:
        task_id, task = self.pick(index)
        _, code = self.outcome(self.desk.as_(ANN).tasks.cancel(task_id))
        if is_terminal(task.status):
            assert code == (200 if task.status is Status.CANCELLED else 409)
        else:
            assert code == 200
            task.status, task.running = Status.CANCELLED, False

    @precondition(lambda self: self.tasks)
    @rule(index=indices)
    def retry(self, index: int) -> None:
        task_id, task = self.pick(index)
        _, code = self.outcome(self.desk.as_(ANN).tasks.retry(task_id))
        if task.status in (Status.FAILED, Status.CANCELLED):
            assert code == 200
            tokens = task.tokens
            self.tasks[task_id] = Modelled(generation=task.generation + 1, tokens=tokens)
        else:
            assert code == 409

    @invariant()
    def the_service_shows_what_the_model_has(self) -> None:
        for task_id, task in getattr(self, "tasks", {}).items():
            shown = self.run(self.desk.get(task_id))
            expected = Status.PROCESSING if task.running else task.status
            assert (shown.status, shown.generation, shown.attempt) == (expected, task.generation, task.number)
            if task.status is Status.COMPLETED:
                assert msgspec.json.decode(shown.result) == task.result

    @invariant()
    def there_is_one_terminal_record_per_generation_and_it_never_changes(self) -> None:
        if not hasattr(self, "spy"):
            return
        for history in self.spy.histories().values():
            assert len(set(history)) == len(history)
            ended = [generation for generation, status in history if status != "PENDING"]
            assert ended == sorted(set(ended))
            assert [generation for generation, _ in history] == sorted(generation for generation, _ in history)

    def teardown(self) -> None:
        if not hasattr(self, "world"):
            return
        self.run(self.desk.service.stop())
        self.run(self.world.close())
        for task in asyncio.all_tasks(self.loop):
            task.cancel()
        self.run(asyncio.sleep(0))
        self.loop.close()


TestTaskServiceAgainstItsModel = TaskServiceMachine.TestCase
TestTaskServiceAgainstItsModel.settings = settings(
    max_examples=30, stateful_step_count=25, derandomize=True, suppress_health_check=list(HealthCheck)
)


async def test_the_bucket_itself_refuses_a_second_end(fake_desk: Desk) -> None:
    """What all of the above rests on."""
    desk = fake_desk
    task = await desk.submit()
    stored = await desk.stored(task.id)
    now = desk.world.clock.now_ms()
    first = outcomes.cancel(stored.record, stored.lease, None, now)
    second = outcomes.expire(stored.record, stored.lease, now)
    await desk.store.finish(first, stored.revision, new_operation_id())
    with pytest.raises(RevisionMoved):
        await desk.store.finish(second, stored.revision, new_operation_id())
