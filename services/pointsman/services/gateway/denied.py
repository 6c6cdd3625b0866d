"""An act on what is not one's own, denied here: no service hears of it, so the gateway records it."""

from pointsman.client.bus import Bus
from pointsman.contracts.actor import Actor, Role
from pointsman.contracts.errors import PointsmanError
from pointsman.services.gateway.route import Route
from pointsman.services.runtime.audit import Notes, entry_of, keep
from pointsman.services.runtime.clock import Clock

POWERFUL = frozenset({Role.ADMIN, Role.OPERATOR})
ACTS = {
    "registerServer": "registry.register",
    "maintainServer": "registry.maintenance",
    "maintainServers": "registry.maintain-many",
    "changeServer": "registry.change",
    "rotateCredential": "registry.credential",
    "unregisterServer": "registry.unregister",
    "setAlgorithm": "balancer.algorithm",
    "replacePool": "balancer.pool.replace",
    "changePool": "balancer.pool.change",
    "undoPool": "balancer.pool.undo",
    "declareType": "balancer.type.declare",
    "removeType": "balancer.type.remove",
    "undoType": "balancer.type.undo",
    "setLimit": "balancer.limit.set",
    "clearLimit": "balancer.limit.clear",
    "retryTasks": "history.bulk",
    "cancelTasks": "history.bulk",
    "acknowledgeAlert": "statistics.acknowledge",
}
"""Routes by the act that their service records; one that is not listed is recorded under its own name."""
TASK_ACTS = {
    "updateTask": "task.update",
    "cancelTask": "task.cancel",
    "deleteTask": "task.cancel",
    "retryTask": "task.retry",
}
"""What users may do to their own tasks: who may not is no user, and tried it on the task of another."""


class Denied(PointsmanError):
    """403 of a known caller."""

    def __init__(self, refusal: PointsmanError, actor: Actor) -> None:
        super().__init__(refusal.status, refusal.detail, slug=refusal.slug)
        self.actor = actor


def is_act(route: Route) -> bool:
    """Whether only operators or admins may call it, and it changes something."""
    return route.method != "GET" and bool(route.roles) and route.roles <= POWERFUL


async def record(bus: Bus, clock: Clock, route: Route, target: str, denied: Denied) -> None:
    if is_act(route) or route.name in TASK_ACTS:
        what = (ACTS | TASK_ACTS).get(route.name, route.name)
        await keep(bus, entry_of(what, denied.actor, b"", Notes(target=target), denied, clock.now_ms()))
