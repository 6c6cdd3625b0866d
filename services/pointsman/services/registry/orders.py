"""What operators want of a server: maintenance, drain, back again, out; and the loop that completes a drain."""

from collections.abc import Callable

import structlog

from pointsman.contracts.errors import conflict, not_found, unavailable
from pointsman.contracts.server import (
    HealthState,
    HeartbeatRequest,
    MaintenanceRequest,
    ServerAdmin,
    ServerHealth,
    Wanted,
)
from pointsman.services.registry import admin as axis
from pointsman.services.registry.admin import Order
from pointsman.services.registry.fleet import Fleet
from pointsman.services.registry.guard import ANY, Guard
from pointsman.services.registry.registration import Registration
from pointsman.services.registry.store import ROUNDS_MAX, ServerStore
from pointsman.services.runtime.clock import Clock
from pointsman.services.runtime.kv import RevisionMoved

log = structlog.get_logger()

SETTLE_MS = 2_500
BY_SERVER = "the server"
DECLARED = "declared by the server"

Change = Callable[[ServerAdmin], ServerAdmin]


class Orders:
    """`SETTLE_MS`: load frames come once a second, so an older drain order has been seen in them."""

    def __init__(self, store: ServerStore, fleet: Fleet, registration: Registration, clock: Clock) -> None:
        self._store = store
        self._fleet = fleet
        self._registration = registration
        self._clock = clock

    async def maintain(self, server_id: str, request: MaintenanceRequest, by: str, guard: Guard = ANY) -> bool:
        """Whether the server is now taken out; raises 400, 404, 409, 412."""
        if not axis.wants_maintenance(request):
            await self.activate(server_id, by, guard)
            return False
        await self.take_out(server_id, by, guard, reason=request.reason, drain_timeout_ms=request.drain_timeout_ms)
        return True

    async def take_out(
        self,
        server_id: str,
        by: str,
        guard: Guard = ANY,
        *,
        reason: str | None = None,
        drain_timeout_ms: int | None = None,
    ) -> ServerAdmin:
        """DRAINING, or MAINTENANCE at once when no time at all is given; raises 404, 409, 412."""
        order = axis.order_of(drain_timeout_ms)
        now = self._clock.now_ms()
        return await self._change(
            server_id,
            order,
            lambda admin: axis.after(admin, order, now=now, by=by, reason=reason, drain_timeout_ms=drain_timeout_ms),
            guard,
        )

    async def activate(self, server_id: str, by: str, guard: Guard = ANY) -> ServerAdmin:
        """The health record goes back to NEW first, so that no task is sent before a good probe; raises 404, 409, 412."""
        now = self._clock.now_ms()
        stored = await self._store.admin(server_id)
        if guard.repeats(stored) and stored.value is not None:
            return stored.value
        guard.check(server_id, await self._store.config(server_id), stored)
        admin = stored.value or ServerAdmin()
        if admin.wanted is not Wanted.ACTIVE and axis.allows(admin, Order.ACTIVATE):
            await self._reset_health(server_id, now)
        return await self._change(
            server_id, Order.ACTIVATE, lambda admin: axis.after(admin, Order.ACTIVATE, now=now, by=by), guard
        )

    async def declare(self, server_id: str, beat: HeartbeatRequest, known: ServerAdmin) -> ServerAdmin:
        """What the server itself says in a heartbeat; nothing is read or written unless that changes something."""
        now = self._clock.now_ms()
        if axis.declared_order(known, beat, now) is None:
            return known
        stored = (await self._store.admin(server_id)).value or ServerAdmin()
        match axis.declared_order(stored, beat, now):
            case None:
                return stored
            case Order.ACTIVATE:
                log.info("server came back by itself", server=server_id)
                await self._reset_health(server_id, now)
            case _:
                log.info("server took itself out", server=server_id, status=beat.status)
        return await self._change(server_id, None, lambda admin: _declared(admin, beat, now))

    async def _reset_health(self, server_id: str, now: int) -> None:
        for _ in range(ROUNDS_MAX):
            config, health = await self._store.config(server_id), await self._store.health(server_id)
            if config.value is None:
                raise _unknown(server_id)
            fresh = ServerHealth(state=HealthState.NEW, since=now, registered_at=config.value.registered_at)
            try:
                await self._store.put_health(server_id, fresh, health.revision)
            except RevisionMoved:
                continue
            return
        raise _contended(server_id)

    async def remove_after_drain(self, server_id: str, by: str, guard: Guard = ANY) -> None:
        now = self._clock.now_ms()
        await self._change(server_id, Order.LEAVE, lambda admin: axis.after(admin, Order.LEAVE, by=by, now=now), guard)

    async def _change(self, server_id: str, order: Order | None, change: Change, guard: Guard = ANY) -> ServerAdmin:
        """Compare-and-set of the record; an order that the table has no row for is refused."""
        for _ in range(ROUNDS_MAX):
            config = await self._store.config(server_id)
            if config.value is None:
                raise _unknown(server_id)
            stored = await self._store.admin(server_id)
            admin = stored.value or ServerAdmin()
            if guard.repeats(stored):
                return admin
            guard.check(server_id, config, stored)
            if order is not None and not axis.allows(admin, order):
                raise conflict(f"server {server_id} is being unregistered")
            wanted = change(admin)
            if wanted == admin:
                return admin
            try:
                await self._store.put_admin(server_id, wanted, stored.revision, guard.operation)
            except RevisionMoved:
                continue
            return wanted
        raise _contended(server_id)

    async def complete_drains(self) -> None:
        """One step of the elected loop: what has drained, or has had its time, goes to MAINTENANCE or away."""
        for config, member in self._fleet.members():
            if member.admin.wanted is Wanted.DRAINING and self._is_drained(config.id, member.admin):
                await self._complete(config.id)

    async def _complete(self, server_id: str) -> None:
        stored, now = await self._store.admin(server_id), self._clock.now_ms()
        admin = stored.value
        if admin is None or admin.wanted is not Wanted.DRAINING or not self._is_drained(server_id, admin):
            return
        if admin.remove:
            await self._registration.remove(server_id)
            log.info("server unregistered after its drain", server=server_id)
            return
        try:
            wanted = axis.after(admin, Order.DRAINED, now=now, by=admin.by)
            await self._store.put_admin(server_id, wanted, stored.revision)
        except RevisionMoved:
            return
        log.info("server drained", server=server_id)

    def _is_drained(self, server_id: str, admin: ServerAdmin) -> bool:
        running = self._fleet.running(server_id)
        return axis.is_drained(admin, running=running, now=self._clock.now_ms(), settle_ms=SETTLE_MS)


def _declared(admin: ServerAdmin, beat: HeartbeatRequest, now: int) -> ServerAdmin:
    order = axis.declared_order(admin, beat, now)
    if order is None:
        return admin
    return axis.after(admin, order, now=now, by=BY_SERVER, reason=DECLARED, declared=order is Order.DRAIN)


def _unknown(server_id: str) -> Exception:
    return not_found(f"server {server_id} does not exist")


def _contended(server_id: str) -> Exception:
    return unavailable(f"server {server_id} is being changed by others at this moment")
