"""Servers that nobody has heard of for long: unregistered, if the operator has set after how long."""

from collections.abc import Sequence

import structlog

from pointsman.contracts.errors import PointsmanError
from pointsman.contracts.server import HealthState, Heartbeat, ServerAdmin, ServerHealth, Wanted
from pointsman.services.registry.fleet import Fleet
from pointsman.services.registry.registration import Registration
from pointsman.services.runtime.clock import Clock

log = structlog.get_logger()

LISTEN_MS = 300_000


class Stale:
    """`after_s` 0 turns it off. Heartbeats are not stored: a replica listens for five minutes before it judges."""

    def __init__(self, fleet: Fleet, registration: Registration, clock: Clock, after_s: int) -> None:
        self._fleet = fleet
        self._registration = registration
        self._clock = clock
        self._after_ms = after_s * 1000
        self._listening_since = clock.now_ms()

    async def unregister(self) -> None:
        """One step of the elected loop."""
        for server_id in self._found() if self._after_ms else ():
            try:
                await self._registration.remove(server_id)
            except PointsmanError as error:
                log.warning("stale server not unregistered", server=server_id, error=str(error))
                continue
            log.warning("stale server unregistered", server=server_id, after_s=self._after_ms // 1000)

    def _found(self) -> Sequence[str]:
        now, since = self._clock.now_ms(), self._listening_since
        return [
            config.id
            for config, member in self._fleet.members()
            if is_stale(
                member.admin,
                self._fleet.health(config.id),
                self._fleet.beat(config.id),
                now=now,
                listening_since=since,
                after_ms=self._after_ms,
            )
        ]


def is_stale(
    admin: ServerAdmin,
    health: ServerHealth,
    beat: Heartbeat | None,
    *,
    now: int,
    listening_since: int,
    after_ms: int,
) -> bool:
    """No good probe and no heartbeat for so long; what an operator took out is left alone. Times in ms."""
    if admin.wanted is not Wanted.ACTIVE or health.state is not HealthState.UNHEALTHY:
        return False
    if now - health.since < after_ms:
        return False
    if beat is None:
        return now - listening_since >= min(after_ms, LISTEN_MS)
    return now - beat.at >= after_ms
