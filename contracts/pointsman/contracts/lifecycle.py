"""The life of a task as a table; code, tests, docs and the diagram read the same rows."""

from enum import StrEnum


class Status(StrEnum):
    PENDING = "PENDING"
    PROCESSING = "PROCESSING"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    TIMEOUT = "TIMEOUT"
    CANCELLED = "CANCELLED"


class Event(StrEnum):
    SUBMITTED = "submitted"
    ASSIGNED = "assigned"
    PROGRESSED = "progressed"
    SUCCEEDED = "succeeded"
    FAILED_RETRYABLE = "failed, may retry"
    FAILED_FOR_GOOD = "failed for good"
    ATTEMPT_TIMED_OUT_RETRYABLE = "attempt timed out, may retry"
    ATTEMPT_TIMED_OUT = "attempt timed out"
    LOST = "lost"
    DEADLINE_PASSED = "deadline passed"
    CANCELLED = "cancelled"
    RETRIED_BY_HAND = "retried by hand"


S, E = Status, Event

TABLE: dict[tuple[Status | None, Event], Status] = {
    (None, E.SUBMITTED): S.PENDING,
    (S.PENDING, E.ASSIGNED): S.PROCESSING,
    (S.PENDING, E.CANCELLED): S.CANCELLED,
    (S.PENDING, E.DEADLINE_PASSED): S.TIMEOUT,
    (S.PROCESSING, E.PROGRESSED): S.PROCESSING,
    (S.PROCESSING, E.SUCCEEDED): S.COMPLETED,
    (S.PROCESSING, E.FAILED_RETRYABLE): S.PENDING,
    (S.PROCESSING, E.FAILED_FOR_GOOD): S.FAILED,
    (S.PROCESSING, E.ATTEMPT_TIMED_OUT_RETRYABLE): S.PENDING,
    (S.PROCESSING, E.ATTEMPT_TIMED_OUT): S.TIMEOUT,
    (S.PROCESSING, E.LOST): S.PENDING,
    (S.PROCESSING, E.DEADLINE_PASSED): S.TIMEOUT,
    (S.PROCESSING, E.CANCELLED): S.CANCELLED,
    (S.FAILED, E.RETRIED_BY_HAND): S.PENDING,
    (S.TIMEOUT, E.RETRIED_BY_HAND): S.PENDING,
    (S.CANCELLED, E.RETRIED_BY_HAND): S.PENDING,
}

TERMINAL = frozenset({S.COMPLETED, S.FAILED, S.TIMEOUT, S.CANCELLED})


class IllegalTransition(Exception):
    def __init__(self, state: Status | None, event: Event) -> None:
        super().__init__(f"a task that is {state or 'absent'} cannot be {event}")
        self.state = state
        self.event = event


def after(state: Status | None, event: Event) -> Status:
    """The state that follows; raises IllegalTransition where the table has no row."""
    try:
        return TABLE[state, event]
    except KeyError:
        raise IllegalTransition(state, event) from None


def allows(state: Status | None, event: Event) -> bool:
    return (state, event) in TABLE


def is_terminal(status: Status) -> bool:
    return status in TERMINAL


def mermaid() -> str:
    """The state diagram of ARCHITECTURE.md, drawn from the table."""
    rows = [f"    {state or '[*]'} --> {target}: {event}" for (state, event), target in TABLE.items()]
    return "\n".join(["stateDiagram-v2", *rows, f"    {S.COMPLETED} --> [*]"])
