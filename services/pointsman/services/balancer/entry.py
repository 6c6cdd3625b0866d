"""One live task as the leader keeps it: small, because there may be a million."""

from dataclasses import dataclass
from enum import Enum, auto
from sys import intern

from pointsman.contracts.record import Lease, TaskHead


class State(Enum):
    DELAYED = auto()
    PENDING = auto()
    RESERVED = auto()
    RUNNING = auto()


@dataclass(frozen=True, slots=True)
class Shape:
    """What tasks have in common; one object serves all tasks that agree in it. `timeout_ms` bounds an attempt."""

    type: str
    pool: str
    capabilities: frozenset[str]
    priority: int
    timeout_ms: int

    @property
    def requirement(self) -> "Requirement":
        return self.pool, self.capabilities


Requirement = tuple[str, frozenset[str]]


SHAPES_MAX = 10_000


class Shapes:
    """Interns shapes; callers may think up any number of them, so now and then it begins anew."""

    def __init__(self) -> None:
        self._shapes: dict[Shape, Shape] = {}

    def of(self, head: TaskHead) -> Shape:
        spec = head.spec
        shape = Shape(spec.type, spec.pool, frozenset(spec.capabilities), spec.priority, spec.timeout_ms)
        if len(self._shapes) >= SHAPES_MAX and shape not in self._shapes:
            self._shapes.clear()
        return self._shapes.setdefault(shape, shape)


class Entry:
    """A live task: `due` and `deadline` in ms since the epoch, `raw` the stored record while it is at hand.

    `place` is the queue it waits in, if it waits: what a queue finds of an entry that is elsewhere, it drops.
    """

    __slots__ = (
        "affinity_key",
        "concurrency_key",
        "deadline",
        "due",
        "fairness_key",
        "generation",
        "id",
        "lease",
        "lease_revision",
        "owner",
        "place",
        "raw",
        "revision",
        "shape",
        "state",
    )

    def __init__(self, head: TaskHead, shape: Shape, revision: int) -> None:
        spec = head.spec
        self.id = head.id
        self.owner = intern(head.owner)
        self.shape = shape
        self.revision = revision
        self.generation = head.generation
        self.deadline = spec.deadline
        self.due = _due(head)
        self.fairness_key = intern(spec.fairness_key or "")
        self.concurrency_key = intern(spec.concurrency_key) if spec.concurrency_key is not None else None
        self.affinity_key = intern(spec.affinity_key) if spec.affinity_key is not None else None
        self.lease: Lease | None = None
        self.lease_revision = 0
        self.raw: bytes | None = None
        self.place: object | None = None
        self.state = State.DELAYED

    def __lt__(self, other: "Entry") -> bool:
        """Only for heaps that hold an entry twice: any order will do."""
        return False

    @property
    def avoids(self) -> str | None:
        """The server of the last attempt, if that went wrong: the next goes elsewhere where it can."""
        return self.lease.attempts[-1].server_id if self.lease is not None and self.lease.attempts else None


def _due(head: TaskHead) -> int:
    """When it may begin; a task that was retried by hand has waited since then only."""
    if head.spec.run_at is not None:
        return head.spec.run_at
    return head.created_at if head.generation == 1 else max(head.created_at, head.updated_at)
