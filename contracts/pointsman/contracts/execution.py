"""What the balancer and the executors say to each other; core messages, every one of them may be lost."""

import msgspec

from pointsman.contracts.base import NULL, Message
from pointsman.contracts.record import Lease


class Handover(Message, omit_defaults=True):
    """One attempt for one executor. `record` is the task record as stored, if the leader still had the bytes."""

    task_id: str
    task_revision: int
    lease_revision: int
    lease: Lease
    record: msgspec.Raw = NULL


class Abort(Message):
    """End the call of this attempt if it still runs. Until `startBy` (ms since the epoch) it may still begin."""

    task_id: str
    generation: int
    number: int
    server_id: str
    reason: str
    start_by: int = 0


class ExecutorBeat(Message):
    """Once a second from each executor; `running` holds `<task id>/<generation>/<number>` of open calls."""

    executor: str
    running: tuple[str, ...]
    limit: int
    at: int
    stopping: bool = False


class Release(Message):
    """A slot whose attempt no longer runs although its outcome is not what ended the task."""

    task_id: str
    generation: int
    number: int


class Evidence(Message):
    """A server fault or a success seen by an executor."""

    server_id: str
    good: bool
    at: int
    detail: str = ""


def attempt_key(task_id: str, generation: int, number: int) -> str:
    return f"{task_id}/{generation}/{number}"
