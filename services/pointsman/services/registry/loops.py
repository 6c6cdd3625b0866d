"""The registry's periodic work: an elected replica completes drains and unregisters what is stale."""

from pointsman.services.registry.orders import Orders
from pointsman.services.registry.stale import Stale
from pointsman.services.runtime.leader import Leadership

DRAIN_STEP_S = 1.0
STALE_STEP_S = 10.0


async def complete_drains(leadership: Leadership, orders: Orders) -> None:
    if leadership.is_leader():
        await orders.complete_drains()


async def unregister_stale(leadership: Leadership, stale: Stale) -> None:
    if leadership.is_leader():
        await stale.unregister()
