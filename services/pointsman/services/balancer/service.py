"""The balancer service: one elected leader dispatches and answers, standbys fold the same picture and wait."""

import asyncio
from random import Random

import msgspec
import structlog

from pointsman.client.bus import Message, Subscription
from pointsman.contracts.balancer import BalancerStatus
from pointsman.contracts.base import encode
from pointsman.contracts.commands import TaskId
from pointsman.contracts.errors import not_found, unavailable
from pointsman.contracts.execution import ExecutorBeat, Release
from pointsman.contracts.explain import Explanation
from pointsman.contracts.server import Heartbeat, ServerHealth
from pointsman.contracts.subjects import (
    BUCKET_LEASES,
    BUCKET_SETTINGS,
    BUCKET_TASKS,
    VIEW_EXECUTORS,
    VIEW_HEALTH,
    VIEW_HEARTBEAT,
    VIEW_LOAD,
    VIEW_RELEASES,
    VIEW_VIEWER,
)
from pointsman.services.balancer import rules
from pointsman.services.balancer.audit import Audit
from pointsman.services.balancer.dispatch import Dispatcher
from pointsman.services.balancer.executors import Executors
from pointsman.services.balancer.explain import ahead, explanation, reason
from pointsman.services.balancer.flow_frame import Term
from pointsman.services.balancer.follow import Folding
from pointsman.services.balancer.model import Model
from pointsman.services.balancer.reconcile import Reconciler
from pointsman.services.balancer.settings import SettingsDesk
from pointsman.services.balancer.teller import FlowTeller
from pointsman.services.runtime.context import Context
from pointsman.services.runtime.kv import KvBucket
from pointsman.services.runtime.leader import Leadership
from pointsman.services.runtime.live_settings import SettingsStore
from pointsman.services.runtime.loop import Background
from pointsman.services.runtime.serve import Call, Serving, Verb, serve
from pointsman.services.runtime.settling import Settler
from pointsman.services.runtime.task_store import TaskStore
from pointsman.services.version import VERSION

log = structlog.get_logger()

STEP_S = 1.0
AUDIT_S = 60.0
PROBE_MS = 2_000
EXPLAIN_CONCURRENCY = 64

_ID = msgspec.json.Decoder(TaskId)
_BEAT = msgspec.json.Decoder(ExecutorBeat)
_RELEASE = msgspec.json.Decoder(Release)
_HEARTBEAT = msgspec.json.Decoder(Heartbeat)
_CHECKS = msgspec.json.Decoder(dict[str, ServerHealth])


class BalancerService:
    def __init__(self, context: Context) -> None:
        self._context = context
        bus, clock = context.bus, context.clock
        self._bus, self._clock = bus, clock
        self._model = Model()
        self._executors = Executors()
        store = TaskStore(KvBucket(bus, BUCKET_TASKS), KvBucket(bus, BUCKET_LEASES), context.settings.result_ttl_s)
        self._leadership = Leadership(context, "balancer", on_change=self._on_leadership)
        self._reconciler = Reconciler(self._model, self._executors, store, Settler(bus, store, clock, Random()), clock)
        self._dispatcher = Dispatcher(
            bus,
            self._model,
            self._executors,
            store,
            clock,
            Random(),
            may_dispatch=self._may_dispatch,
            epoch=lambda: self._leadership.epoch,
            undelivered=self._reconciler.undelivered,
        )
        self._folding = Folding(
            bus,
            self._model,
            clock,
            relaxed=context.settings.durability == "relaxed",
            changed=self._dispatcher.schedule,
            replayed=self._on_replay,
        )
        self._audit = Audit(bus, self._model, clock, refresh=self._folding.tasks.refresh)
        settings = SettingsStore(KvBucket(bus, BUCKET_SETTINGS))
        self._desk = SettingsDesk(settings, self._folding.book, self._model, clock, self._folding.fold_setting)
        self._teller = FlowTeller(
            bus, self._model, self._folding.book, self._executors, clock, term=self._dispatching_term
        )
        self._background = Background()
        self._subscriptions: list[Subscription] = []
        self._serving: Serving | None = None
        self._serving_lock = asyncio.Lock()
        self._serving_settings: Serving | None = None
        self._knows_all = False
        self._term = 0
        self._recoveries = 0

    async def start(self) -> None:
        for subject, handler in (
            (VIEW_EXECUTORS, self._on_beat),
            (VIEW_RELEASES, self._on_release),
            (VIEW_HEARTBEAT, self._on_heartbeat),
            (VIEW_HEALTH, self._on_checks),
            (VIEW_VIEWER, self._teller.on_viewer),
        ):
            self._subscriptions.append(await self._bus.subscribe(subject, handler))
        await self._dispatcher.start()
        await self._folding.start()
        self._serving_settings = await serve(self._bus, "balancer", VERSION, self._desk.verbs())
        await self._leadership.start()
        self._background.every(STEP_S, self._step, "balancer step")
        self._background.every(AUDIT_S, self._compare, "audit")
        self._background.every(0, self._teller.step, "flow told")

    async def stop(self) -> None:
        self._knows_all = False
        for serving in (self._serving, self._serving_settings):
            if serving is not None:
                await serving.drain()
        await self._background.stop()
        await self._dispatcher.stop()
        await self._leadership.stop()
        await self._folding.stop()
        for subscription in self._subscriptions:
            await subscription.unsubscribe()

    def _may_dispatch(self) -> bool:
        return self._knows_all and self._leadership.is_leader()

    def _dispatching_term(self) -> Term | None:
        return Term(self._context.instance, self._leadership.epoch) if self._may_dispatch() else None

    def _on_leadership(self, leads: bool) -> None:
        self._begin_term()
        self._background.run(self._take_over() if leads else self._step_down(), "leadership change")

    async def _take_over(self) -> None:
        """Know everything before the first pick, then answer and dispatch."""
        await self._know_all()
        await self._serve()

    async def _serve(self) -> None:
        """Once, whoever asks: the take-over, or a later step when the bus was gone before that could."""
        async with self._serving_lock:
            if self._serving is None and self._leadership.is_leader():
                verbs = (
                    Verb("status", self._status),
                    Verb("explain", self._explain, EXPLAIN_CONCURRENCY),
                )
                self._serving = await serve(self._bus, "balancer", VERSION, verbs)

    def _begin_term(self) -> None:
        """Whatever was about to declare that all is known did so of an earlier time."""
        self._term += 1
        self._knows_all = False

    async def _know_all(self) -> None:
        """Read both buckets up to their last sequences, and write again what a broker crash took from the leases."""
        term = self._term
        self._recoveries += 1
        try:
            await self._folding.refresh()
            await self._reconciler.write_again()
        finally:
            self._recoveries -= 1
        if term == self._term and self._leadership.is_leader():
            self._model.pending.gates.begin_term(self._clock.monotonic_s())
            self._reconciler.took_over()
            self._teller.begin_term()
            self._knows_all = True
            log.info("dispatching", epoch=self._leadership.epoch, live=len(self._model.entries))
            self._dispatcher.schedule()

    async def _step_down(self) -> None:
        serving, self._serving = self._serving, None
        if serving is not None:
            await serving.drain()

    def _on_replay(self) -> None:
        """The bus was gone: a leader stands still until all is known again, a standby writes again what was lost."""
        if self._knows_all or self._leadership.is_leader():
            self._begin_term()
            self._background.run(self._know_all(), "know all again")
        else:
            self._background.run(self._write_again(), "write again")

    async def _write_again(self) -> None:
        """The compare-and-set makes it harmless that every balancer does this."""
        await self._folding.leases.caught_up()
        await self._reconciler.write_again()

    async def _step(self) -> None:
        if self._leadership.is_leader() and not self._knows_all and not self._recoveries:
            await self._know_all()
        if not self._may_dispatch():
            return
        await self._serve()
        await self._reconciler.step()
        frame = rules.load_frame(
            self._model, self._leadership.epoch, self._dispatcher.recent_aborts(), self._clock.now_ms()
        )
        await self._bus.publish(VIEW_LOAD, encode(frame))
        self._dispatcher.schedule()

    async def _compare(self) -> None:
        if self._may_dispatch() and await self._audit.step():
            self._dispatcher.schedule()

    async def _on_beat(self, message: Message) -> None:
        self._executors.heard(_BEAT.decode(message.data), self._clock.monotonic_s())
        self._dispatcher.schedule()

    async def _on_release(self, message: Message) -> None:
        release = _RELEASE.decode(message.data)
        if self._model.released(release.task_id, release.generation, release.number):
            self._dispatcher.schedule()

    async def _on_heartbeat(self, message: Message) -> None:
        beat = _HEARTBEAT.decode(message.data)
        if beat.active_tasks is not None and self._model.slots.reported(beat.server_id, beat.active_tasks, beat.at):
            self._dispatcher.schedule()

    async def _on_checks(self, message: Message) -> None:
        """What servers said of themselves in their health answers, as of when they were asked."""
        freed = [
            self._model.slots.reported(server_id, check.active_tasks, (check.last_check or 0) - PROBE_MS)
            for server_id, check in _CHECKS.decode(message.data).items()
            if check.active_tasks is not None
        ]
        if any(freed):
            self._dispatcher.schedule()

    async def _status(self, call: Call) -> BalancerStatus:
        if not self._may_dispatch():
            raise unavailable("no balancer leads at the moment", 1)
        return rules.status(
            self._model,
            leader=self._context.instance,
            epoch=self._leadership.epoch,
            last_dispatch=self._dispatcher.last_dispatch,
            dispatched=self._dispatcher.dispatched,
            now=self._clock.now_ms(),
            now_s=self._clock.monotonic_s(),
        )

    async def _explain(self, call: Call) -> Explanation:
        """Of a live task; the caller has checked who may ask. Counting goes piece by piece, between other work."""
        entry = self._model.entries.get(call.decode(_ID).id)
        if entry is None or not self._may_dispatch():
            raise not_found("the leader knows no such live task")
        now, now_s = self._clock.now_ms(), self._clock.monotonic_s()
        why = reason(self._model, entry, executors=self._executors.count(now_s), now=now, now_s=now_s)
        before = None
        if why.is_in_line:
            before = 0
            for found in ahead(self._model, entry):
                before += found
                await asyncio.sleep(0)
        return explanation(self._model, entry, why, before, now=now, now_s=now_s)


def build(context: Context) -> BalancerService:
    return BalancerService(context)
