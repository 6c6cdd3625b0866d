"""Heartbeats: proven, in order, told to everyone who folds them; nothing is stored."""

from pointsman.client.bus import Bus
from pointsman.contracts import subjects
from pointsman.contracts.actor import Role
from pointsman.contracts.base import encode
from pointsman.contracts.commands import BeatServer
from pointsman.contracts.errors import conflict, forbidden, not_found
from pointsman.contracts.server import Heartbeat, HeartbeatAnswer, HeartbeatRequest, Wanted
from pointsman.services.registry import rules
from pointsman.services.registry.fleet import Fleet, Member
from pointsman.services.registry.store import ServerStore
from pointsman.services.runtime.clock import Clock
from pointsman.services.runtime.serve import Call


class Heartbeats:
    def __init__(self, bus: Bus, fleet: Fleet, store: ServerStore, clock: Clock) -> None:
        self._bus = bus
        self._fleet = fleet
        self._store = store
        self._clock = clock

    async def take(self, call: Call, command: BeatServer) -> HeartbeatAnswer:
        """Raises 403, 404, and 409 for a beat older than one already seen of the same boot."""
        member = self._fleet.member(command.id) or await self._just_registered(command.id)
        self._authorize(call, member)
        if member is None:
            raise not_found(f"server {command.id} does not exist")
        beat = beat_of(command.id, command.heartbeat, self._clock.now_ms())
        if is_older(beat, self._fleet.beat(command.id)):
            raise conflict(f"seq: {beat.seq} is older than a heartbeat already seen of this boot", slug="stale")
        self._fleet.fold_beat(beat)
        await self._bus.publish(subjects.VIEW_HEARTBEAT, encode(beat))
        return HeartbeatAnswer(
            success=True,
            message="Heartbeat updated",
            drain=member.admin.wanted is not Wanted.ACTIVE,
            cancel=self._fleet.cancelled(command.id),
        )

    async def _just_registered(self, server_id: str) -> Member | None:
        """A server that this replica has not heard of yet."""
        config = await self._store.config(server_id)
        if config.value is None:
            return None
        secret = await self._store.secret(server_id)
        return Member(config=config.value, revision=config.revision, secret=secret.value)

    def _authorize(self, call: Call, member: Member | None) -> None:
        """A credential speaks for its own server only; roles are not looked at beside it."""
        credential = call.headers.get(subjects.HEADER_SERVER_CREDENTIAL)
        if credential:
            if not rules.proves(credential, member.secret if member else None):
                raise forbidden("the credential is not that of this server")
        elif not call.actor.has(Role.ADMIN, Role.SERVICE):
            raise forbidden("Service role required")


def beat_of(server_id: str, request: HeartbeatRequest, now: int) -> Heartbeat:
    return Heartbeat(
        server_id=server_id,
        at=now,
        status=request.status,
        active_tasks=request.active_tasks,
        seq=request.seq,
        boot_id=request.boot_id,
        metrics=request.metrics,
    )


def is_older(beat: Heartbeat, last: Heartbeat | None) -> bool:
    if last is None or beat.seq is None or last.seq is None:
        return False
    return beat.boot_id == last.boot_id and beat.seq < last.seq
