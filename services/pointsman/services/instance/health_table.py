"""The operational machine as a table: what a state means for probes, and where each sign leads. Pure data.

A sign is a conclusion from evidence; the rules that draw it are in `watch.py` (one server) and `health.py` (a fleet).
"""

from dataclasses import dataclass
from enum import StrEnum

from pointsman.contracts.server import Cause, HealthState

S = HealthState


class Sign(StrEnum):
    """What the evidence of the present state amounts to."""

    PROVEN = "proven"
    DOUBTED = "doubted"
    DEAD = "dead"
    EJECTED = "ejected"
    READMITTED = "readmitted"


@dataclass(frozen=True, slots=True)
class Row:
    """`waits_s` before the next probe: the first, and the next after each further bad one; each +- `jitter`."""

    waits_s: tuple[float, ...]
    jitter: float
    after: dict[Sign, HealthState]


TABLE: dict[HealthState, Row] = {
    S.NEW: Row((1.0,), 0.0, {Sign.PROVEN: S.WARMING, Sign.DEAD: S.UNHEALTHY}),
    S.WARMING: Row(
        (5.0,),
        0.1,
        {Sign.PROVEN: S.HEALTHY, Sign.DOUBTED: S.SUSPECT, Sign.DEAD: S.UNHEALTHY, Sign.EJECTED: S.UNHEALTHY},
    ),
    S.HEALTHY: Row((5.0,), 0.1, {Sign.DOUBTED: S.SUSPECT, Sign.DEAD: S.UNHEALTHY, Sign.EJECTED: S.UNHEALTHY}),
    S.SUSPECT: Row((1.0,), 0.0, {Sign.PROVEN: S.HEALTHY, Sign.DEAD: S.UNHEALTHY, Sign.EJECTED: S.UNHEALTHY}),
    S.UNHEALTHY: Row((2.0, 4.0, 8.0, 16.0, 30.0), 0.2, {Sign.PROVEN: S.RECOVERING, Sign.READMITTED: S.HEALTHY}),
    S.RECOVERING: Row(
        (5.0,),
        0.1,
        {
            Sign.PROVEN: S.WARMING,
            Sign.DOUBTED: S.UNHEALTHY,
            Sign.DEAD: S.UNHEALTHY,
            Sign.EJECTED: S.UNHEALTHY,
            Sign.READMITTED: S.HEALTHY,
        },
    ),
}

ELIGIBLE = frozenset({S.WARMING, S.HEALTHY, S.RECOVERING})
BY_TASKS = frozenset({Cause.FAULTS, Cause.OUTLIER, Cause.STALLED})


def after(state: HealthState, sign: Sign) -> HealthState:
    """The state that a sign leads to; the same where it means nothing."""
    return TABLE[state].after.get(sign, state)
