"""What the balancer and the executors say to each other; core messages, every one of them may be lost."""

import msgspec

from pointsman.contracts.balancer import Alert
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


class Results(Message, omit_defaults=True):
    """How attempts of one type ended at one server since the last evidence.

    `failed` are errors of tasks, `faults` those of the server. `run` counts the server's faults, of any type, since its
    last answer; it stands in one of its rows only. Times in ms; `elapsed` sums up the successes.
    """

    server_id: str
    type: str
    succeeded: int = 0
    accepted: int = 0
    failed: int = 0
    faults: int = 0
    run: int = 0
    elapsed: int = 0
    slowest: int = 0
    detail: str = ""

    @property
    def answered(self) -> int:
        return self.succeeded + self.accepted + self.failed


class Evidence(Message):
    """What an executor saw of servers; once a second, and at once when a server begins to fail."""

    executor: str
    at: int
    results: tuple[Results, ...]


class Alarms(Message):
    """What the prober finds that an operator should look at now: on change, and every 5 s. Empty: nothing."""

    prober: str
    as_of: int
    alerts: tuple[Alert, ...]


def attempt_key(task_id: str, generation: int, number: int) -> str:
    return f"{task_id}/{generation}/{number}"
