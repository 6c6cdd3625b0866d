"""Who is next: by priority, in turn over fairness keys, by due time; nobody is held up by what fits nowhere."""

from random import Random

import pytest

from pointsman.contracts.limits import Limit, TypeSettings
from pointsman.contracts.record import TaskHead, TaskNeeds
from pointsman.services.balancer.entry import Entry, Shapes, State
from pointsman.services.balancer.pending import PendingIndex

NOW = 1_700_000_000_000
SHAPES = Shapes()


def an_entry(name: str, **spec: object) -> Entry:
    due = spec.pop("due", NOW)
    head = TaskHead(id=name, owner="ann", spec=TaskNeeds(**({"type": "a", "deadline": NOW + 1} | spec)), created_at=due)  # type: ignore[arg-type]
    return Entry(head, SHAPES.of(head), 1)


def an_index(*entries: Entry) -> PendingIndex:
    index = PendingIndex()
    for entry in entries:
        index.add(entry, NOW, 0.0)
    return index


def heads(index: PendingIndex) -> list[Entry]:
    """The next of each line."""
    found = [index.head(line, NOW, 0.0) for line in index.lines(NOW, 0.0)]
    return [head[1] for head in sorted((head for head in found if head), key=lambda head: head[0])]


def begin(index: PendingIndex, entry: Entry) -> None:
    index.begin(entry, 0.0)
    entry.state = State.RESERVED


def taken(index: PendingIndex) -> list[str]:
    """All of one class in the order in which they come up."""
    order = []
    while first := heads(index)[:1]:
        begin(index, first[0])
        order.append(first[0].id)
    return order


def test_the_higher_priority_then_the_earlier_then_the_smaller_id_comes_first() -> None:
    entries = [
        an_entry("d", priority=1, due=NOW + 5),
        an_entry("c", priority=1, due=NOW),
        an_entry("b", priority=1, due=NOW),
        an_entry("a", priority=0, due=NOW - 100),
        an_entry("e", priority=10, due=NOW + 9),
    ]
    assert taken(an_index(*entries)) == ["e", "b", "c", "d", "a"]


def test_fairness_keys_take_turns_whoever_has_more() -> None:
    greedy = [an_entry(f"g{n}", fairness_key="greedy", due=NOW + n) for n in range(6)]
    modest = [an_entry(f"m{n}", fairness_key="modest", due=NOW + 100 + n) for n in range(2)]
    nobody = [an_entry("n0", due=NOW + 200)]
    assert taken(an_index(*greedy, *modest, *nobody)) == ["g0", "m0", "n0", "g1", "m1", "g2", "g3", "g4", "g5"]


def test_a_key_that_comes_later_gets_its_turn_at_once() -> None:
    index = an_index(*(an_entry(f"g{n}", fairness_key="greedy", due=NOW + n) for n in range(5)))
    begin(index, heads(index)[0])
    index.add(an_entry("m", fairness_key="modest", due=NOW + 50), NOW, 0.0)
    assert taken(index)[:2] == ["m", "g1"]


def test_each_class_shows_its_own_head_so_that_none_holds_up_another() -> None:
    index = an_index(
        an_entry("stuck", capabilities=("tpu",), priority=10),
        an_entry("other-pool", pool="west"),
        an_entry("fits"),
    )
    assert {entry.id for entry in heads(index)} == {"stuck", "other-pool", "fits"}
    assert index.by_pool() == {"default": 2, "west": 1}


def test_the_order_of_capabilities_makes_no_class() -> None:
    index = an_index(an_entry("a", capabilities=("x", "y")), an_entry("b", capabilities=("y", "x")))
    assert [entry.id for entry in heads(index)] == ["a"]


def test_what_is_forgotten_never_comes_up() -> None:
    entries = [an_entry(f"t{n}", due=NOW + n) for n in range(5)]
    index = an_index(*entries)
    for entry in (entries[0], entries[3]):
        index.forget(entry)
        entry.state = State.DELAYED
    assert index.count == 3
    assert taken(index) == ["t1", "t2", "t4"]
    assert (index.count, index.by_pool()) == (0, {})


def test_an_entry_that_comes_back_at_another_time_is_there_once() -> None:
    entry, other = an_entry("a"), an_entry("b", due=NOW + 5)
    index = an_index(entry, other)
    index.forget(entry)
    entry.due = NOW + 10
    index.add(entry, NOW, 0.0)
    assert index.count == 2
    assert taken(index) == ["b", "a"]


def test_however_it_is_used_the_count_is_what_comes_up() -> None:
    rng, index, waiting = Random(7), PendingIndex(), {}
    for n in range(3_000):
        if waiting and rng.random() < 0.3:
            entry = waiting.pop(rng.choice(list(waiting)))
            index.forget(entry)
            entry.state = State.DELAYED
        elif waiting and rng.random() < 0.3:
            entry = rng.choice(heads(index))
            begin(index, entry)
            del waiting[entry.id]
        else:
            entry = an_entry(
                f"t{n}", due=NOW + rng.randrange(50), priority=rng.randrange(3), fairness_key=rng.choice("abc"),
                capabilities=tuple(rng.sample("xyz", rng.randrange(3))),
            )  # fmt: skip
            index.add(entry, NOW, 0.0)
            waiting[entry.id] = entry
        assert index.count == len(waiting) == sum(index.by_pool().values())
    assert sorted(taken(index)) == sorted(waiting)


def test_who_waits_again_for_a_later_time_stops_nobody_in_the_line() -> None:
    """As a new leader folds it: first the tasks, then that each of them has been tried and waits for its backoff."""
    entries = [an_entry(f"t{n}", due=NOW + n) for n in range(4)]
    index = an_index(*entries)
    for entry in entries:
        index.forget(entry)
        entry.due += 1_000
        index.add(entry, NOW, 0.0)
    assert taken(index) == ["t0", "t1", "t2", "t3"]


def test_any_order_of_waiting_leaving_and_waiting_again_lets_everybody_through() -> None:
    for seed in range(300):
        rng = Random(seed)
        entries = [an_entry(f"t{n}", due=NOW + rng.randrange(5), priority=rng.randrange(2)) for n in range(6)]
        index = an_index(*entries)
        for _ in range(12):
            entry = rng.choice(entries)
            index.forget(entry)
            entry.due = NOW + rng.randrange(5)
            index.add(entry, NOW, 0.0)
        assert sorted(taken(index)) == sorted(entry.id for entry in entries)


def weight_of(index: PendingIndex) -> int:
    """How many things the heaps hold, whether they still matter or not."""
    lines = list(index._lines.values())
    levels = [level for line in lines for level in line.levels.values()]
    gates = [queue for gate in index.gates for queue in gate.queues.values()]
    return (
        sum(len(waiting._heap) for level in levels for waiting in level.by_key.values())
        + sum(len(level._heads) for level in levels)
        + sum(len(lane._heap) for lane in index.gates.lanes())
        + sum(len(queue._lanes) for queue in gates)
    )


@pytest.mark.parametrize("is_limited", [False, True], ids=["in line", "at a gate"])
@pytest.mark.parametrize("waits", [1, 50])
def test_what_leaves_without_being_taken_here_does_not_pile_up(waits: int, is_limited: bool) -> None:
    """So a standby sees all tasks: they become due, and another process begins them."""
    index = PendingIndex()
    if is_limited:
        index.gates.set_type("a", TypeSettings(type="a", limit=Limit(max_concurrent=0)), 0.0)
    rng, here = Random(7), list[Entry]()
    for n in range(10_000):
        here.append(an_entry(f"t{n:05}", due=NOW + n, fairness_key=f"f{n % 7}"))
        index.add(here[-1], NOW + n, 0.0)
        if len(here) > waits:
            index.forget(here.pop(rng.randrange(len(here)) if n % 2 else 0))
    assert index.count == waits
    assert weight_of(index) < 3_000
    for entry in here:
        index.forget(entry)
    assert (index.count, index.by_pool()) == (0, {})
