"""Whether this gateway can do its work now, and which dependency is missing if not."""

import asyncio
from collections.abc import Awaitable

import msgspec

from pointsman.client.bus import Bus, BusError
from pointsman.client.call import answer_of, identity
from pointsman.contracts.actor import Actor, Role
from pointsman.contracts.balancer import BalancerStatus
from pointsman.contracts.base import Message, encode
from pointsman.contracts.errors import PointsmanError, Problem, unavailable
from pointsman.contracts.history import HistoryStatus
from pointsman.contracts.subjects import verb
from pointsman.services.gateway.reply import PROBLEM_JSON, Reply
from pointsman.services.gateway.route import Incoming, Ports
from pointsman.services.runtime.clock import Clock
from pointsman.services.runtime.store_probe import why_refused

PROBE_S = 1.0
STORE_S = 3.0
KEPT_S = 0.5
RETRY_AFTER_S = 2
SELF = Actor(sub="gateway", roles=(Role.SERVICE,))


class Dependency(Message):
    ok: bool
    needed: bool
    detail: str = ""


class Alive(Message):
    status: str


class Ready(Message):
    """`status` is ready, or degraded when only the archive is away; `lastDispatchAgeMs` is null before the first."""

    status: str
    dependencies: dict[str, Dependency]
    last_dispatch_age_ms: int | None


class NotReady(Problem, kw_only=True):
    dependencies: dict[str, Dependency]
    last_dispatch_age_ms: int | None


_BALANCER = msgspec.json.Decoder(BalancerStatus)
_HISTORY = msgspec.json.Decoder(HistoryStatus)


async def healthz(_ports: Ports, _incoming: Incoming) -> Reply:
    return Reply(200, encode(Alive(status="ok")))


class Readiness:
    """Asks every dependency, at most twice a second however often it is asked itself."""

    def __init__(self, bus: Bus, clock: Clock) -> None:
        self._bus = bus
        self._clock = clock
        self._lock = asyncio.Lock()
        self._seen: Ready | None = None
        self._seen_at_s = 0.0

    async def readyz(self, _ports: Ports, incoming: Incoming) -> Reply:
        ready = await self.current()
        missing = [name for name, entry in ready.dependencies.items() if entry.needed and not entry.ok]
        return _refusal(ready, missing, incoming.request_id) if missing else Reply(200, encode(ready))

    async def current(self) -> Ready:
        async with self._lock:
            now_s = self._clock.monotonic_s()
            if self._seen is None or now_s - self._seen_at_s > KEPT_S:
                self._seen, self._seen_at_s = await self._asked(), now_s
            return self._seen

    async def balancer(self) -> BalancerStatus | None:
        """What the leader says of itself, None without one."""
        try:
            message = await self._bus.request(
                verb("balancer", "status"), b"{}", headers=identity(SELF), timeout_s=PROBE_S
            )
            return _BALANCER.decode(answer_of(message).data)
        except (BusError, PointsmanError, msgspec.DecodeError):
            return None

    async def history(self) -> HistoryStatus | None:
        """How far the archive is, None while history does not answer."""
        try:
            message = await self._bus.request(
                verb("history", "status"), b"{}", headers=identity(SELF), timeout_s=PROBE_S
            )
            return _HISTORY.decode(answer_of(message).data)
        except (BusError, PointsmanError, msgspec.DecodeError):
            return None

    async def _asked(self) -> Ready:
        task, registry, balancer, (history, postgres), refused = await asyncio.gather(
            _dependency(self._answers("task")),
            _dependency(self._answers("registry")),
            self.balancer(),
            self._archive(),
            why_refused(self._bus, timeout_s=STORE_S),
        )
        dependencies = {
            "bus": Dependency(ok=self._bus.is_connected, needed=True, detail=self._bus.round_trip_url),
            "storage": Dependency(ok=not refused, needed=True, detail=refused),
            "task": task,
            "registry": registry,
            "balancer": _leader(balancer),
            "history": history,
            "postgres": postgres,
        }
        return Ready(
            status="ready" if all(entry.ok for entry in dependencies.values()) else "degraded",
            dependencies=dependencies,
            last_dispatch_age_ms=self._age_ms(balancer),
        )

    async def _answers(self, service: str) -> str:
        """Discovery's own PING (NATS micro): any replica answers, no work is done."""
        await self._bus.request(f"$SRV.PING.{service}", b"", timeout_s=PROBE_S)
        return ""

    async def _archive(self) -> tuple[Dependency, Dependency]:
        """History and its Postgres: without them the rest goes on, so neither is needed."""
        seen = await self.history()
        if seen is None:
            return _optional(False, "does not answer"), _optional(False, "unknown while history does not answer")
        backlog = "" if seen.backlog is None else f"{seen.backlog} records to archive"
        return _optional(True, backlog), _optional(seen.connected, "" if seen.connected else "history cannot use it")

    def _age_ms(self, balancer: BalancerStatus | None) -> int | None:
        if balancer is None or balancer.last_dispatch is None:
            return None
        return max(0, self._clock.now_ms() - balancer.last_dispatch)


def _leader(status: BalancerStatus | None) -> Dependency:
    if status is None:
        return Dependency(ok=False, needed=True, detail="no leader answers")
    return Dependency(ok=True, needed=True, detail=f"leader {status.leader}")


def _optional(ok: bool, detail: str) -> Dependency:
    return Dependency(ok=ok, needed=False, detail=detail)


async def _dependency(asked: Awaitable[str]) -> Dependency:
    try:
        return Dependency(ok=True, needed=True, detail=await asked)
    except BusError as error:
        return Dependency(ok=False, needed=True, detail=f"does not answer ({type(error).__name__})")


def _refusal(ready: Ready, missing: list[str], request_id: str) -> Reply:
    problem = unavailable(f"not ready: {', '.join(missing)}", RETRY_AFTER_S).problem(
        instance="/readyz", request_id=request_id
    )
    body = NotReady(
        **{name: getattr(problem, name) for name in Problem.__struct_fields__},
        dependencies=ready.dependencies,
        last_dispatch_age_ms=ready.last_dispatch_age_ms,
    )
    return Reply(503, encode(body), [(b"retry-after", str(RETRY_AFTER_S).encode())], PROBLEM_JSON)
