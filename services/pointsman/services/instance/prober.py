"""The one prober: asks servers for their health when it is due, hears what others saw, stores what the machine concludes."""

import asyncio
from collections.abc import Callable, Mapping
from random import Random

import aiohttp
import structlog
from msgspec.structs import replace

from pointsman.contracts.balancer import Alert
from pointsman.contracts.execution import Evidence
from pointsman.contracts.server import Heartbeat, ServerConfig, ServerHealth
from pointsman.services.instance import health_answer
from pointsman.services.instance.backend import Backends
from pointsman.services.instance.faults import reason_of
from pointsman.services.instance.fleet import Fleet, Known, Target
from pointsman.services.instance.health import HealthMachine, fresh
from pointsman.services.instance.health_writer import HealthWriter
from pointsman.services.instance.watch import Look, Moment, Watch
from pointsman.services.runtime.clock import Clock
from pointsman.services.runtime.kv import Bucket
from pointsman.services.runtime.loop import Background

log = structlog.get_logger()

PROBE_BYTES_MAX = 64 * 1024
CONCURRENCY_MAX = 256
TICK_S = 0.25
SPREAD_EACH_S, SPREAD_MAX_S = 0.005, 5.0
UNWRITTEN_RETRY_S = 1.0
UNHEALTHY = "unhealthy"


class Prober:
    """`leads` says whether this process is the prober at this moment."""

    def __init__(
        self, *, fleet: Fleet, backends: Backends, bucket: Bucket, leads: Callable[[], bool], clock: Clock, rng: Random
    ) -> None:
        self._fleet = fleet
        self._backends = backends
        self._leads = leads
        self._clock = clock
        self._rng = rng
        self._machine = HealthMachine(rng)
        self._writer = HealthWriter(bucket, self._stored_next)
        self._active_tasks: dict[str, int | None] = {}
        self._probing: set[str] = set()
        self._unwritten: dict[str, float] = {}
        self._ticked_s = 0.0
        self._wake = asyncio.Event()
        self._work = Background()
        self._led = False

    @property
    def is_leading(self) -> bool:
        return self._led

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            self._wake.clear()
            self._take_or_leave()
            if self._led:
                self._tick()
                self._start_due()
                self._store_changes()
            await self._sleep()

    async def stop(self) -> None:
        await self._work.stop()

    def changed(self, server_id: str) -> None:
        """A record of this server was written: begin, end, adapt or restart watching it."""
        if not self._led:
            return
        known = self._fleet.known(server_id)
        if known is None or known.config is None or not self._fleet.is_probed(server_id):
            self._forget(server_id)
            return
        watch = self._machine.get(server_id)
        stored = fresh(known.health, known.config.registered_at, self._clock.now_ms())
        is_same = watch is not None and watch.health.registered_at == stored.registered_at
        if not is_same or self._writer.is_foreign(server_id, stored, known.health_revision):
            self._watch(known.config, stored, known.health_revision, first_in_s=0.0)
        else:
            self._machine.resize(server_id, known.config.pool, known.config.max_concurrent)

    def beaten(self, beat: Heartbeat) -> None:
        self._machine.beaten(beat.server_id, beat.active_tasks, self._now(), is_well=beat.status != UNHEALTHY)

    def heard(self, evidence: Evidence) -> None:
        self._machine.heard(evidence, self._now())
        self._wake.set()

    def loaded(self, active: Mapping[str, int]) -> None:
        self._machine.loaded(active, self._clock.monotonic_s())

    def fresh(self) -> dict[str, ServerHealth]:
        """What is new since the last call, for those who show it."""
        stirred, self._machine.stirred = self._machine.stirred, set()
        shown = {server_id: self._shown(server_id) for server_id in stirred}
        return {server_id: health for server_id, health in shown.items() if health is not None}

    def alarms(self) -> tuple[Alert, ...]:
        return self._machine.alarms() if self._led else ()

    def _now(self) -> Moment:
        return Moment(self._clock.monotonic_s(), self._clock.now_ms())

    def _shown(self, server_id: str) -> ServerHealth | None:
        health = self._machine.shown(server_id, self._clock.monotonic_s())
        return health and with_active_tasks(health, self._active_tasks.get(server_id))

    def _stored_next(self, server_id: str) -> ServerHealth | None:
        return self._machine.shown(server_id, self._clock.monotonic_s()) if self._leads() else None

    def _take_or_leave(self) -> None:
        leads = self._leads()
        if leads == self._led:
            return
        self._led = leads
        self._machine = HealthMachine(self._rng)
        self._writer.clear()
        self._unwritten.clear()
        if leads:
            self._take()

    def _take(self) -> None:
        """A new prober looks at all servers within 5 s, evenly, and at few of them at once."""
        now, servers = self._clock.now_ms(), self._fleet.probed()
        spread_s = min(SPREAD_MAX_S, SPREAD_EACH_S * len(servers))
        for server_id in servers:
            known = self._fleet.known(server_id) or Known()
            if known.config is not None:
                stored = fresh(known.health, known.config.registered_at, now)
                first_in_s = self._rng.uniform(0, spread_s)
                self._watch(known.config, stored, known.health_revision, first_in_s=first_in_s)

    def _watch(self, config: ServerConfig, stored: ServerHealth, revision: int, *, first_in_s: float) -> None:
        self._writer.begin(config.id, revision)
        self._machine.watch(config.id, config.pool, config.max_concurrent, stored, self._now(), first_in_s=first_in_s)
        self._wake.set()

    def _forget(self, server_id: str) -> None:
        self._machine.forget(server_id)
        self._writer.forget(server_id)
        self._active_tasks.pop(server_id, None)
        self._unwritten.pop(server_id, None)

    def _tick(self) -> None:
        now = self._now()
        if now.s - self._ticked_s >= TICK_S:
            self._ticked_s = now.s
            self._machine.tick(now)

    def _start_due(self) -> None:
        now = self._now()
        while len(self._probing) < CONCURRENCY_MAX and (server_id := self._machine.next_due(now)) is not None:
            if server_id not in self._probing:
                self._probing.add(server_id)
                self._work.run(self._probe(server_id), f"probe {server_id}")

    async def _sleep(self) -> None:
        """Until the next tick, probe or news."""
        due_s = self._machine.next_due_s() if len(self._probing) < CONCURRENCY_MAX else None
        wait_s = TICK_S if due_s is None else min(TICK_S, max(0.0, due_s - self._clock.monotonic_s()))
        try:
            async with asyncio.timeout(wait_s):
                await self._wake.wait()
        except TimeoutError:
            return

    async def _probe(self, server_id: str) -> None:
        machine, watch = self._machine, self._machine.get(server_id)
        target = self._fleet.target(server_id)
        try:
            if watch is None or target is None:
                return
            look = await self._ask(server_id, target)
            if self._machine is machine and machine.get(server_id) is watch:
                self._active_tasks[server_id] = look.active_tasks
                machine.probed(server_id, look, self._now())
        finally:
            is_room_news = len(self._probing) >= CONCURRENCY_MAX
            self._probing.discard(server_id)
            self._look_anew(server_id, watch)
            if is_room_news or self._machine.changed:
                self._wake.set()

    def _look_anew(self, server_id: str, watch: Watch | None) -> None:
        """A server that was registered anew during its probe was not asked again while that ran."""
        current = self._machine.get(server_id)
        if current is not None and current is not watch:
            self._machine.schedule(current, self._clock.monotonic_s())

    async def _ask(self, server_id: str, target: Target) -> Look:
        timeout_s = self._machine.timeout_s(self._clock.monotonic_s())
        try:
            async with asyncio.timeout(timeout_s):
                answer = await self._backends.ask("GET", target.health, limit=PROBE_BYTES_MAX, tls=target.tls)
        except (aiohttp.ClientError, OSError) as error:
            return Look(f"the health check failed: {_reason(error, timeout_s)}", is_refusal(error))
        fault = health_answer.fault_of(answer, server_id, self._fleet.ids())
        return Look(fault, active_tasks=health_answer.active_tasks_of(answer))

    def _store_changes(self) -> None:
        changed, self._machine.changed = self._machine.changed, set()
        now_s = self._clock.monotonic_s()
        due = {server_id for server_id, due_s in self._unwritten.items() if due_s <= now_s}
        for server_id in changed | due:
            self._unwritten[server_id] = now_s + UNWRITTEN_RETRY_S
            if not self._writer.is_writing(server_id):
                self._work.run(self._store(server_id), f"store health of {server_id}")

    async def _store(self, server_id: str) -> None:
        state = self._machine.get(server_id)
        before = state.health.since if state is not None else 0
        if await self._writer.write(server_id):
            after = self._machine.get(server_id)
            if after is None or after.health.since == before:
                self._unwritten.pop(server_id, None)


def with_active_tasks(health: ServerHealth, active_tasks: int | None) -> ServerHealth:
    return replace(health, active_tasks=active_tasks)


def is_refusal(error: Exception) -> bool:
    """Nobody listens at the address."""
    return isinstance(error, aiohttp.ClientConnectorError) and isinstance(error.os_error, ConnectionRefusedError)


def _reason(error: Exception, timeout_s: float) -> str:
    if isinstance(error, TimeoutError) and not isinstance(error, aiohttp.ClientError):
        return f"no answer within {timeout_s:g} s"
    return reason_of(error)
