"""What the cockpit shows or copies as a command means to the command line exactly what the act says."""

import shlex
import subprocess
from pathlib import Path
from typing import Any

import click
import msgspec
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from pointsman.cli import lines, registering, submitting, weighing
from pointsman.cli.main import pointsman
from pointsman.contracts.server import ServerRequest
from pointsman.contracts.task import RetryRequest, TaskRequest
from pointsman.tui.acts import Act, Thing, Verb
from pointsman.tui.commands import command_of

names = st.from_regex(r"[A-Za-z0-9._-]{1,8}", fullmatch=True) | st.sampled_from(
    ["-", "--", "--yes", "-h", "--help", "-o"]
)
task_ids = st.from_regex(r"task_[0-9a-f]{32}", fullmatch=True)
texts = st.text(st.characters(exclude_categories=("Cc", "Cs")), max_size=20) | st.sampled_from(
    ["it's", "$(reboot)", "`x`", "--yes", "-", "a  b", '"', "\\", "!!", "#", "~", "*"]
)
filled = texts.filter(bool)
labels = st.dictionaries(filled, texts, max_size=3)
pairs = st.dictionaries(filled.filter(lambda name: "=" not in name), texts, max_size=3)
some = st.lists(names, max_size=3, unique=True).map(tuple)
servers = st.builds(
    ServerRequest,
    id=st.none() | names,
    url=filled,
    name=st.none() | filled,
    is_async=st.booleans(),
    max_concurrent=st.integers(1, 10_000),
    capabilities=some,
    groups=some,
    priority=st.integers(0, 10),
    weight=st.integers(1, 1000),
    pool=names,
    labels=pairs,
    version=st.none() | filled,
)
milliseconds = st.none() | st.integers(1, 86_400_000)
tasks = st.builds(
    TaskRequest,
    type=st.from_regex(r"[a-z0-9][a-z0-9._-]{0,8}", fullmatch=True),
    payload=st.dictionaries(texts, texts, max_size=2).map(lambda one: msgspec.Raw(msgspec.json.encode(one))),
    priority=st.none() | st.integers(0, 10),
    capabilities=some,
    is_async=st.booleans(),
    pool=st.none() | names,
    labels=labels,
    delay_ms=st.none() | st.integers(0, 86_400_000),
    deadline_ms=milliseconds,
    timeout_ms=milliseconds,
    max_attempts=st.none() | st.integers(1, 100),
    retry=st.none() | st.builds(RetryRequest, preset=st.just("fast")),
    fairness_key=st.none() | filled,
    concurrency_key=st.none() | filled,
    affinity_key=st.none() | filled,
    callback_url=st.none() | st.just("https://a.example/?it='s"),
)


def things(of: st.SearchStrategy[str]) -> st.SearchStrategy[tuple[Thing, ...]]:
    return st.lists(of.map(lambda name: Thing(name, 3)), min_size=1, max_size=4, unique=True).map(tuple)


def acts_of(verb: Verb) -> st.SearchStrategy[Act]:
    one = st.just(verb)
    match verb:
        case Verb.DRAIN | Verb.MAINTENANCE | Verb.UNREGISTER:
            return st.builds(Act, verb=one, things=things(names), reason=texts)
        case Verb.ACTIVATE:
            return st.builds(Act, verb=one, things=things(names))
        case Verb.WEIGHT:
            weights = st.dictionaries(names, st.integers(1, 1000), min_size=1, max_size=3)
            return st.builds(Act, verb=one, weights=weights.map(lambda given: tuple(given.items())))
        case Verb.REGISTER:
            return st.builds(Act, verb=one, server=servers)
        case Verb.SUBMIT:
            return st.builds(Act, verb=one, task=tasks)
        case Verb.CANCEL | Verb.RETRY:
            named = st.builds(Act, verb=one, things=things(task_ids), reason=texts)
            return named | st.builds(Act, verb=one, matching=filled, reason=texts)
        case Verb.SWITCH:
            return st.builds(Act, verb=one, things=names.map(lambda name: (Thing(name, 4),)), algorithm=st.just("p2c"))
        case Verb.UNDO:
            return st.builds(Act, verb=one, things=names.map(lambda name: (Thing(name, 4),)))
        case Verb.ACKNOWLEDGE:
            alert = st.tuples(st.just("server-down"), names | st.just("")).map(lambda one: tuple(map(Thing, one)))
            return st.builds(Act, verb=one, things=alert, reason=texts)


def understood(words: list[str]) -> tuple[str, dict[str, Any]]:
    """The command that the command line takes it for, and what it would be called with."""
    found: click.Command = pointsman
    path, context = [], click.Context(pointsman)
    assert words[0] == "pointsman"
    words = words[1:]
    while isinstance(found, click.Group):
        name, inner, words = found.resolve_command(context, words)
        assert inner is not None
        path.append(name or "")
        found = inner
    with found.make_context(path[-1], words, parent=context) as made:
        return " ".join(path), made.params


def expected(act: Act) -> tuple[str, dict[str, Any]]:
    reason = act.reason or None
    match act.verb:
        case Verb.DRAIN | Verb.MAINTENANCE:
            return f"server {act.verb}", {"ids": act.ids, "reason": reason}
        case Verb.UNREGISTER:
            return "server remove", {"ids": act.ids, "reason": reason}
        case Verb.ACTIVATE:
            return "server activate", {"ids": act.ids}
        case Verb.CANCEL | Verb.RETRY:
            return f"task {act.verb}", {"ids": act.ids, "matching": act.matching or None, "reason": reason}
        case Verb.SWITCH:
            return "balancer switch", {"name": act.algorithm, "pool": act.ids[0], "if_match": 4}
        case Verb.UNDO:
            return "balancer undo", {"pool": act.ids[0], "if_match": 4}
        case Verb.ACKNOWLEDGE:
            return "alert acknowledge", {"kind": act.ids[0], "subject": act.ids[1], "note": act.reason}
        case Verb.WEIGHT:
            return "server weight", {"weights": dict(act.weights)}
        case Verb.REGISTER:
            return "server register", {"request": act.server}
        case Verb.SUBMIT:
            return "task submit", {"request": act.task}


def told(line: str) -> tuple[str, dict[str, Any]]:
    """The same of a line: requests as the command makes them."""
    piped, _, rest = line.rpartition(" | ") if line.startswith("printf ") else ("", "", line)
    name, given = understood(shlex.split(rest))
    if name == "server weight":
        given["weights"] = weighing.parsed(given["weights"])
    if name == "server register":
        given["request"] = registering.request(given["server_id"], given["file"], given)
    if name == "task submit" and piped:
        assert str(given["file"]) == "-"
        given["request"], _ = lines.parsed(shlex.split(piped)[2].encode(), 1)
    elif name == "task submit":
        given["request"] = submitting._request(given["task_type"], given)
    return name, given


@pytest.mark.parametrize("verb", Verb)
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_a_shown_line_means_exactly_the_act(verb: Verb, data: st.DataObject) -> None:
    act = data.draw(acts_of(verb))
    line = command_of(act)
    name, given = told(line)
    wanted_name, wanted = expected(act)
    assert (name, {one: given[one] for one in wanted}) == (wanted_name, wanted), line
    assert not given.get("yes"), line
    assert not given.get("dry_run"), line


@settings(max_examples=15, deadline=None)
@given(request=tasks)
def test_a_shell_passes_on_what_the_line_says(request: TaskRequest) -> None:
    """As its words where it is one command, and through the pipe where it is two."""
    line = command_of(Act(verb=Verb.SUBMIT, task=request))
    listing = """pointsman() { if [ "$4" = - ]; then cat; else printf '%s\\0' pointsman "$@"; fi; }; """
    done = subprocess.run(["sh", "-c", listing + line], capture_output=True, check=True, timeout=20).stdout
    if line.startswith("printf "):
        assert lines.parsed(done.strip(), 1)[0] == request
    else:
        assert done.decode().split("\0")[:-1] == shlex.split(line)


@pytest.mark.parametrize("verb", Verb)
def test_the_command_line_takes_the_line_as_a_whole(verb: Verb, tmp_path: Path) -> None:
    """Exit code 5: understood, known to write, and refused before anybody was asked."""
    runner = CliRunner(env={"POINTSMAN_CONTEXTS": str(tmp_path / "none"), "POINTSMAN_URL": "nats://127.0.0.1:9"})
    act = Act(
        verb=verb,
        things=(Thing("-a", 3), Thing("b", 1))[: 2 if verb is not Verb.UNDO else 1],
        weights=(("-a", 5),),
        algorithm="p2c",
        reason="it's $(hot)",
        server=ServerRequest(id="-a", url="http://10.0.0.5:9000"),
        task=TaskRequest(type="a"),
    )
    if verb is Verb.SWITCH:
        act = Act(verb=verb, things=(Thing("-a", 3),), algorithm="p2c")
    words = shlex.split(command_of(act))[1:]
    done = runner.invoke(pointsman, ["--read-only", *words])
    assert done.exit_code == 5, (words, done.output)
