"""What must hold in every state, and that everything ends."""

from tests.protocol.rules import Bounds
from tests.protocol.world import ACQUIRED, HELD, KNOWING, NOBODY, PENDING, State, World

MENDING = (
    "is lost",
    "is late",
    "is past its deadline",
    "lands",
    "withdraws",
    "sees attempt",
    "refused",
    "is handed back",
    "is committed",
    "is stale",
    "is written",
    "reads",
    "has read",
    "times out",
)
"""The steps that come by themselves when nothing new happens: messages arrive, deadlines pass, the leader follows."""
STEPS_MAX = 200


def broken(state: State, bounds: Bounds) -> str:
    """The first property this state breaks. P2, P4 and P6 are broken by a step, which leaves its mark."""
    if state.foul:
        return state.foul
    running = [attempt.server for attempt in state.attempts if attempt.runs]
    if any(running.count(server) > bounds.limit for server in set(running)):
        return "P1: more attempts run at a server than its limit"
    return ""


class Ending:
    """P5 and P3: from a state, with no new faults and no new picks, every slot is free and every task can go on.

    Deadlines pass, messages arrive, somebody leads. States that were found to end well are remembered, so that most
    ends are a step or two away.
    """

    def __init__(self, world: World) -> None:
        self._world = world
        self._ends_well: set[State] = set()

    def fault(self, state: State) -> str:
        path: list[State] = []
        for _ in range(STEPS_MAX):
            if state in self._ends_well:
                break
            path.append(state)
            after = self._mended(state)
            if after is None:
                wrong = self._wrong(state)
                if wrong:
                    return wrong
                break
            state = after
        else:
            return "P5: it does not come to rest"
        self._ends_well.update(path)
        return ""

    def _mended(self, state: State) -> State | None:
        for name, after in self._world.steps(state):
            if name.startswith("cancel reads"):
                continue
            if any(part in name for part in MENDING):
                return after
        return None if state.holder != NOBODY and state.leaders[state.holder].status == KNOWING else _led(state)

    def _wrong(self, state: State) -> str:
        for i, leader in enumerate(state.leaders):
            held = sorted(a for a, kind in leader.slots if kind == HELD or not state.attempts[a].is_over)
            if held and leader.status == KNOWING:
                return f"P5: leader {i} holds a slot for attempt {held[0]} for ever"
            if leader.status != KNOWING:
                continue
            for t, record in enumerate(state.records):
                view, lease = leader.views[t], state.leases[t]
                if record.status == PENDING and not view.is_live:
                    return f"P3: task {t} is live and its leader does not know"
                if record.status != PENDING and view.is_live:
                    return f"P3: task {t} has ended and its leader does not know"
                current = view.lease.current if view.lease is not None else NOBODY
                if view.is_live and current != NOBODY and lease is not None and lease.current != current:
                    return f"P5: leader {i} waits for attempt {current} for ever"
        return ""


def _led(state: State) -> State | None:
    """Somebody leads again; not counted against the bound of epochs. A leader that still leads is let be."""
    i = state.holder if state.holder != NOBODY else 0
    leader = state.leaders[i]._replace(status=ACQUIRED)
    return state._replace(holder=i, leaders=(*state.leaders[:i], leader, *state.leaders[i + 1 :]))
