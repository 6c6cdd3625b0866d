"""The registry's verbs: who may ask what, and the answer."""

import msgspec
import structlog

from pointsman.client.bus import BusError, Message, Subscription
from pointsman.client.call import answer_of, identity
from pointsman.contracts import subjects
from pointsman.contracts.actor import Actor, Role
from pointsman.contracts.balancer import LoadFrame
from pointsman.contracts.base import encode
from pointsman.contracts.bulk import MaintainManyAnswer, MaintainManyRequest
from pointsman.contracts.commands import BeatServer, ChangeServer, MaintainServer, RegisterServer, RotateCredential
from pointsman.contracts.errors import PointsmanError, forbidden, not_found
from pointsman.contracts.server import (
    CredentialAnswer,
    Heartbeat,
    MaintenanceAnswer,
    ServerConfig,
    ServerHealth,
    ServerId,
    ServerMetricsAnswer,
    ServerPage,
    ServerQuery,
    UnregisterAnswer,
)
from pointsman.contracts.statistics import ServerStatistics
from pointsman.services.registry import bulk, loops, rules, view
from pointsman.services.registry.changes import Changes
from pointsman.services.registry.fleet import Fleet, Member
from pointsman.services.registry.guard import Guard
from pointsman.services.registry.heartbeats import Heartbeats
from pointsman.services.registry.orders import Orders
from pointsman.services.registry.registration import Registration
from pointsman.services.registry.stale import Stale
from pointsman.services.registry.store import ServerStore
from pointsman.services.runtime.audit import Audited
from pointsman.services.runtime.context import Context
from pointsman.services.runtime.follow import Follower
from pointsman.services.runtime.kv import KvBucket
from pointsman.services.runtime.leader import Leadership
from pointsman.services.runtime.loop import Background
from pointsman.services.runtime.serve import Answer, Call, Serving, Verb, serve
from pointsman.services.version import VERSION

log = structlog.get_logger()

STATISTICS_S = 2.0
READERS = (Role.VIEWER, Role.OPERATOR, Role.ADMIN)

_REGISTER = msgspec.json.Decoder(RegisterServer)
_QUERY = msgspec.json.Decoder(ServerQuery)
_ID = msgspec.json.Decoder(ServerId)
_BEAT = msgspec.json.Decoder(BeatServer)
_MAINTAIN = msgspec.json.Decoder(MaintainServer)
_BULK = msgspec.json.Decoder(MaintainManyRequest)
_CHANGE = msgspec.json.Decoder(ChangeServer)
_ROTATE = msgspec.json.Decoder(RotateCredential)
_HEARTBEAT = msgspec.json.Decoder(Heartbeat)
_LOAD = msgspec.json.Decoder(LoadFrame)
_CHECKS = msgspec.json.Decoder(dict[str, ServerHealth])
_STATISTICS = msgspec.json.Decoder(ServerStatistics)


class RegistryService:
    def __init__(self, context: Context) -> None:
        self._context = context
        self._bus, self._clock = context.bus, context.clock
        self._fleet = Fleet()
        self._store = ServerStore(KvBucket(context.bus, subjects.BUCKET_SERVERS))
        self._registration = Registration(self._store, context.settings.egress, context.clock)
        self._orders = Orders(self._store, self._fleet, self._registration, context.clock)
        self._changes = Changes(self._store, self._fleet)
        self._stale = Stale(self._fleet, self._registration, context.clock, context.settings.stale_after_s)
        self._heartbeats = Heartbeats(context.bus, self._fleet, self._store, self._orders, context.clock)
        self._follower = Follower(context.bus, subjects.stream_of(subjects.BUCKET_SERVERS), self._fleet.fold)
        self._leadership = Leadership(context, "registry.drain")
        self._background = Background()
        self._subscriptions: list[Subscription] = []
        self._serving: Serving | None = None

    async def start(self) -> None:
        await self._follower.start()
        await self._follower.caught_up()
        self._subscriptions = [
            await self._bus.subscribe(subjects.VIEW_HEARTBEAT, self._on_beat),
            await self._bus.subscribe(subjects.VIEW_LOAD, self._on_load),
            await self._bus.subscribe(subjects.VIEW_HEALTH, self._on_checks),
        ]
        await self._leadership.start()
        self._background.every(
            loops.DRAIN_STEP_S, lambda: loops.complete_drains(self._leadership, self._orders), "drains"
        )
        self._background.every(
            loops.STALE_STEP_S, lambda: loops.unregister_stale(self._leadership, self._stale), "stale servers"
        )
        self._serving = await serve(self._bus, "registry", VERSION, self._verbs())

    async def stop(self) -> None:
        if self._serving is not None:
            await self._serving.drain()
        for subscription in self._subscriptions:
            await subscription.drain()
        await self._background.stop()
        await self._leadership.stop()
        await self._follower.stop()

    def _verbs(self) -> list[Verb]:
        return [
            Verb("register", self._register, audit=Audited()),
            Verb("list", self._list),
            Verb("get", self._get),
            Verb("heartbeat", self._heartbeat),
            Verb("credential", self._credential, audit=Audited()),
            Verb("maintenance", self._maintenance, audit=Audited()),
            Verb("maintain-many", self._maintain_many, audit=Audited()),
            Verb("change", self._change, audit=Audited()),
            Verb("unregister", self._unregister, audit=Audited()),
            Verb("metrics", self._metrics),
        ]

    async def _register(self, call: Call) -> Answer:
        require(call.actor, Role.ADMIN)
        command = call.decode(_REGISTER)
        self._note_before(call, command.server.id or "")
        registered = await self._registration.register(command, call.actor.sub)
        call.notes.target = registered.answer.server_id
        headers = {subjects.HEADER_STATUS: str(registered.status), subjects.HEADER_REVISION: str(registered.revision)}
        return Answer(encode(registered.answer), headers)

    async def _list(self, call: Call) -> ServerPage:
        require(call.actor, *READERS)
        return view.page_of(self._fleet, call.decode(_QUERY), self._clock.now_ms())

    async def _get(self, call: Call) -> Answer:
        require(call.actor, *READERS)
        config, member = await self._member(call.decode(_ID).id)
        server = view.server_view(self._fleet, config, member, self._clock.now_ms())
        return Answer(encode(server), {subjects.HEADER_REVISION: str(member.revision)})

    async def _heartbeat(self, call: Call) -> msgspec.Struct:
        return await self._heartbeats.take(call, call.decode(_BEAT))

    async def _credential(self, call: Call) -> CredentialAnswer:
        require(call.actor, Role.ADMIN)
        command = call.decode(_ROTATE)
        answer = await self._registration.rotate(command)
        log.info("credential rotated", server=command.id, by=call.actor.sub)
        return answer

    async def _maintenance(self, call: Call) -> MaintenanceAnswer:
        require(call.actor, Role.OPERATOR, Role.ADMIN)
        command = call.decode(_MAINTAIN)
        self._note_before(call, command.id)
        guard = Guard(command.if_match, call.operation)
        enabled = await self._orders.maintain(command.id, command.maintenance, call.actor.sub, guard)
        word = "enabled" if enabled else "disabled"
        return MaintenanceAnswer(success=True, message=f"Maintenance mode {word} for server {command.id}")

    async def _maintain_many(self, call: Call) -> MaintainManyAnswer:
        require(call.actor, Role.OPERATOR, Role.ADMIN)
        request = call.decode(_BULK)
        call.notes.is_plan = request.dry_run
        if request.remove:
            require(call.actor, Role.ADMIN)
        planned = bulk.plan(self._fleet, request)
        if request.dry_run:
            return planned
        acting = bulk.Acting(self._orders, self._registration, request, call.actor.sub, call.operation)
        told = await acting.run(planned)
        bulk.note(call.notes, request, told)
        return told

    async def _change(self, call: Call) -> Answer:
        require(call.actor, Role.OPERATOR, Role.ADMIN)
        command = call.decode(_CHANGE)
        call.notes.is_plan = command.change.dry_run
        self._note_before(call, command.id)
        changed = await self._changes.change(command, call.actor.sub, call.operation)
        call.notes.before, call.notes.after = changed.before, changed.after
        return Answer(encode(changed), {subjects.HEADER_REVISION: str(changed.revision)})

    async def _unregister(self, call: Call) -> Answer:
        require(call.actor, Role.ADMIN)
        command = call.decode(_ID)
        self._note_before(call, command.id)
        guard = Guard(command.if_match, call.operation)
        if command.drain:
            await self._orders.remove_after_drain(command.id, call.actor.sub, guard)
            return _unregistered(command.id, 202, "Server is draining and will be unregistered")
        await self._registration.remove(command.id, guard)
        return _unregistered(command.id, 200, "Server unregistered")

    def _note_before(self, call: Call, server_id: str) -> None:
        """For the audit trail: the server as this replica knows it."""
        member = self._fleet.member(server_id)
        if member is not None:
            call.notes.before = {"config": member.config, "admin": member.admin}

    async def _metrics(self, call: Call) -> ServerMetricsAnswer:
        require(call.actor, *READERS)
        asked = call.decode(_ID)
        rules.check_window(asked.window)
        config, member = await self._member(asked.id)
        told = await self._statistics(call)
        return view.metrics_view(self._fleet, config, member, told, self._clock.now_ms())

    async def _statistics(self, call: Call) -> ServerStatistics | None:
        """What statistics says of the server; None when it is away, a refusal of the request is passed on."""
        subject, headers = subjects.verb("statistics", "window"), identity(call.actor)
        try:
            answer = answer_of(await self._bus.request(subject, call.data, headers=headers, timeout_s=STATISTICS_S))
        except BusError:
            return None
        except PointsmanError as error:
            if error.status < 500:
                raise
            return None
        return _STATISTICS.decode(answer.data)

    async def _member(self, server_id: str) -> tuple[ServerConfig, Member]:
        """A registered server; one that this replica has not heard of yet is looked up in the bucket."""
        member = self._fleet.member(server_id)
        if member is not None and member.config is not None:
            return member.config, member
        stored = await self._store.config(server_id)
        if stored.value is None:
            raise not_found(f"server {server_id} does not exist")
        return stored.value, Member(config=stored.value, config_revision=stored.revision)

    async def _on_beat(self, message: Message) -> None:
        self._fleet.fold_beat(_HEARTBEAT.decode(message.data))

    async def _on_load(self, message: Message) -> None:
        self._fleet.fold_load(_LOAD.decode(message.data))

    async def _on_checks(self, message: Message) -> None:
        self._fleet.fold_checks(_CHECKS.decode(message.data))


def require(actor: Actor, *roles: Role) -> None:
    if not actor.has(*roles):
        raise forbidden(f"{roles[0].capitalize()} role required")


def _unregistered(server_id: str, status: int, message: str) -> Answer:
    return Answer(encode(UnregisterAnswer(server_id=server_id, message=message)), {subjects.HEADER_STATUS: str(status)})


def build(context: Context) -> RegistryService:
    return RegistryService(context)
