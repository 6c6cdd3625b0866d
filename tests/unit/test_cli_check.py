"""What a check concludes, and how monitoring systems are told."""

import pytest
from click.testing import CliRunner

from pointsman.cli.checking import Answers, Measure, State, bounded, concluded, nagios, prometheus
from pointsman.cli.main import pointsman
from pointsman.cli.matching import Known, wishes
from pointsman.contracts.events import Kind, TaskEvent
from pointsman.contracts.filters import FilterError
from pointsman.contracts.lifecycle import Status

EVENT = TaskEvent(
    event=Kind.ATTEMPT_ENDED, task_id="task_1", status=Status.FAILED, at=1, generation=1, attempt=2, server_id="gpu-1",
    error="Connection refused",
)  # fmt: skip


@pytest.mark.parametrize(
    ("states", "word"),
    [
        ((), "OK"),
        ((State.OK, State.WARNING), "WARNING"),
        ((State.WARNING, State.UNKNOWN), "UNKNOWN"),
        ((State.UNKNOWN, State.CRITICAL), "CRITICAL"),
    ],
)
def test_the_worst_decides(states: tuple[State, ...], word: str) -> None:
    verdict = concluded("x", Answers(tuple((state, state.name) for state in states)))
    assert (verdict.state, verdict.code) == (word, State[word])


def test_bounds_are_reached_from_the_value_on() -> None:
    assert [Measure(name="n", value=value, warning=5, critical=9).state for value in (4, 5, 9)] == [0, 1, 2]
    moved = bounded(Measure(name="n", value=1), 50, 5, None, 9)
    assert (moved.warning, moved.critical) == (50, 50)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("queue -w 5 -c 2", "2 comes before -w 5"),
        ("queue -w nan", "nan is no number from 0 on"),
        ("cluster -c -1", "-1 is no number from 0 on"),
        ("queue --nope", "No such option"),
        ("server", "Missing argument"),
        ("nothing", "No such command"),
    ],
)
def test_a_wrong_command_line_is_unknown_and_never_critical(given: str, said: str) -> None:
    done = CliRunner().invoke(pointsman, ["check", *given.split()])
    assert (done.exit_code, said in done.stderr) == (3, True), done.output


def test_a_plugin_line_has_what_was_measured() -> None:
    verdict = concluded("queue", Answers(((State.OK, "a | b leads"),), (Measure(name="pending", value=3, warning=5),)))
    assert nagios(verdict) == "QUEUE OK - a / b leads; pending 3 | 'pending'=3;5;;0"
    assert "pointsman_check_queue_pending 3" in prometheus(verdict).splitlines()


@pytest.mark.parametrize(
    ("text", "matches"),
    [
        ("", True),
        ("type:res*", True),
        ("type:other", False),
        ("-server:gpu-1", False),
        ("state:failed,timeout try>1", True),
        ("try>2", False),
        ('error:"connection refused"', True),
        ("refused", True),
        ("owner:ann pool:p", True),
    ],
)
def test_events_are_held_against_the_filter_language(text: str, matches: bool) -> None:
    assert wishes(text).match(EVENT, Known("resize", "p", "ann")) is matches


def test_what_events_do_not_say_is_refused() -> None:
    with pytest.raises(FilterError, match="events do not say payload"):
        wishes("payload.user:42")
