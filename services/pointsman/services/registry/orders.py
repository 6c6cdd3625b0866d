"""What operators want of a server: maintenance, drain, back again, out; and the loop that completes a drain."""

from collections.abc import Callable

import structlog

from pointsman.contracts.errors import conflict, not_found, unavailable
from pointsman.contracts.server import HealthState, MaintenanceRequest, ServerAdmin, ServerHealth, Wanted
from pointsman.services.registry import rules
from pointsman.services.registry.fleet import Fleet
from pointsman.services.registry.registration import Registration
from pointsman.services.registry.store import ROUNDS_MAX, ServerStore
from pointsman.services.runtime.clock import Clock
from pointsman.services.runtime.kv import RevisionMoved

log = structlog.get_logger()

SETTLE_MS = 2_500

Change = Callable[[ServerAdmin], ServerAdmin]


class Orders:
    """`SETTLE_MS`: load frames come once a second, so an older drain order has been seen in them."""

    def __init__(self, store: ServerStore, fleet: Fleet, registration: Registration, clock: Clock) -> None:
        self._store = store
        self._fleet = fleet
        self._registration = registration
        self._clock = clock

    async def maintain(self, server_id: str, request: MaintenanceRequest, by: str) -> bool:
        """Whether the server is now taken out; raises 400, 404, 409."""
        enabled = rules.wants_maintenance(request)
        now = self._clock.now_ms()
        if enabled:
            await self._change(server_id, lambda admin: rules.into_maintenance(admin, request, by=by, now=now))
        else:
            await self._reactivate(server_id, by, now)
        return enabled

    async def _reactivate(self, server_id: str, by: str, now: int) -> None:
        """The health record goes back to NEW first, so that no task is sent before a good probe."""
        admin = (await self._store.admin(server_id)).value or ServerAdmin()
        if admin.wanted is not Wanted.ACTIVE:
            await self._reset_health(server_id, now)
        await self._change(server_id, lambda admin: rules.active_again(admin, by, now))

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

    async def remove_after_drain(self, server_id: str, by: str) -> None:
        now = self._clock.now_ms()
        await self._change(server_id, lambda admin: rules.into_removal(admin, by=by, now=now), may_be_removed=True)

    async def _change(self, server_id: str, change: Change, *, may_be_removed: bool = False) -> None:
        for _ in range(ROUNDS_MAX):
            if (await self._store.config(server_id)).value is None:
                raise _unknown(server_id)
            stored = await self._store.admin(server_id)
            admin = stored.value or ServerAdmin()
            if admin.remove and not may_be_removed:
                raise conflict(f"server {server_id} is being unregistered")
            wanted = change(admin)
            if wanted == admin:
                return
            try:
                await self._store.put_admin(server_id, wanted, stored.revision)
            except RevisionMoved:
                continue
            return
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
            await self._store.put_admin(server_id, rules.after_drain(admin, now), stored.revision)
        except RevisionMoved:
            return
        log.info("server drained", server=server_id)

    def _is_drained(self, server_id: str, admin: ServerAdmin) -> bool:
        running = self._fleet.running(server_id)
        return rules.is_drained(admin, running=running, now=self._clock.now_ms(), settle_ms=SETTLE_MS)


def _unknown(server_id: str) -> Exception:
    return not_found(f"server {server_id} does not exist")


def _contended(server_id: str) -> Exception:
    return unavailable(f"server {server_id} is being changed by others at this moment")
