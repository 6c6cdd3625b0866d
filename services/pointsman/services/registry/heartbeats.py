"""Heartbeats: proven, in order, told to everyone who folds them; nothing is stored."""

from pointsman.client.bus import Bus
from pointsman.contracts import subjects
from pointsman.contracts.actor import Role
from pointsman.contracts.base import encode
from pointsman.contracts.commands import BeatServer
from pointsman.contracts.errors import conflict, forbidden, not_found
from pointsman.contracts.server import Heartbeat, HeartbeatAnswer, HeartbeatRequest, Wanted
from pointsman.services.registry import rules
from pointsman.services.registry.fleet import Fleet, Member, is_older
from pointsman.services.registry.orders import Orders
from pointsman.services.registry.store import ServerStore
from pointsman.services.runtime.clock import Clock
from pointsman.services.runtime.serve import Call


class Heartbeats:
    def __init__(self, bus: Bus, fleet: Fleet, store: ServerStore, orders: Orders, clock: Clock) -> None:
        self._bus = bus
        self._fleet = fleet
        self._store = store
        self._orders = orders
        self._clock = clock

    async def take(self, call: Call, command: BeatServer) -> HeartbeatAnswer:
        """Raises 400, 403, 404, and 409 for a beat older than one already seen of the same boot."""
        member = self._fleet.member(command.id) or await self._just_registered(command.id)
        await self._authorize(call, command.id, member)
        if member is None:
            raise not_found(f"server {command.id} does not exist")
        rules.check_beat(command.heartbeat)
        beat = beat_of(command.id, command.heartbeat, self._clock.now_ms())
        if is_older(beat, self._fleet.beat(command.id)):
            raise conflict(f"seq: {beat.seq} is older than a heartbeat already seen of this boot", slug="stale")
        self._fleet.fold_beat(beat)
        await self._bus.publish(subjects.VIEW_HEARTBEAT, encode(beat))
        admin = await self._orders.declare(command.id, command.heartbeat, member.admin)
        return HeartbeatAnswer(
            success=True,
            message="Heartbeat updated",
            drain=admin.wanted is not Wanted.ACTIVE,
            cancel=self._fleet.cancelled(command.id),
        )

    async def _just_registered(self, server_id: str) -> Member | None:
        """A server that this replica has not heard of yet."""
        config = await self._store.config(server_id)
        if config.value is None:
            return None
        secret = await self._store.secret(server_id)
        return Member(config=config.value, config_revision=config.revision, secret=secret.value)

    async def _authorize(self, call: Call, server_id: str, member: Member | None) -> None:
        """A credential speaks for its own server only; roles are not looked at beside it."""
        credential = call.headers.get(subjects.HEADER_SERVER_CREDENTIAL)
        if credential:
            if member is None or not await self._proves(credential, server_id, member):
                raise forbidden("the credential is not that of this server")
        elif not call.actor.has(Role.ADMIN, Role.SERVICE):
            raise forbidden("Service role required")

    async def _proves(self, credential: str, server_id: str, member: Member) -> bool:
        """Looks the secret up before it refuses: another replica may have rotated it a moment ago."""
        now = self._clock.now_ms()
        if rules.proves(credential, member.secret, now):
            return True
        return rules.proves(credential, (await self._store.secret(server_id)).value, now)


def beat_of(server_id: str, request: HeartbeatRequest, now: int) -> Heartbeat:
    return Heartbeat(
        server_id=server_id,
        at=now,
        status=request.status,
        active_tasks=request.active_tasks,
        seq=request.seq,
        boot_id=request.boot_id,
        metrics=request.metrics,
        free_slots=request.free_slots,
        ready=request.ready,
        running=request.running,
    )
