"""Why a task is where it is: what the record says when it has ended, else what the balancer's leader says."""

import msgspec

from pointsman.client.bus import Bus
from pointsman.client.call import call
from pointsman.contracts.actor import Actor
from pointsman.contracts.base import encode
from pointsman.contracts.commands import TaskId
from pointsman.contracts.errors import PointsmanError
from pointsman.contracts.explain import Explanation, Gate
from pointsman.contracts.lifecycle import Status
from pointsman.contracts.subjects import verb
from pointsman.services.runtime.task_store import StoredTask

LEADER_TIMEOUT_S = 2.0
"""Below what our own caller waits before it asks again, with the 2 s in which an absent leader is looked for."""
NOT_FOUND, UNAVAILABLE = 404, 503

_EXPLANATION = msgspec.json.Decoder(Explanation)
_ENDINGS = {
    Status.COMPLETED: "has completed",
    Status.FAILED: "has failed for good",
    Status.TIMEOUT: "has run out of time",
    Status.CANCELLED: "was cancelled",
}


async def explained(bus: Bus, task: StoredTask, actor: Actor, now: int) -> Explanation:
    if task.is_terminal:
        return _of_record(task, None, _ended(task), now)
    try:
        data = encode(TaskId(id=task.record.id))
        answer = await call(bus, verb("balancer", "explain"), data, actor, timeout_s=LEADER_TIMEOUT_S)
    except PointsmanError as error:
        if error.status == NOT_FOUND:
            return _of_record(task, Gate.TURN, "has just been written, the balancer reads it", now)
        if error.status == UNAVAILABLE:
            return _of_record(task, Gate.LEADER, f"no balancer leads at the moment: {error.detail}", now)
        raise
    return _EXPLANATION.decode(answer.data)


def _ended(task: StoredTask) -> str:
    said = _ENDINGS[task.record.status]
    return f"{said}: {task.record.error}" if task.record.error else said


def _of_record(task: StoredTask, gate: Gate | None, detail: str, now: int) -> Explanation:
    current = task.lease.current if task.lease is not None and not task.is_terminal else None
    return Explanation(
        id=task.record.id,
        status=Status.PROCESSING if current else task.record.status,
        gate=None if current else gate,
        detail=f"runs on {current.server_id}, attempt {current.number}" if current else detail,
        deadline=task.record.spec.deadline,
        pool=task.record.spec.pool,
        as_of=now,
    )
