"""What is told of a switch of algorithm before it is made. Pure."""

from pointsman.contracts.balancer import Algorithm, PoolStatus
from pointsman.contracts.limits import PoolSettings
from pointsman.contracts.steering import ExpectedShare, PoolPlan
from pointsman.services.runtime.live_settings import Stored

SHOWN_MAX = 50
IGNORES_WEIGHT = frozenset({Algorithm.ROUND_ROBIN, Algorithm.LEAST_CONNECTIONS, Algorithm.FIRST})


def plan(
    stored: Stored,
    status: PoolStatus,
    wanted: Algorithm,
    per_s: float,
    now: dict[str, float],
    then: dict[str, float],
) -> PoolPlan:
    shares = [
        ExpectedShare(server_id=name, now=round(share, 5), then=round(then[name], 5)) for name, share in now.items()
    ]
    shares.sort(key=lambda one: (-abs(one.then - one.now), one.server_id))
    settings = stored.settings if isinstance(stored.settings, PoolSettings) else None
    return PoolPlan(
        pool=stored.name,
        algorithm=status.algorithm,
        wanted=wanted,
        revision=stored.revision,
        updated_at=settings.updated_at if settings else None,
        by=settings.by if settings else None,
        per_second=round(per_s, 3),
        pending=status.pending,
        running=status.active_tasks,
        server_count=len(now),
        moved=round(sum(max(0.0, one.then - one.now) for one in shares), 5),
        servers=tuple(shares[:SHOWN_MAX]),
        notes=_notes(status, Algorithm(status.algorithm), wanted, len(now)),
    )


def _notes(status: PoolStatus, current: Algorithm, wanted: Algorithm, serving: int) -> tuple[str, ...]:
    told = [
        f"applies to tasks that start from now on, the {status.pending} that wait included; the {status.active_tasks}"
        " that run stay where they are"
    ]
    if wanted is current:
        told.append(f"the pool uses {wanted} already")
    if serving == 0:
        told.append("no server of the pool takes tasks now: no shares can be told")
    if Algorithm.CONSISTENT_HASH in (current, wanted) and wanted is not current:
        told.append("tasks with an affinity key go by their key: most keys get another server")
    if wanted in IGNORES_WEIGHT and current not in IGNORES_WEIGHT:
        told.append(f"{wanted} does not look at weights")
    return tuple(told)
