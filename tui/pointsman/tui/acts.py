"""What an operator may do from the cockpit, how sure it has to be, and on what exactly: captured when the key is pressed. Pure.

| tier | confirmed by                                                                  |
|------|-------------------------------------------------------------------------------|
| 0    | nothing: the key does it                                                      |
| 1    | a dialog whose safe button has the focus                                      |
| 2    | the name of the object, or the number of objects, typed by hand               |
"""

from dataclasses import dataclass, field
from enum import IntEnum, StrEnum

from pointsman.contracts.ids import new_operation_id
from pointsman.contracts.server import ServerRequest
from pointsman.contracts.task import REASON_LENGTH_MAX, TaskRequest

SERVERS_AT_ONCE, TASKS_AT_ONCE = 5, 100
WEIGHT_MIN, WEIGHT_MAX = 1, 1000
ID_SHOWN = 8


class Tier(IntEnum):
    NONE = 0
    DIALOG = 1
    TYPED = 2


class Verb(StrEnum):
    DRAIN = "drain"
    ACTIVATE = "activate"
    MAINTENANCE = "maintenance"
    WEIGHT = "weight"
    REGISTER = "register"
    UNREGISTER = "unregister"
    CANCEL = "cancel"
    RETRY = "retry"
    SUBMIT = "submit"
    SWITCH = "switch"
    UNDO = "undo"
    ACKNOWLEDGE = "acknowledge"


class Kind(StrEnum):
    """What a verb acts on."""

    SERVER = "server"
    TASK = "task"
    POOL = "pool"
    ALERT = "alert"


@dataclass(frozen=True, slots=True)
class Rule:
    """`many` is the tier from the second object on, where it is higher than that of one."""

    kind: Kind
    tier: Tier
    title: str
    button: str
    many: Tier = Tier.NONE
    is_form: bool = False
    takes_reason: bool = False


RULES: dict[Verb, Rule] = {
    Verb.DRAIN: Rule(Kind.SERVER, Tier.DIALOG, "Drain", "Drain", takes_reason=True),
    Verb.ACTIVATE: Rule(Kind.SERVER, Tier.NONE, "Activate", "Activate", many=Tier.DIALOG),
    Verb.MAINTENANCE: Rule(Kind.SERVER, Tier.DIALOG, "Maintenance, now", "Take out now", takes_reason=True),
    Verb.WEIGHT: Rule(Kind.SERVER, Tier.DIALOG, "Change the weight", "Change"),
    Verb.REGISTER: Rule(Kind.SERVER, Tier.DIALOG, "Register a server", "Register", is_form=True),
    Verb.UNREGISTER: Rule(Kind.SERVER, Tier.TYPED, "Unregister", "Unregister", takes_reason=True),
    Verb.CANCEL: Rule(Kind.TASK, Tier.DIALOG, "Cancel", "Cancel them", takes_reason=True),
    Verb.RETRY: Rule(Kind.TASK, Tier.DIALOG, "Retry", "Retry", takes_reason=True),
    Verb.SUBMIT: Rule(Kind.TASK, Tier.DIALOG, "Submit a task", "Submit", is_form=True),
    Verb.SWITCH: Rule(Kind.POOL, Tier.DIALOG, "Switch the algorithm", "Switch"),
    Verb.UNDO: Rule(Kind.POOL, Tier.NONE, "Undo the switch", "Undo"),
    Verb.ACKNOWLEDGE: Rule(Kind.ALERT, Tier.NONE, "Acknowledge", "Acknowledge", is_form=True),
}


@dataclass(frozen=True, slots=True)
class Thing:
    """One object as it was on the screen. `seen` is a server's or pool's revision or a task's generation, None: not known."""

    id: str
    seen: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Act:
    """`operation` is its name: sent again under it nothing is done twice. What a verb has no use for is left out.

    `matching` is a filter instead of things: all tasks that match. `weights` are those wanted, by id of the server.
    """

    verb: Verb
    operation: str = field(default_factory=new_operation_id)
    things: tuple[Thing, ...] = ()
    matching: str = ""
    weights: tuple[tuple[str, int], ...] = ()
    algorithm: str = ""
    reason: str = ""
    server: ServerRequest | None = None
    task: TaskRequest | None = None

    @property
    def rule(self) -> Rule:
        return RULES[self.verb]

    @property
    def count(self) -> int | None:
        """How many it is for; None while nobody has counted what matches."""
        if self.matching:
            return None
        return 1 if self.rule.is_form else len(self.things)

    @property
    def reason_mistake(self) -> str:
        """What the API would refuse of the reason; empty: nothing."""
        length = len(self.reason)
        return f"at most {REASON_LENGTH_MAX} characters, these are {length}" if length > REASON_LENGTH_MAX else ""

    @property
    def ids(self) -> tuple[str, ...]:
        return tuple(thing.id for thing in self.things)

    @property
    def revisions(self) -> dict[str, int]:
        return {thing.id: thing.seen for thing in self.things if thing.seen is not None}


@dataclass(frozen=True, slots=True)
class Facts:
    """What decides how sure an act has to be. `count` is None while nobody has counted what matches."""

    count: int | None
    running: int = 0
    is_protected: bool = False


def tier_of(act: Act, facts: Facts) -> Tier:
    """What can reach many, what breaks off work and what is done where the context is protected is typed."""
    rule = act.rule
    tier = rule.tier
    many = facts.count is None or facts.count > 1
    if many:
        tier = max(tier, rule.many)
    if act.verb is Verb.MAINTENANCE and facts.running > 0:
        tier = Tier.TYPED
    if act.matching or exceeds(rule.kind, facts.count):
        tier = max(tier, Tier.TYPED)
    if facts.is_protected and tier is Tier.DIALOG:
        tier = Tier.TYPED
    return tier


def exceeds(kind: Kind, count: int | None) -> bool:
    if count is None:
        return True
    return (kind is Kind.SERVER and count > SERVERS_AT_ONCE) or (kind is Kind.TASK and count > TASKS_AT_ONCE)


def phrase(act: Act, count: int | None) -> str:
    """What has to be typed: the name of the one, the number of many. Of a task the end of its id, as the list shows it."""
    if act.server is not None:
        return act.server.id or act.server.name or str(act.rule.kind)
    if act.task is not None:
        return act.task.type
    if not act.matching and len(act.things) == 1:
        name = act.things[0].id
        return name[-ID_SHOWN:] if act.rule.kind is Kind.TASK else name
    return str(len(act.things) if count is None and not act.matching else count)


def stepped(weight: int, amount: int) -> int:
    """Up from 1 by ten is 10, not 11: so weights stay round."""
    if weight == WEIGHT_MIN and amount > WEIGHT_MIN:
        return min(amount, WEIGHT_MAX)
    return min(WEIGHT_MAX, max(WEIGHT_MIN, weight + amount))
