"""Limits, rates and blocked keys: nobody passes a closed gate, nobody who may pass is left behind."""

from collections.abc import Callable
from math import inf
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from pointsman.contracts.limits import EVERY_KEY, KeySettings, Limit, PoolSettings, Rate, TypeSettings
from pointsman.contracts.record import Lease, TaskHead, TaskNeeds
from pointsman.services.balancer.entry import Entry, Requirement, Shapes, State
from pointsman.services.balancer.gate import Gate, Wait
from pointsman.services.balancer.pending import PendingIndex

NOW = 1_700_000_000_000
SHAPES = Shapes()


def an_entry(name: str, *, spent: int = 0, due: int = NOW, **spec: Any) -> Entry:
    needs = TaskNeeds(**({"type": "a", "deadline": NOW + 3_600_000} | spec))
    head = TaskHead(id=name, owner="ann", spec=needs, created_at=due)
    entry = Entry(head, SHAPES.of(head), 1)
    entry.lease = Lease(spent=spent) if spent else None
    return entry


class Yard:
    """A pending index with a clock, a list of what runs, and servers that take whatever comes."""

    def __init__(self, free_slots: Callable[[str], float] = lambda _: inf) -> None:
        self.index = PendingIndex(free_slots)
        self.now = NOW
        self.running: list[Entry] = []

    @property
    def now_s(self) -> float:
        return self.now / 1000

    def add(self, *entries: Entry) -> None:
        for entry in entries:
            self.index.add(entry, self.now, self.now_s)

    def heads(self) -> dict[Requirement, Entry]:
        """The first of each line, most urgent first, when everything has settled."""
        found = []
        for _ in range(100):
            lines = list(self.index.lines(self.now, self.now_s))
            found = [(head, line) for line in lines if (head := self.index.head(line, self.now, self.now_s))]
            if not self.index.is_unsettled:
                break
        return {line.requirement: head[1] for head, line in sorted(found, key=lambda one: one[0][0])}

    def begin(self, entry: Entry) -> None:
        self.index.begin(entry, self.now_s)
        entry.state = State.RUNNING
        self.index.gates.began(entry)
        self.running.append(entry)

    def end(self, entry: Entry) -> None:
        self.running.remove(entry)
        entry.state = State.DELAYED
        self.index.gates.ended(entry)

    def begin_one(self) -> str:
        entry = next(iter(self.heads().values()))
        self.begin(entry)
        return entry.id

    def begin_all(self) -> list[str]:
        """Whoever may, in order."""
        began = []
        while heads := self.heads():
            entry = next(iter(heads.values()))
            self.begin(entry)
            began.append(entry.id)
        return began


def test_a_type_never_runs_more_than_its_limit_and_the_next_begins_when_one_ends() -> None:
    yard = Yard()
    yard.index.gates.set_type("a", TypeSettings(type="a", limit=Limit(max_concurrent=2)), 0.0)
    yard.add(*(an_entry(f"t{n}", due=NOW + n - 9) for n in range(5)), an_entry("other", type="b"))
    assert yard.begin_all() == ["t0", "t1", "other"]
    yard.end(yard.running[0])
    assert yard.begin_all() == ["t2"]


def test_what_is_parked_holds_up_nothing_behind_it() -> None:
    yard = Yard()
    yard.index.gates.set_type("a", TypeSettings(type="a", limit=Limit(max_concurrent=0)), 0.0)
    yard.add(*(an_entry(f"t{n}", priority=10) for n in range(2_000)), an_entry("fits", type="b"))
    assert yard.begin_all() == ["fits"]
    assert yard.index.count == 2_000


def test_a_limit_below_what_runs_lets_nobody_in_until_enough_have_ended() -> None:
    yard = Yard()
    yard.add(*(an_entry(f"t{n}", due=NOW + n - 9) for n in range(6)))
    for _ in range(4):
        yard.begin(next(iter(yard.heads().values())))
    yard.index.gates.set_type("a", TypeSettings(type="a", limit=Limit(max_concurrent=2)), 0.0)
    for _ in range(2):
        assert yard.begin_all() == []
        yard.end(yard.running[0])
    assert yard.begin_all() == []
    yard.end(yard.running[0])
    assert yard.begin_all() == ["t4"]


def test_each_concurrency_key_has_its_own_limit_and_the_star_stands_for_the_others() -> None:
    yard = Yard()
    yard.index.gates.set_key(EVERY_KEY, KeySettings(key=EVERY_KEY, limit=Limit(max_concurrent=1)), 0.0)
    yard.index.gates.set_key("big", KeySettings(key="big", limit=Limit(max_concurrent=3)), 0.0)
    yard.add(
        *(an_entry(f"{key}{n}", concurrency_key=key, due=NOW + n - 9) for key in ("big", "x", "y") for n in range(4))
    )
    assert sorted(yard.begin_all()) == ["big0", "big1", "big2", "x0", "y0"]
    yard.index.gates.set_key("big", None, 0.0)
    for entry in list(yard.running):
        yard.end(entry)
    assert sorted(yard.begin_all()) == ["big3", "x1", "y1"]


def test_a_lifted_limit_lets_everybody_go() -> None:
    yard = Yard()
    yard.index.gates.set_key("k", KeySettings(key="k", limit=Limit(max_concurrent=0)), 0.0)
    yard.add(*(an_entry(f"t{n}", concurrency_key="k") for n in range(1_200)))
    assert yard.begin_all() == []
    yard.index.gates.set_key("k", None, 0.0)
    assert len(yard.begin_all()) == 1_200


def test_a_pool_s_limit_holds_all_its_lines() -> None:
    yard = Yard()
    yard.index.gates.set_pool("default", PoolSettings(limit=Limit(max_concurrent=1)), 0.0)
    yard.add(an_entry("a"), an_entry("b", capabilities=("gpu",)), an_entry("c", pool="west"))
    assert sorted(yard.begin_all()) == ["a", "c"]


def test_a_rate_lets_a_burst_pass_and_then_its_pace() -> None:
    yard = Yard()
    yard.index.gates.set_type("a", TypeSettings(type="a", limit=Limit(rate=Rate(per_second=2, burst=3))), yard.now_s)
    yard.add(*(an_entry(f"t{n}", due=NOW + n - 99) for n in range(20)))
    assert yard.begin_all() == ["t0", "t1", "t2"]
    assert yard.index.gates.next_opening() == NOW + 500
    yard.now += 499
    assert yard.begin_all() == []
    yard.now += 1
    assert yard.begin_all() == ["t3"]
    yard.now += 10_000
    assert len(yard.begin_all()) == 3


@pytest.mark.parametrize("seed", range(5))
def test_no_window_sees_more_than_its_rate_and_burst(seed: int) -> None:
    rng, yard, starts = Random(seed), Yard(), []
    rate = Rate(per_second=rng.choice([0.5, 3, 40]), burst=rng.randint(1, 8))
    yard.index.gates.set_type("a", TypeSettings(type="a", limit=Limit(rate=rate)), yard.now_s)
    yard.add(*(an_entry(f"t{n}") for n in range(400)))
    for _ in range(300):
        yard.now += rng.choice([1, 10, 200])
        starts += [yard.now] * len(yard.begin_all())
    for index, first in enumerate(starts):
        for count, last in enumerate(starts[index:], 1):
            assert count <= rate.burst + rate.per_second * (last - first) / 1000 + 1e-6


def test_a_new_leader_spends_no_token_that_its_predecessor_may_have_spent() -> None:
    yard = Yard()
    yard.index.gates.set_type("a", TypeSettings(type="a", limit=Limit(rate=Rate(per_second=1, burst=9))), yard.now_s)
    yard.index.gates.begin_term(yard.now_s)
    yard.add(an_entry("t"))
    assert yard.begin_all() == []
    yard.now += 1_000
    assert yard.begin_all() == ["t"]


def test_a_key_that_a_server_sent_away_waits_as_a_whole_until_then() -> None:
    yard = Yard()
    yard.index.gates.block("k", NOW + 5_000, NOW)
    yard.add(*(an_entry(f"t{n}", concurrency_key="k") for n in range(3)), an_entry("other", concurrency_key="x"))
    assert yard.begin_all() == ["other"]
    assert yard.index.gates.next_opening() == NOW + 5_000
    yard.now += 5_000
    assert yard.begin_all() == ["t0", "t1", "t2"]
    assert list(yard.index.gates) == []


def test_a_server_cannot_send_a_key_away_for_ever() -> None:
    yard = Yard()
    yard.index.gates.block("k", NOW + 86_400_000, NOW)
    yard.add(an_entry("t", concurrency_key="k"))
    yard.now += 300_000
    assert yard.begin_all() == ["t"]


def test_retries_wait_for_their_budget_and_first_attempts_do_not() -> None:
    yard = Yard()
    yard.index.gates.set_retries("default", 0.2, yard.now_s)
    yard.add(*(an_entry(f"r{n}", spent=1, due=NOW + n - 99) for n in range(9)), *(an_entry(f"f{n}") for n in range(5)))
    assert yard.begin_all() == ["r0", "r1", "f0", "f1", "f2", "f3", "f4"]
    yard.now += 5_000
    assert yard.begin_all() == ["r2"]


def test_fairness_holds_at_a_gate_too() -> None:
    """A thousand tasks of one tenant wait for the type's only place; another tenant's single task is next but one."""
    yard = Yard()
    yard.index.gates.set_type("a", TypeSettings(type="a", limit=Limit(max_concurrent=1)), 0.0)
    yard.add(*(an_entry(f"g{n:04}", fairness_key="greedy", due=NOW - 5_000 + n) for n in range(1_000)))
    assert yard.begin_all() == ["g0000"]
    yard.add(an_entry("m", fairness_key="modest"))
    order = []
    for _ in range(3):
        yard.end(yard.running[0])
        order += yard.begin_all()
    assert "m" in order[:2]


def test_shares_follow_the_weights() -> None:
    yard = Yard()
    yard.index.fairness.set_weights("default", {"gold": 3})
    yard.add(*(an_entry(f"{key}{n}", fairness_key=key) for key in ("gold", "iron") for n in range(60)))
    began = yard.begin_all()[:40]
    assert abs(sum(one.startswith("gold") for one in began) - 30) <= 1


def test_a_higher_priority_passes_a_gate_before_all_who_were_there_first() -> None:
    yard = Yard()
    yard.index.gates.set_type("a", TypeSettings(type="a", limit=Limit(max_concurrent=1)), 0.0)
    yard.add(*(an_entry(f"t{n}") for n in range(3)))
    assert yard.begin_all() == ["t0"]
    yard.end(yard.running[0])
    assert [entry.id for entry in yard.heads().values()] == ["t1"]
    yard.add(an_entry("late", priority=9))
    assert yard.begin_all() == ["late"]


def test_who_waits_for_its_own_server_holds_up_nobody_and_goes_when_that_has_room() -> None:
    free = {"a": 0.0}
    yard = Yard(free_slots=lambda server: free[server])
    yard.add(*(an_entry(f"t{n}", affinity_key="k", priority=9) for n in range(3)), an_entry("other"))
    for _ in range(3):
        yard.index.set_aside(next(iter(yard.heads().values())), Wait(server_id="a"), yard.now, yard.now_s)
    assert yard.begin_all() == ["other"]
    free["a"] = 1.0
    assert [entry.id for entry in yard.heads().values()] == ["t0"]
    assert yard.begin_one() == "t0"
    free["a"] = 0.0
    assert yard.heads() == {}
    free["a"] = inf
    assert yard.begin_all() == ["t1", "t2"]
    assert (list(yard.index.gates), yard.index.gates._released) == ([], {})


def test_what_no_free_server_takes_is_tried_again_one_by_one() -> None:
    yard = Yard()
    yard.add(*(an_entry(f"t{n}") for n in range(3)), an_entry("u", type="b"))
    for _ in range(3):
        head = next(entry for entry in yard.heads().values())
        yard.index.set_aside(head, Wait(until=NOW + 500), yard.now, yard.now_s)
    assert yard.begin_all() == ["u"]
    yard.now += 500
    assert [entry.id for entry in yard.heads().values()] == ["t0"]
    yard.index.set_aside(next(iter(yard.heads().values())), Wait(until=NOW + 9_000), yard.now, yard.now_s)
    assert yard.heads() == {}
    yard.index.gates.try_again("a")
    assert yard.begin_all() == ["t0", "t1", "t2"]


class GateMachine(RuleBasedStateMachine):
    """Against counting: who is shown may pass, has the highest priority of those who may, and is missing for no class."""

    @initialize()
    def begin_yard(self) -> None:
        self.yard = Yard()
        self.waiting: list[Entry] = []
        self.type_limits: dict[str, int | None] = {}
        self.key_limits: dict[str, int | None] = {}
        self.pool_limit: int | None = None
        self.blocked: dict[str, int] = {}
        self.made = 0

    @rule(
        task_type=st.sampled_from("ab"),
        key=st.sampled_from([None, "k", "l"]),
        fairness=st.sampled_from([None, "x", "y"]),
        priority=st.integers(0, 2),
        spent=st.integers(0, 1),
        capabilities=st.sampled_from([(), ("gpu",)]),
        count=st.integers(1, 3),
    )
    def submit(self, task_type: str, key: str | None, fairness: str | None, priority: int, spent: int,
               capabilities: tuple[str, ...], count: int) -> None:  # fmt: skip
        for _ in range(count):
            entry = an_entry(
                f"t{self.made}", type=task_type, concurrency_key=key, fairness_key=fairness, priority=priority,
                spent=spent, capabilities=capabilities, due=self.yard.now,
            )  # fmt: skip
            self.made += 1
            self.waiting.append(entry)
            self.yard.add(entry)

    @precondition(lambda self: self.waiting)
    @rule(index=st.integers(0, 99))
    def cancel(self, index: int) -> None:
        entry = self.waiting.pop(index % len(self.waiting))
        self.yard.index.forget(entry)
        entry.state = State.DELAYED

    @rule(index=st.integers(0, 3))
    def a_server_takes_one(self, index: int) -> None:
        heads = list(self.yard.heads().values())
        if heads:
            entry = heads[index % len(heads)]
            assert self.may_pass(entry)
            self.yard.begin(entry)
            self.waiting.remove(entry)

    @precondition(lambda self: self.yard.running)
    @rule(index=st.integers(0, 99))
    def one_ends(self, index: int) -> None:
        self.yard.end(self.yard.running[index % len(self.yard.running)])

    @rule(task_type=st.sampled_from("ab"), limit=st.sampled_from([None, 0, 1, 2]))
    def limit_a_type(self, task_type: str, limit: int | None) -> None:
        self.type_limits[task_type] = limit
        made = TypeSettings(type=task_type, limit=Limit(max_concurrent=limit))
        self.yard.index.gates.set_type(task_type, made, self.yard.now_s)

    @rule(key=st.sampled_from(["k", EVERY_KEY]), limit=st.sampled_from([None, 0, 1, 2]), removed=st.booleans())
    def limit_a_key(self, key: str, limit: int | None, removed: bool) -> None:
        self.key_limits[key] = limit
        if removed:
            del self.key_limits[key]
        made = None if removed else KeySettings(key=key, limit=Limit(max_concurrent=limit))
        self.yard.index.gates.set_key(key, made, self.yard.now_s)

    @rule(limit=st.sampled_from([None, 0, 1, 3]))
    def limit_the_pool(self, limit: int | None) -> None:
        self.pool_limit = limit
        self.yard.index.gates.set_pool("default", PoolSettings(limit=Limit(max_concurrent=limit)), self.yard.now_s)

    @rule(per_second=st.sampled_from([0.1, 1.0]))
    def budget_retries(self, per_second: float) -> None:
        self.yard.index.gates.set_retries("default", per_second, self.yard.now_s)

    @rule(key=st.sampled_from("kl"), wait=st.sampled_from([1_000, 4_000]))
    def send_a_key_away(self, key: str, wait: int) -> None:
        until = self.yard.now + wait
        self.blocked[key] = max(until, self.blocked.get(key, 0))
        self.yard.index.gates.block(key, until, self.yard.now)

    @rule(wait=st.sampled_from([1, 900, 6_000]))
    def time_passes(self, wait: int) -> None:
        self.yard.now += wait

    def may_pass(self, entry: Entry) -> bool:
        running, key = self.yard.running, entry.concurrency_key
        limits = [
            (self.type_limits.get(entry.shape.type), sum(one.shape.type == entry.shape.type for one in running)),
            (self.pool_limit, len(running)),
        ]
        if key is not None:
            if self.blocked.get(key, 0) > self.yard.now:
                return False
            limit = self.key_limits[key] if key in self.key_limits else self.key_limits.get(EVERY_KEY)
            limits.append((limit, sum(one.concurrency_key == key for one in running)))
        if any(limit is not None and count >= limit for limit, count in limits):
            return False
        retries = [gate for gate in self.yard.index.gates if gate.id.scope == "retry-budget"]
        return not (entry.lease and retries and self.room(retries[0]) < 1)

    def room(self, gate: Gate) -> float:
        return self.yard.index.gates.room(gate, self.yard.now, self.yard.now_s)

    @invariant()
    def whoever_may_pass_is_shown_by_priority(self) -> None:
        if not hasattr(self, "yard"):
            return
        shown = self.yard.heads()
        assert self.yard.index.count == len(self.waiting) == sum(self.yard.index.by_pool().values())
        for requirement in {entry.shape.requirement for entry in self.waiting}:
            may = [e for e in self.waiting if e.shape.requirement == requirement and self.may_pass(e)]
            head = shown.get(requirement)
            assert (head is None) == (not may)
            assert head is None or (head in may and head.shape.priority == max(e.shape.priority for e in may))

    def teardown(self) -> None:
        """When all limits are lifted everybody goes, and nothing is kept."""
        if not hasattr(self, "yard"):
            return
        gates = self.yard.index.gates
        for task_type in "ab":
            gates.set_type(task_type, None, self.yard.now_s)
        for key in ("k", EVERY_KEY):
            gates.set_key(key, None, self.yard.now_s)
        gates.set_pool("default", None, self.yard.now_s)
        gates.set_retries("default", 1_000.0, self.yard.now_s)
        self.yard.now += 400_000
        assert len(self.yard.begin_all()) == len(self.waiting)
        for entry in list(self.yard.running):
            self.yard.end(entry)
        self.yard.heads()
        assert (self.yard.index.count, self.yard.index.by_pool(), gates._running, gates._lanes) == (0, {}, {}, {})
        assert {gate.id.scope for gate in gates} <= {"retry-budget"}


TestGatesAgainstCounting = GateMachine.TestCase
TestGatesAgainstCounting.settings = settings(
    max_examples=200, stateful_step_count=40, derandomize=True, suppress_health_check=list(HealthCheck)
)
