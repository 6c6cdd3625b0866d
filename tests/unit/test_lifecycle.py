"""The life of a task, row by row."""

from itertools import product

import pytest

from pointsman.contracts.lifecycle import TABLE, TERMINAL, Event, IllegalTransition, Status, after, allows, mermaid

STATES = (None, *Status)


@pytest.mark.parametrize(("state", "event"), list(product(STATES, Event)), ids=str)
def test_every_pair_of_state_and_event_is_either_in_the_table_or_refused(state, event):
    if (state, event) in TABLE:
        assert after(state, event) is TABLE[state, event]
        assert allows(state, event)
    else:
        assert not allows(state, event)
        with pytest.raises(IllegalTransition) as refusal:
            after(state, event)
        assert (refusal.value.state, refusal.value.event) == (state, event)


def test_a_completed_task_is_final():
    assert not any(allows(Status.COMPLETED, event) for event in Event)


def test_only_a_retry_by_hand_leaves_a_terminal_state():
    leaving = {event for state, event in TABLE if state in TERMINAL}
    assert leaving == {Event.RETRIED_BY_HAND}


def test_every_state_can_be_reached_from_submission():
    reached, frontier = set(), {TABLE[None, Event.SUBMITTED]}
    while frontier:
        reached |= frontier
        frontier = {target for (state, _), target in TABLE.items() if state in reached} - reached
    assert reached == set(Status)


def test_every_live_state_can_be_cancelled_and_can_run_out_of_time():
    for state in set(Status) - TERMINAL:
        assert after(state, Event.CANCELLED) is Status.CANCELLED
        assert after(state, Event.DEADLINE_PASSED) is Status.TIMEOUT


def test_the_diagram_has_one_line_per_row():
    assert len(mermaid().splitlines()) == len(TABLE) + 2
