"""An act from the key to its end, as a table; what is said and asked of the operator on the way. Pure, times in s.

| state    | what it means                                                                            |
|----------|------------------------------------------------------------------------------------------|
| planning | the plan is asked for                                                                    |
| planned  | the plan is there: it may be confirmed                                                   |
| moved    | what was planned has changed since: it must be looked at again                           |
| pending  | sent, not answered yet; it may be left, it goes on                                       |
| unknown  | no answer: asked again under the same name, which does nothing twice                     |
| done     | answered                                                                                 |
| conflict | refused at the write, for something else was there: who changed what is told              |
| refused  | refused for another reason                                                               |
| left     | given up before it was sent                                                              |
"""

from dataclasses import dataclass, replace
from enum import StrEnum

from pointsman.tui.acts import Act, Facts, Thing, Tier, phrase, tier_of


class State(StrEnum):
    PLANNING = "planning"
    PLANNED = "planned"
    MOVED = "moved"
    PENDING = "pending"
    UNKNOWN = "unknown"
    DONE = "done"
    CONFLICT = "conflict"
    REFUSED = "refused"
    LEFT = "left"


class Sign(StrEnum):
    PLANNED = "a plan came"
    MOVED = "a plan came that is not what was planned"
    NOT_PLANNED = "no plan could be made"
    CONFIRMED = "confirmed"
    ANSWERED = "answered"
    CONFLICTED = "conflicted"
    REFUSED = "refused"
    SILENT = "no answer"
    SENT_AGAIN = "sent again"
    REVIEWED = "to be looked at again"
    LEFT = "left"


S = State
TABLE: dict[tuple[State, Sign], State] = {
    (S.PLANNING, Sign.PLANNED): S.PLANNED,
    (S.PLANNING, Sign.NOT_PLANNED): S.REFUSED,
    (S.PLANNING, Sign.LEFT): S.LEFT,
    (S.PLANNED, Sign.PLANNED): S.PLANNED,
    (S.PLANNED, Sign.MOVED): S.MOVED,
    (S.PLANNED, Sign.CONFIRMED): S.PENDING,
    (S.PLANNED, Sign.REVIEWED): S.PLANNING,
    (S.PLANNED, Sign.LEFT): S.LEFT,
    (S.MOVED, Sign.REVIEWED): S.PLANNING,
    (S.MOVED, Sign.LEFT): S.LEFT,
    (S.PENDING, Sign.ANSWERED): S.DONE,
    (S.PENDING, Sign.CONFLICTED): S.CONFLICT,
    (S.PENDING, Sign.REFUSED): S.REFUSED,
    (S.PENDING, Sign.SILENT): S.UNKNOWN,
    (S.UNKNOWN, Sign.SENT_AGAIN): S.PENDING,
    (S.CONFLICT, Sign.REVIEWED): S.PLANNING,
    (S.CONFLICT, Sign.LEFT): S.LEFT,
    (S.REFUSED, Sign.REVIEWED): S.PLANNING,
    (S.REFUSED, Sign.LEFT): S.LEFT,
}
"""What is not named changes nothing: a plan that comes late, a second enter, a key in a dialog that is done."""

SENT = frozenset({S.PENDING, S.UNKNOWN})
OVER = frozenset({S.DONE, S.LEFT})


@dataclass(frozen=True, slots=True)
class Plan:
    """What an act would do, as the services say. `reach` is how many it would change; `seen` what it is based on, by id.

    `lines` are for people; `refusals` are things it would not reach, and why; `warnings` what to think of twice.
    """

    reach: int | None
    lines: tuple[str, ...] = ()
    refusals: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    running: int = 0
    seen: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Outcome:
    """The end of an act: `text` for a toast, `skipped` what was not reached and why. `made` is the id of what is new.

    `job` goes on by itself. `undo` is the pool, and the revision of its settings, that may be taken back. `secret` is shown
    this once.
    """

    text: str
    skipped: tuple[str, ...] = ()
    job: str = ""
    undo: tuple[str, int] | None = None
    made: str = ""
    secret: str = ""


@dataclass(frozen=True, slots=True)
class Underway:
    """`is_read_only` says why nothing may be sent; it is asked anew whenever that could happen."""

    act: Act
    facts: Facts
    state: State = State.PLANNING
    plan: Plan | None = None
    typed: str = ""
    detail: str = ""
    sent_at: float | None = None
    tries: int = 0
    outcome: Outcome | None = None

    @property
    def tier(self) -> Tier:
        """As the key was pressed, or higher as the plan says; never lower."""
        before = tier_of(self.act, self.facts)
        if self.plan is None:
            return before
        count = self.plan.reach if self.act.matching else self.facts.count
        told = Facts(count, max(self.plan.running, self.facts.running), self.facts.is_protected)
        return max(before, tier_of(self.act, told))

    @property
    def phrase(self) -> str:
        return phrase(self.act, self.plan.reach if self.plan is not None else self.facts.count)

    @property
    def reaches_nothing(self) -> bool:
        return self.plan is not None and self.plan.reach == 0

    def may_confirm(self, read_only: str | None) -> bool:
        """Whether it would be sent now if the operator said yes."""
        if read_only or self.state is not State.PLANNED or self.reaches_nothing or self.act.reason_mistake:
            return False
        return self.tier is not Tier.TYPED or self.typed.strip() == self.phrase

    def after(self, sign: Sign, *, detail: str = "") -> "Underway":
        state = TABLE.get((self.state, sign))
        if state is None:
            return self
        return replace(self, state=state, detail=detail)

    def with_typed(self, text: str) -> "Underway":
        return replace(self, typed=text)

    def with_reason(self, text: str) -> "Underway":
        """What was sent is sent again as it was."""
        if self.state in (State.PLANNING, State.PLANNED):
            return replace(self, act=replace(self.act, reason=text.strip()))
        return self

    def with_plan(self, plan: Plan) -> "Underway":
        """The first plan says what is acted on. A later one that rests on something else has to be looked at."""
        if self.state is State.PLANNING:
            act = replace(self.act, things=_as_planned(self.act, plan))
            return replace(self.after(Sign.PLANNED), act=act, plan=plan)
        if self.state is not State.PLANNED or self.plan is None:
            return self
        if _rests_on(plan) == _rests_on(self.plan):
            return replace(self, plan=plan)
        return self.after(Sign.MOVED, detail=_what_moved(self.plan, plan))

    def confirmed(self, now: float, read_only: str | None) -> "Underway":
        """Pending, and so to be sent; unchanged when it may not be."""
        if not self.may_confirm(read_only):
            return self
        return replace(self.after(Sign.CONFIRMED), sent_at=now, tries=1)

    def again(self) -> "Underway":
        moved = self.after(Sign.SENT_AGAIN)
        return replace(moved, tries=self.tries + 1) if moved is not self else self

    def answered(self, outcome: Outcome) -> "Underway":
        return replace(self.after(Sign.ANSWERED, detail=outcome.text), outcome=outcome)

    def reviewed(self, operation: str) -> "Underway":
        """Planned anew, on what is there now, under another name: nothing of before was done."""
        moved = self.after(Sign.REVIEWED)
        if moved is self:
            return self
        things = tuple(replace(thing, seen=None) for thing in self.act.things)
        act = replace(self.act, things=things, operation=operation)
        return replace(moved, act=act, plan=None, typed="", sent_at=None, tries=0, outcome=None)

    def waited_s(self, now: float) -> float:
        return 0.0 if self.sent_at is None else max(0.0, now - self.sent_at)


def _as_planned(act: Act, plan: Plan) -> tuple[Thing, ...]:
    """What the key captured stays; only what was not known is taken from the plan."""
    seen = dict(plan.seen)
    return tuple(replace(thing, seen=seen.get(thing.id) if thing.seen is None else thing.seen) for thing in act.things)


def _rests_on(plan: Plan) -> tuple[object, ...]:
    return (plan.seen, plan.refusals)


def _what_moved(before: Plan, now: Plan) -> str:
    fresh = [line for line in now.refusals if line not in before.refusals]
    if fresh:
        return fresh[0]
    was = dict(before.seen)
    moved = [name for name, seen in now.seen if was.get(name, seen) != seen]
    return f"{moved[0] if moved else 'something'} has changed since the plan"
