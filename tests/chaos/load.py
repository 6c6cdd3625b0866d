"""Work that goes on while things break, everything that is seen of it, and what must be true of it in the end."""

import asyncio
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from itertools import pairwise

import msgspec

from pointsman.client.bus import BusError, Message
from pointsman.contracts.balancer import BalancerStatus
from pointsman.contracts.errors import PointsmanError
from pointsman.contracts.execution import Handover
from pointsman.contracts.lifecycle import Status, is_terminal
from pointsman.contracts.server import Endpoints, ServerRequest
from pointsman.contracts.subjects import execute, view_task
from pointsman.contracts.task import RetryRequest, Task, TaskRequest
from pointsman.services.runtime.task_store import decode_record
from tests.support.backends import Backend
from tests.support.checker import Limited, Verdict
from tests.support.pieces import Pieces
from tests.support.system_up import eventually

BATCH = 10
AGAIN_S = 0.2
HEALTHY_WITHIN_S = 90.0
ATTEMPTS_MAX = 20
ASKED_AT_ONCE = 16

_HANDOVER = msgspec.json.Decoder(Handover)


@dataclass(frozen=True)
class Kind:
    """A backend to be had: how it behaves, and how many tasks it may have at a time."""

    name: str
    mode: str
    limit: int
    more: dict[str, bool] = field(default_factory=dict)


@dataclass(frozen=True)
class Handed:
    """A hand-over as it passed the broker; `at_s` is monotonic."""

    at_s: float
    epoch: int


class Watched:
    """What passes the broker. It may miss some while the broker is away, never invent."""

    def __init__(self) -> None:
        self.handed: list[Handed] = []
        self.terminal: defaultdict[tuple[str, int], set[str]] = defaultdict(set)
        self.ended: set[str] = set()

    async def watch(self, system: Pieces) -> None:
        await system.bus.subscribe(execute("*"), self._see_handover)
        await system.bus.subscribe(view_task("*"), self._see_record)
        await system.bus.barrier()

    async def _see_handover(self, message: Message) -> None:
        current = _HANDOVER.decode(message.data).lease.current
        assert current is not None
        self.handed.append(Handed(time.monotonic(), current.epoch))

    async def _see_record(self, message: Message) -> None:
        record = decode_record(message.data)
        if is_terminal(record.status):
            revision = message.headers.get("Nats-Sequence", str(record.updated_at))
            self.terminal[record.id, record.generation].add(f"{revision} {record.status}")
            self.ended.add(record.id)

    @property
    def epoch(self) -> int:
        return max((one.epoch for one in self.handed), default=0)

    def silence_s(self, since_s: float, until_s: float) -> float:
        """The longest time without a hand-over between the two."""
        within = [one.at_s for one in self.handed if since_s < one.at_s < until_s]
        return max(after - before for before, after in pairwise([since_s, *within, until_s]))

    def epochs_mixed(self) -> int:
        """Hand-overs of an older epoch that passed after one of a newer."""
        newest, mixed = 0, 0
        for one in self.handed:
            mixed += one.epoch < newest
            newest = max(newest, one.epoch)
        return mixed


class Load:
    """Submits until told to stop, and keeps `backlog` tasks unfinished, so that somebody always waits for a slot."""

    def __init__(self, system: Pieces, *, backlog: int, timeout_ms: int) -> None:
        self._system = system
        self._backlog = backlog
        self._item = TaskRequest(
            type="chaos",
            payload=msgspec.Raw(b'{"text":"Zug"}'),
            timeout_ms=timeout_ms,
            max_attempts=ATTEMPTS_MAX,
            retry=RetryRequest(base_ms=50, max_ms=500),
        )
        self._stop = False
        self.watched = Watched()
        self.acked: set[str] = set()
        self.unknown = 0

    async def run(self) -> None:
        """Until `stop` is called."""
        while not self._stop:
            if len(self.acked) - len(self.watched.ended) >= self._backlog:
                await self._look_for_missed()
                continue
            await self._submit()

    def stop(self) -> None:
        self._stop = True

    async def _submit(self) -> None:
        try:
            answer = await self._system.client.tasks.submit_many([self._item] * BATCH)
        except (PointsmanError, BusError):
            self.unknown += BATCH
            await asyncio.sleep(AGAIN_S)
            return
        self.acked.update(item.id for item in answer.results if item.id is not None)

    async def _look_for_missed(self) -> None:
        """The end of a task may have been told while nobody could hear it."""
        await asyncio.sleep(0.02)
        if self._seen_recently():
            return
        for task_id in list(self.acked - self.watched.ended)[:ASKED_AT_ONCE]:
            try:
                if is_terminal((await self._system.client.tasks.get(task_id)).status):
                    self.watched.ended.add(task_id)
            except (PointsmanError, BusError):
                await asyncio.sleep(AGAIN_S)

    def _seen_recently(self) -> bool:
        return bool(self.watched.handed) and time.monotonic() - self.watched.handed[-1].at_s < 1.0

    async def all_ended(self, *, within_s: float) -> dict[str, Task]:
        """Every acknowledged task as it is in the end; those that do not end in time as they are then."""
        tasks: dict[str, Task] = {}
        gate = asyncio.Semaphore(ASKED_AT_ONCE)
        until_s = time.monotonic() + within_s

        async def follow(task_id: str) -> None:
            async with gate:
                while task_id not in tasks or not is_terminal(tasks[task_id].status):
                    left_s = until_s - time.monotonic()
                    if left_s < 0:
                        return
                    try:
                        tasks[task_id] = await self._system.client.tasks.wait(task_id, min(left_s, 5.0))
                    except (PointsmanError, BusError):
                        await asyncio.sleep(AGAIN_S)

        async with asyncio.TaskGroup() as group:
            for task_id in self.acked:
                group.create_task(follow(task_id))
        return tasks


@asynccontextmanager
async def servers(system: Pieces, kinds: Sequence[Kind]) -> AsyncIterator[list[Limited]]:
    """Registered and serving."""
    async with AsyncExitStack() as stack:
        made = []
        for kind in kinds:
            backend = await stack.enter_async_context(await Backend.start(mode=kind.mode))
            endpoints = Endpoints(predict=f"{backend.url}/predict", health=f"{backend.url}/health")
            request = ServerRequest(id=kind.name, endpoints=endpoints, max_concurrent=kind.limit, **kind.more)
            await system.client.servers.register(request)
            made.append(Limited(kind.name, backend, kind.limit))

        async def all_online() -> bool:
            return all(one.status == "online" for one in (await system.client.servers.list()).servers)

        await eventually(all_online, "the servers are online", within_s=HEALTHY_WITHIN_S)
        yield made


async def at_rest(system: Pieces, *, within_s: float) -> BalancerStatus:
    """Nothing waits, in no count, nothing runs, no slot is used and none is missing: what the leader says once that is so."""

    async def rests() -> BalancerStatus:
        try:
            status = await system.client.balancer.status()
        except (PointsmanError, BusError) as error:
            raise AssertionError(repr(error)) from error
        used = {server_id: load.active_tasks for server_id, load in status.servers.items() if load.active_tasks}
        waiting = (status.pending, status.waiting, sum(pool.pending for pool in status.pools.values()), status.classes)
        assert (status.active, waiting, used) == (0, (0, 0, 0, ()), {}), f"{status.active} {waiting} {used}"
        return status

    found: BalancerStatus = await eventually(rests, "all slots are free", within_s=within_s)
    return found


async def judged(load: Load, tasks: dict[str, Task], limited: Sequence[Limited]) -> Verdict:
    """What must be true whatever broke, and figures for people."""
    verdict = Verdict()
    watched = load.watched
    verdict.claim("acknowledged, not found", sorted(load.acked - set(tasks)))
    verdict.claim(
        "not COMPLETED",
        [(t.id, t.status, t.error, t.attempts[-3:]) for t in tasks.values() if t.status != Status.COMPLETED],
    )
    doubled = [t.id for t in tasks.values() if sum(a.outcome == "succeeded" for a in t.attempts) != 1]
    verdict.claim("not exactly one successful attempt", doubled)
    verdict.claim("several terminal records", [item for item in watched.terminal.items() if len(item[1]) > 1])
    stats = await asyncio.gather(*(one.backend.stats() for one in limited))
    peaks = {one.id: (seen["peak"], one.max_concurrent) for one, seen in zip(limited, stats, strict=True)}
    verdict.claim("more at a time than maxConcurrent", [item for item in peaks.items() if item[1][0] > item[1][1]])
    verdict.claim(
        "started late", [(one.id, seen["late"]) for one, seen in zip(limited, stats, strict=True) if seen["late"]]
    )
    twice = [i for seen in stats for i, numbers in seen["attempts"].items() if len(numbers) != len(set(numbers))]
    verdict.claim("the same attempt called twice", twice)
    verdict.numbers |= {
        "acked": len(load.acked),
        "of unknown fate": load.unknown,
        "calls": sum(seen["calls"] for seen in stats),
        "peaks of limits": {name: f"{peak} of {limit}" for name, (peak, limit) in peaks.items()},
        "other outcomes": dict(
            Counter(a.outcome for t in tasks.values() for a in t.attempts if a.outcome != "succeeded")
        ),
        "reasons": dict(
            Counter(str(a.error)[:60] for t in tasks.values() for a in t.attempts if a.outcome != "succeeded")
        ),
        "hand-overs of an older epoch after a newer": watched.epochs_mixed(),
    }
    return verdict
