"""The registry's periodic work: an elected replica completes drains."""

from pointsman.services.registry.orders import Orders
from pointsman.services.runtime.leader import Leadership

DRAIN_STEP_S = 1.0


async def complete_drains(leadership: Leadership, orders: Orders) -> None:
    if leadership.is_leader():
        await orders.complete_drains()
