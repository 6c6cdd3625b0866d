"""How sure an operator has to be of each act, and that nothing is done otherwise, or to anything else."""

import shlex
from dataclasses import replace

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from pointsman.contracts.server import ServerRequest
from pointsman.contracts.task import TaskRequest
from pointsman.tui.acts import RULES, Act, Facts, Kind, Thing, Tier, Verb, phrase, stepped, tier_of
from pointsman.tui.commands import command_of, shortened
from pointsman.tui.underway import OVER, SENT, TABLE, Outcome, Plan, Sign, State, Underway

ONE = Facts(1)
READ_ONLY = "this cockpit is read-only"


def act(verb: Verb, *ids: str, **fields: object) -> Act:
    return Act(verb=verb, operation="op", things=tuple(Thing(name, 7) for name in ids or ("srv-1",)), **fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("verb", "facts", "tier"),
    [
        (Verb.ACTIVATE, ONE, Tier.NONE),
        (Verb.ACTIVATE, Facts(2), Tier.DIALOG),
        (Verb.ACTIVATE, Facts(6), Tier.TYPED),
        (Verb.DRAIN, Facts(1, running=9), Tier.DIALOG),
        (Verb.DRAIN, Facts(5), Tier.DIALOG),
        (Verb.DRAIN, Facts(6), Tier.TYPED),
        (Verb.DRAIN, Facts(1, is_protected=True), Tier.TYPED),
        (Verb.MAINTENANCE, ONE, Tier.DIALOG),
        (Verb.MAINTENANCE, Facts(1, running=1), Tier.TYPED),
        (Verb.UNREGISTER, ONE, Tier.TYPED),
        (Verb.WEIGHT, ONE, Tier.DIALOG),
        (Verb.CANCEL, Facts(100), Tier.DIALOG),
        (Verb.CANCEL, Facts(101), Tier.TYPED),
        (Verb.RETRY, Facts(1, is_protected=True), Tier.TYPED),
        (Verb.SWITCH, ONE, Tier.DIALOG),
        (Verb.UNDO, ONE, Tier.NONE),
        (Verb.ACKNOWLEDGE, Facts(1, is_protected=True), Tier.NONE),
    ],
)
def test_the_tier_of_an_act(verb: Verb, facts: Facts, tier: Tier) -> None:
    assert tier_of(act(verb), facts) is tier


def test_all_that_match_is_always_typed_and_so_is_what_nobody_has_counted() -> None:
    matching = Act(verb=Verb.RETRY, operation="op", matching="state:failed")
    assert tier_of(matching, Facts(1)) is Tier.TYPED
    assert tier_of(act(Verb.CANCEL), Facts(None)) is Tier.TYPED


@pytest.mark.parametrize("verb", [verb for verb in Verb if RULES[verb].kind in (Kind.SERVER, Kind.TASK)])
@pytest.mark.parametrize("is_protected", [False, True])
def test_more_objects_never_need_less(verb: Verb, is_protected: bool) -> None:
    tiers = [tier_of(act(verb), Facts(count, is_protected=is_protected)) for count in (1, 2, 5, 6, 100, 101, 9_870)]
    assert tiers == sorted(tiers)
    assert tiers[-1] is Tier.TYPED


def test_what_is_typed_is_the_name_of_one_and_the_number_of_many() -> None:
    assert phrase(act(Verb.UNREGISTER), 1) == "srv-1"
    assert phrase(act(Verb.UNREGISTER, "a", "b"), 2) == "2"
    assert phrase(act(Verb.CANCEL, "task_0192f5c2cafd719b"), 1) == "cafd719b"
    assert phrase(Act(verb=Verb.RETRY, operation="o", matching="x"), 9_870) == "9870"
    assert phrase(Act(verb=Verb.SUBMIT, operation="o", task=TaskRequest(type="resize")), 1) == "resize"


def test_a_weight_goes_in_steps_that_stay_round_and_in_its_bounds() -> None:
    assert [stepped(*step) for step in ((1, 10), (10, 10), (100, -10), (5, -10), (995, 10), (1, -10))] == [
        10,
        20,
        90,
        1,
        1000,
        1,
    ]


@pytest.mark.parametrize(
    ("given", "command"),
    [
        (act(Verb.DRAIN, "a", "b", reason="new driver"), "pointsman server drain a b --reason 'new driver'"),
        (act(Verb.UNREGISTER, "srv 1"), "pointsman server remove 'srv 1'"),
        (act(Verb.WEIGHT, weights=(("a", 20),)), "pointsman server weight a=20"),
        (act(Verb.SWITCH, "default", algorithm="p2c"), "pointsman balancer switch p2c --pool default --if-match=7"),
        (
            Act(verb=Verb.RETRY, operation="o", matching="state:failed since:1h"),
            "pointsman task retry --matching 'state:failed since:1h'",
        ),
        (
            Act(
                verb=Verb.SUBMIT,
                operation="o",
                task=TaskRequest(type="resize", payload=b'{"a": "it\'s"}', priority=3, delay_ms=1500),  # type: ignore[arg-type]
            ),
            'pointsman task submit resize --payload \'{"a": "it\'"\'"\'s"}\' --priority=3 --delay=1500ms',
        ),
        (
            Act(
                verb=Verb.REGISTER,
                operation="o",
                server=ServerRequest(id="s", url="http://10.0.0.1", groups=("x", "y"), is_async=False, api_key="k"),
            ),
            "pointsman server register s --at http://10.0.0.1 --group=x --group=y --sync --api-key env:NAME",
        ),
    ],
)
def test_the_same_act_as_a_command(given: Act, command: str) -> None:
    assert command_of(given) == command
    assert shlex.split(command)[0] == "pointsman"


def test_a_secret_is_no_part_of_a_command() -> None:
    server = ServerRequest(id="s", url="http://10.0.0.1", api_key="hunter2")
    assert "hunter2" not in command_of(Act(verb=Verb.REGISTER, operation="o", server=server))


def test_a_command_for_many_is_shortened_where_it_is_shown_and_whole_where_it_is_copied() -> None:
    given = act(Verb.DRAIN, *(f"srv-{n}" for n in range(40)))
    shown = shortened(command_of(given), given.ids)
    assert shown == "pointsman server drain srv-0 srv-1 srv-2 … (37 more; Y copies all)"
    assert "srv-39" in command_of(given)


def started(given: Act, facts: Facts = ONE) -> Underway:
    return Underway(act=given, facts=facts)


PLAN = Plan(reach=1, lines=("x",), seen=(("srv-1", 7),))


def test_a_plan_that_rests_on_something_else_has_to_be_looked_at_again() -> None:
    shown = started(act(Verb.DRAIN)).with_plan(PLAN)
    same = shown.with_plan(replace(PLAN, lines=("other numbers",)))
    assert (same.state, same.plan and same.plan.lines) == (State.PLANNED, ("other numbers",))
    moved = shown.with_plan(replace(PLAN, refusals=("srv-1: changed meanwhile: set to drain by bob",)))
    assert (moved.state, moved.detail) == (State.MOVED, "srv-1: changed meanwhile: set to drain by bob")
    assert not moved.may_confirm(None)
    again = moved.reviewed("op-2").with_plan(replace(PLAN, seen=(("srv-1", 9),)))
    assert (again.state, again.act.operation, again.act.things) == (State.PLANNED, "op-2", (Thing("srv-1", 9),))


def test_a_plan_can_make_an_act_surer_but_never_less_sure() -> None:
    shown = started(act(Verb.MAINTENANCE)).with_plan(replace(PLAN, running=3))
    assert (shown.tier, shown.phrase) == (Tier.TYPED, "srv-1")
    kept = started(act(Verb.MAINTENANCE), Facts(1, running=3)).with_plan(PLAN)
    assert kept.tier is Tier.TYPED


def test_nothing_is_sent_for_a_plan_that_reaches_nothing() -> None:
    assert not started(act(Verb.DRAIN)).with_plan(replace(PLAN, reach=0)).may_confirm(None)


def test_an_unknown_outcome_is_asked_for_again_under_the_same_name() -> None:
    sent = started(act(Verb.DRAIN)).with_plan(PLAN).confirmed(10.0, None)
    again = sent.after(Sign.SILENT).again()
    assert (again.state, again.act.operation, again.tries, again.waited_s(16.0)) == (State.PENDING, "op", 2, 6.0)
    assert again.answered(Outcome("drained")).state is State.DONE


def test_every_state_has_a_way_out_or_is_the_end() -> None:
    for state in State:
        assert (state in OVER) == (not any(source is state for source, _ in TABLE))


class Operator(RuleBasedStateMachine):
    """Someone presses everything in any order while the cluster moves; only what was confirmed is sent."""

    def __init__(self) -> None:
        super().__init__()
        self.world = {"a": 1, "b": 1, "c": 1}
        self.running = dict.fromkeys(self.world, 0)
        self.rows = list(self.world)
        self.read_only: str | None = None
        self.underway: Underway | None = None
        self.captured: tuple[str, ...] = ()
        self.said_yes = False
        self.operations = 0
        self.sent: list[Act] = []

    @rule(
        verb=st.sampled_from([Verb.DRAIN, Verb.UNREGISTER, Verb.MAINTENANCE]), count=st.integers(1, 3), n=st.integers()
    )
    def press(self, verb: Verb, count: int, n: int) -> None:
        if self.read_only or (self.underway is not None and self.underway.state not in OVER):
            return
        start = n % len(self.rows)
        chosen = tuple((self.rows * 2)[start : start + count])
        self.operations += 1
        things = tuple(Thing(name, self.world[name]) for name in chosen)
        running = sum(self.running[name] for name in chosen)
        self.underway = Underway(Act(verb=verb, operation=str(self.operations), things=things), Facts(count, running))
        self.captured, self.said_yes = chosen, False

    @rule(n=st.integers(0, 5))
    def the_list_is_sorted_anew(self, n: int) -> None:
        self.rows = self.rows[n % 3 :] + self.rows[: n % 3]

    @rule(name=st.sampled_from("abc"))
    def somebody_else_changes_a_server(self, name: str) -> None:
        self.world[name] += 1

    @rule(name=st.sampled_from("abc"), running=st.integers(0, 2))
    def tasks_come_and_go(self, name: str, running: int) -> None:
        self.running[name] = running

    @rule(reason=st.sampled_from([None, READ_ONLY, "this is a replay", "the list is paused"]))
    def the_cockpit_may_or_may_not_write(self, reason: str | None) -> None:
        self.read_only = reason

    @precondition(lambda self: self.underway is not None)
    @rule()
    def a_plan_comes(self) -> None:
        assert self.underway is not None
        things = self.underway.act.things
        moved = [thing.id for thing in things if thing.seen is not None and thing.seen != self.world[thing.id]]
        plan = Plan(
            reach=len(things) - len(moved),
            refusals=tuple(f"{name}: changed meanwhile" for name in moved),
            running=sum(self.running[thing.id] for thing in things),
            seen=tuple((thing.id, self.world[thing.id]) for thing in things),
        )
        self.underway = self.underway.with_plan(plan)

    @precondition(lambda self: self.underway is not None)
    @rule(text=st.sampled_from(["a", "b", "c", "1", "2", "3", "yes", ""]))
    def type_something(self, text: str) -> None:
        assert self.underway is not None
        self.underway = self.underway.with_typed(text)

    @precondition(lambda self: self.underway is not None)
    @rule()
    def say_yes(self) -> None:
        assert self.underway is not None
        before = self.underway
        after = before.confirmed(1.0, self.read_only)
        if after is before:
            return
        assert before.state is State.PLANNED
        assert self.read_only is None
        assert before.tier is not Tier.TYPED or before.typed == before.phrase
        assert after.act.ids == self.captured
        self.said_yes, self.underway = True, after
        self.sent.append(after.act)

    @precondition(lambda self: self.underway is not None)
    @rule(
        sign=st.sampled_from([Sign.ANSWERED, Sign.CONFLICTED, Sign.REFUSED, Sign.SILENT, Sign.LEFT, Sign.NOT_PLANNED])
    )
    def something_comes_back(self, sign: Sign) -> None:
        assert self.underway is not None
        self.underway = self.underway.after(sign)

    @precondition(lambda self: self.underway is not None)
    @rule()
    def look_again(self) -> None:
        assert self.underway is not None
        before = self.underway
        self.operations += 1
        self.underway = before.reviewed(str(self.operations))
        if self.underway is not before:
            self.said_yes = False
            assert self.underway.typed == ""

    @precondition(lambda self: self.underway is not None)
    @rule()
    def send_again(self) -> None:
        assert self.underway is not None
        before = self.underway
        self.underway = before.again()
        if self.underway is not before:
            assert before.state is State.UNKNOWN

    @invariant()
    def what_is_sent_was_confirmed_and_is_what_was_captured(self) -> None:
        if self.underway is not None and self.underway.state in SENT:
            assert self.said_yes
            assert self.underway.act.ids == self.captured

    @invariant()
    def each_name_is_sent_once(self) -> None:
        names = [one.operation for one in self.sent]
        assert len(names) == len(set(names))


TestOperator = Operator.TestCase
TestOperator.settings = settings(max_examples=200, stateful_step_count=40)
