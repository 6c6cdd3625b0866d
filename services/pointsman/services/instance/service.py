"""The instance service: wires fleet, executor and prober together."""

from itertools import batched
from random import Random

import msgspec

from pointsman.client.bus import Message, Subscription
from pointsman.contracts import subjects
from pointsman.contracts.actor import Role
from pointsman.contracts.balancer import Alert, LoadFrame
from pointsman.contracts.base import Message as Said
from pointsman.contracts.errors import forbidden
from pointsman.contracts.execution import Alarms, Evidence, Handover
from pointsman.contracts.record import CurrentAttempt, TaskRecord
from pointsman.contracts.server import Heartbeat, ServerHealth
from pointsman.services.instance.abort import Canceller
from pointsman.services.instance.attempt import Attempts
from pointsman.services.instance.backend import Backends
from pointsman.services.instance.executor import Executor
from pointsman.services.instance.fleet import Fleet
from pointsman.services.instance.prober import Prober
from pointsman.services.instance.webhooks import Webhooks, WebhookStatus
from pointsman.services.runtime.context import Context
from pointsman.services.runtime.follow import Follower
from pointsman.services.runtime.kv import KvBucket
from pointsman.services.runtime.leader import Leadership
from pointsman.services.runtime.loop import Background
from pointsman.services.runtime.outcomes import Outcome
from pointsman.services.runtime.serve import Call, Serving, Verb, serve
from pointsman.services.runtime.settings import require_secret
from pointsman.services.runtime.settling import Settled, Settler
from pointsman.services.runtime.task_store import StoredTask, TaskStore
from pointsman.services.runtime.tokens import GRACE_MS, AttemptClaims, AttemptTokens
from pointsman.services.version import VERSION

TELL_S = 1.0
TELL_ALARMS_AGAIN_S = 5.0
CHECKS_TOLD_MAX = 500

Checks = dict[str, ServerHealth]
_CHECKS = msgspec.json.Decoder(Checks)
_EVIDENCE = msgspec.json.Decoder(Evidence)
_HEARTBEAT = msgspec.json.Decoder(Heartbeat)
_LOAD = msgspec.json.Decoder(LoadFrame)
_ALARMS = msgspec.json.Decoder(Alarms)
_ENCODER = msgspec.json.Encoder()


class InstanceStatus(Said):
    """`prober` says whether this replica probes; `checks` are the last checks of all servers, `alarms` what holds now."""

    executor: str
    prober: bool
    checks: Checks
    webhooks: WebhookStatus
    alarms: tuple[Alert, ...] = ()


class InstanceService:
    def __init__(self, context: Context) -> None:
        self._context = context
        self._name = subjects.token(context.instance)
        self._checks: Checks = {}
        self._alarms: tuple[Alert, ...] = ()
        self._alarms_told_s = 0.0
        self._background = Background()
        self._subscriptions: list[Subscription] = []
        self._serving: Serving | None = None
        self._backends = Backends(context.settings.egress)
        self._leadership = Leadership(context, "instance.prober")
        self._fleet = Fleet(self._changed)
        self._follower = Follower(context.bus, subjects.stream_of(subjects.BUCKET_SERVERS), self._fleet.fold)
        self._prober = Prober(
            fleet=self._fleet,
            backends=self._backends,
            bucket=KvBucket(context.bus, subjects.BUCKET_SERVERS),
            leads=self._leadership.is_leader,
            clock=context.clock,
            rng=Random(),
        )
        self._executor = executor(context, self._name, self._fleet, self._backends)
        secret = require_secret(context.settings)
        self._webhooks = Webhooks(context.bus, self._backends, secret, context.clock, Random())

    async def start(self) -> None:
        bus = self._context.bus
        await self._backends.start()
        await self._follower.start()
        await self._follower.caught_up()
        self._subscriptions = [
            await bus.subscribe(subjects.VIEW_EVIDENCE, self._on_evidence),
            await bus.subscribe(subjects.VIEW_HEARTBEAT, self._on_heartbeat),
            await bus.subscribe(subjects.VIEW_LOAD, self._on_load),
            await bus.subscribe(subjects.VIEW_HEALTH, self._on_checks),
            await bus.subscribe(subjects.VIEW_ALARMS, self._on_alarms),
        ]
        await self._leadership.start()
        self._background.run(self._prober.run(), "prober")
        self._background.every(TELL_S, self._tell_checks, "checks told")
        await self._executor.start()
        self._webhooks.start()
        self._serving = await serve(bus, "instance", VERSION, [Verb("status", self._status)])

    async def stop(self) -> None:
        if self._serving is not None:
            await self._serving.drain()
        await self._webhooks.stop()
        await self._executor.stop()
        for subscription in self._subscriptions:
            await subscription.drain()
        await self._background.stop()
        await self._prober.stop()
        await self._leadership.stop()
        await self._follower.stop()
        await self._backends.stop()

    def _changed(self, server_id: str) -> None:
        if not self._fleet.is_registered(server_id):
            self._checks.pop(server_id, None)
        self._prober.changed(server_id)

    async def _on_evidence(self, message: Message) -> None:
        if self._prober.is_leading:
            self._prober.heard(_EVIDENCE.decode(message.data))

    async def _on_heartbeat(self, message: Message) -> None:
        if self._prober.is_leading:
            self._prober.beaten(_HEARTBEAT.decode(message.data))

    async def _on_load(self, message: Message) -> None:
        if self._prober.is_leading:
            self._prober.loaded(_LOAD.decode(message.data).active)

    async def _on_alarms(self, message: Message) -> None:
        self._alarms = _ALARMS.decode(message.data).alerts

    async def _on_checks(self, message: Message) -> None:
        checks = _CHECKS.decode(message.data)
        self._checks |= {name: check for name, check in checks.items() if self._fleet.is_registered(name)}

    async def _tell_checks(self) -> None:
        if not self._prober.is_leading:
            return
        fresh = self._prober.fresh()
        for some in batched(fresh.items(), CHECKS_TOLD_MAX):
            await self._context.bus.publish(subjects.VIEW_HEALTH, _ENCODER.encode(dict(some)))
        await self._tell_alarms(self._prober.alarms())

    async def _tell_alarms(self, alarms: tuple[Alert, ...]) -> None:
        """On change and from time to time, so that who comes late, or missed one, knows."""
        now_s = self._context.clock.monotonic_s()
        if alarms == self._alarms and now_s - self._alarms_told_s < TELL_ALARMS_AGAIN_S:
            return
        self._alarms, self._alarms_told_s = alarms, now_s
        told = Alarms(prober=self._name, as_of=self._context.clock.now_ms(), alerts=alarms)
        await self._context.bus.publish(subjects.VIEW_ALARMS, _ENCODER.encode(told))

    async def _status(self, call: Call) -> InstanceStatus:
        if not call.actor.has(Role.VIEWER, Role.OPERATOR, Role.ADMIN):
            raise forbidden("Viewer role required")
        prober = self._leadership.is_leader()
        return InstanceStatus(
            executor=self._name,
            prober=prober,
            checks=self._checks,
            webhooks=self._webhooks.status(),
            alarms=self._alarms,
        )


def executor(context: Context, name: str, fleet: Fleet, backends: Backends) -> Executor:
    """The executor of this process on the real task store."""
    bus, settings, clock = context.bus, context.settings, context.clock
    store = TaskStore(
        KvBucket(bus, subjects.BUCKET_TASKS), KvBucket(bus, subjects.BUCKET_LEASES), settings.result_ttl_s
    )
    settler, tokens = Settler(bus, store, clock, Random()), AttemptTokens(require_secret(settings))

    async def fetch(task_id: str) -> TaskRecord | None:
        task = await store.get(task_id)
        return task.record if task else None

    async def settle(handover: Handover, record: TaskRecord, outcome: Outcome) -> Settled:
        task = StoredTask(record, handover.task_revision, handover.lease, handover.lease_revision)
        assert handover.lease.current is not None
        return await settler.settle(task, handover.lease.current, outcome)

    def token_of(handover: Handover, attempt: CurrentAttempt) -> str:
        claims = AttemptClaims(
            task_id=handover.task_id,
            generation=handover.lease.generation,
            number=attempt.number,
            server_id=attempt.server_id,
            expires_at=attempt.deadline + GRACE_MS,
        )
        return tokens.mint(claims)

    return Executor(
        bus,
        name,
        attempts=Attempts(
            fleet=fleet,
            backends=backends,
            fetch=fetch,
            token_of=token_of,
            base_url=settings.base_url,
            final_statuses=frozenset(settings.final_statuses),
            clock=clock,
            rng=Random(),
        ),
        canceller=Canceller(fleet, backends, clock),
        settle=settle,
        limit=settings.executor_concurrency,
        clock=clock,
    )


def build(context: Context) -> InstanceService:
    return InstanceService(context)
