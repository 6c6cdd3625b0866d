"""The one prober: asks each server for its health when it is due, writes the state when it changes."""

import asyncio
import heapq
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

import aiohttp
import structlog
from msgspec.structs import replace as with_fields

from pointsman.client.bus import BusError
from pointsman.contracts.base import encode
from pointsman.contracts.errors import PointsmanError
from pointsman.contracts.ids import new_operation_id
from pointsman.contracts.server import HealthState, ServerHealth
from pointsman.contracts.subjects import token
from pointsman.services.instance import health
from pointsman.services.instance.backend import Backends
from pointsman.services.instance.faults import reason_of
from pointsman.services.instance.fleet import Fleet, Target
from pointsman.services.runtime.clock import Clock
from pointsman.services.runtime.kv import Bucket, RevisionMoved
from pointsman.services.runtime.loop import Background

log = structlog.get_logger()

PROBE_S = 2.0
PROBE_BYTES_MAX = 64 * 1024
CONCURRENCY_MAX = 64
IDLE_S = 0.5
SPREAD_S = 5.0
EVIDENCE_GAP_MS = 1_000
UNWRITTEN_RETRY_S = 1.0


@dataclass(slots=True)
class _Watched:
    check: health.Check
    revision: int
    due_s: float
    is_running: bool = False
    being_written: ServerHealth | None = None


@dataclass(slots=True)
class Prober:
    """`leads` says whether this process is the prober at this moment."""

    fleet: Fleet
    backends: Backends
    bucket: Bucket
    leads: Callable[[], bool]
    clock: Clock
    rng: Random
    _watched: dict[str, _Watched] = field(default_factory=dict)
    _queue: list[tuple[float, str]] = field(default_factory=list)
    _fresh: dict[str, ServerHealth] = field(default_factory=dict)
    _wake: asyncio.Event = field(default_factory=asyncio.Event)
    _work: Background = field(default_factory=Background)
    _led: bool = False

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            self._wake.clear()
            self._take_or_leave()
            await self._sleep(self._start_due())

    async def stop(self) -> None:
        await self._work.stop()

    def changed(self, server_id: str) -> None:
        """A record of this server was written: begin, end or restart watching it."""
        if not self._led:
            return
        known = self.fleet.known(server_id)
        if known is None or not self.fleet.is_probed(server_id):
            self._watched.pop(server_id, None)
            return
        watched = self._watched.get(server_id)
        stored = health.current(known, self.clock.now_ms())
        if watched is None or _is_foreign(watched, stored, known.health_revision):
            self._watch(server_id, stored, known.health_revision, due_s=self.clock.monotonic_s())

    def hasten(self, server_id: str) -> None:
        """Evidence of a fault: look now, unless the last look was within a second."""
        watched = self._watched.get(server_id)
        if watched is None or self.clock.now_ms() - (watched.check.health.last_check or 0) < EVIDENCE_GAP_MS:
            return
        self._schedule(server_id, watched, self.clock.monotonic_s())

    def fresh(self) -> dict[str, ServerHealth]:
        """The checks since the last call, for those who show them."""
        fresh, self._fresh = self._fresh, {}
        return fresh

    def _take_or_leave(self) -> None:
        leads = self.leads()
        if leads == self._led:
            return
        self._led = leads
        self._watched.clear()
        self._queue.clear()
        if leads:
            self._take()

    def _take(self) -> None:
        """A new prober looks at new servers at once and at the others within 5 s, spread."""
        now_s, now = self.clock.monotonic_s(), self.clock.now_ms()
        for server_id in self.fleet.probed():
            known = self.fleet.known(server_id)
            assert known is not None
            last = health.current(known, now)
            wait_s = 0.0 if last.state is HealthState.NEW else self.rng.uniform(0, SPREAD_S)
            self._watch(server_id, last, known.health_revision, due_s=now_s + wait_s)

    def _watch(self, server_id: str, last: ServerHealth, revision: int, *, due_s: float) -> None:
        self._watched[server_id] = watched = _Watched(health.Check(last), revision, due_s)
        self._schedule(server_id, watched, due_s)

    def _schedule(self, server_id: str, watched: _Watched, due_s: float) -> None:
        watched.due_s = due_s
        heapq.heappush(self._queue, (due_s, server_id))
        self._wake.set()

    def _start_due(self) -> float:
        """Start what is due; returns the seconds until something may be due next."""
        now_s = self.clock.monotonic_s()
        while self._queue and len(self._work) < CONCURRENCY_MAX:
            due_s, server_id = self._queue[0]
            if due_s > now_s:
                return min(due_s - now_s, IDLE_S)
            heapq.heappop(self._queue)
            watched = self._watched.get(server_id)
            if watched is not None and watched.due_s == due_s and not watched.is_running:
                watched.is_running = True
                self._work.run(self._probe(server_id, watched), f"probe {server_id}")
        return IDLE_S

    async def _sleep(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._wake.wait()
        except TimeoutError:
            return

    async def _probe(self, server_id: str, watched: _Watched) -> None:
        target = self.fleet.target(server_id)
        try:
            if target is not None:
                await self._look(server_id, watched, target)
        finally:
            watched.is_running = False
            if self._watched.get(server_id) is watched:
                self._schedule(server_id, watched, self.clock.monotonic_s() + watched.check.wait_s)

    async def _look(self, server_id: str, watched: _Watched, target: Target) -> None:
        error, active_tasks = await self._ask(server_id, target)
        if self._watched.get(server_id) is not watched:
            return
        check = health.after_probe(watched.check, error, now=self.clock.now_ms(), rng=self.rng)
        if check.health.state is watched.check.health.state or await self._write(server_id, watched, check):
            watched.check = check
            self._fresh[server_id] = with_fields(check.health, active_tasks=active_tasks)

    async def _ask(self, server_id: str, target: Target) -> tuple[str | None, int | None]:
        """What is wrong with the server, or None; and how many tasks it says it runs."""
        try:
            async with asyncio.timeout(PROBE_S):
                answer = await self.backends.ask("GET", target.health, limit=PROBE_BYTES_MAX, tls=target.tls)
        except (aiohttp.ClientError, OSError) as error:
            reason = reason_of(error) if str(error) else f"no answer within {PROBE_S:g} s"
            return f"the health check failed: {reason}", None
        return health.fault_of(answer, server_id, self.fleet.ids()), health.active_tasks_of(answer)

    async def _write(self, server_id: str, watched: _Watched, check: health.Check) -> bool:
        """Commit a change of state; what somebody else wrote in between comes back through `changed`."""
        before, after = watched.check.health.state, check.health.state
        watched.check = health.Check(watched.check.health, watched.check.misses, UNWRITTEN_RETRY_S)
        if not self.leads():
            return False
        try:
            await self._put(f"health.{token(server_id)}", watched, check.health)
        except (RevisionMoved, PointsmanError, BusError) as error:
            log.warning("health not written", server=server_id, error=str(error))
            return False
        log.info("health changed", server=server_id, before=before, after=after, reason=check.health.error)
        return True

    async def _put(self, key: str, watched: _Watched, stored: ServerHealth) -> None:
        watched.being_written = stored
        try:
            watched.revision = await self.bucket.update(
                key, encode(stored), revision=watched.revision, operation=new_operation_id()
            )
        except RevisionMoved:
            entry = await self.bucket.get(key, latest=True)
            if entry is None or not entry.data:
                watched.revision = entry.revision if entry else 0
            raise
        finally:
            watched.being_written = None


def _is_foreign(watched: _Watched, stored: ServerHealth, revision: int) -> bool:
    """Whether the record is of another registration, or was written by somebody else after ours."""
    if stored.registered_at != watched.check.health.registered_at:
        return True
    return revision > watched.revision and stored != watched.being_written
