"""Series for charts, one value a second, from what the model remembers. Pure."""

from collections.abc import Callable, Iterable
from itertools import islice

from pointsman.contracts.frames import Flow

Pick = Callable[[Flow], float | None]


def series(flows: Iterable[tuple[int, Flow]], newest_first: int, seconds: int, pick: Pick) -> list[float | None]:
    """The values of so many seconds up to `newest_first`, oldest first; None where nothing was told.

    `flows` comes newest first.
    """
    values: list[float | None] = [None] * seconds
    for second, flow in islice(flows, seconds + 1):
        place = seconds - 1 - (newest_first - second)
        if place < 0:
            break
        if place < seconds:
            values[place] = pick(flow)
    return values


def done(flow: Flow) -> float | None:
    return flow.completed


def queued(flow: Flow) -> float | None:
    return flow.pending


def wait_p95(flow: Flow) -> float | None:
    return flow.wait_p95
