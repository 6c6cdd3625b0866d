"""What every dialog of the cockpit shows as a command is one."""

import shlex
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner
from msgspec.structs import replace

from pointsman.cli.main import pointsman
from pointsman.contracts.server import ServerRequest
from pointsman.contracts.task import TaskRequest
from pointsman.tui.acts import Act, Thing, Verb
from pointsman.tui.commands import command_of

TASK = Thing("task_" + "0" * 32, 2)
SERVER = ServerRequest(
    id="gpu 1'", url="http://10.0.0.5:9000", name="Ann's", pool="p", groups=("a", "b"), capabilities=("gpu",), priority=3,
    labels={"rack": "7 b"}, max_concurrent=4, weight=7, version="1", is_async=False, api_key="hunter2",
)  # fmt: skip
REQUEST = TaskRequest(
    type="resize", payload=msgspec.Raw(b'{"a": "it\'s"}'), priority=5, capabilities=("gpu",), labels={"x": "y z"}, pool="p",
    delay_ms=1500, timeout_ms=60_000, deadline_ms=120_000, max_attempts=3, fairness_key="f", concurrency_key="c",
    affinity_key="a",
)  # fmt: skip
MORE: dict[Verb, tuple[dict[str, object], ...]] = {
    Verb.DRAIN: (
        {"things": (Thing("a", 3), Thing("b")), "reason": "new disk"},
        {"things": (Thing("a", 3), Thing("-b")), "reason": "-"},
    ),
    Verb.MAINTENANCE: ({"things": (Thing("a", 3),), "reason": "it's hot"},),
    Verb.ACTIVATE: ({"things": (Thing("a", 3),)},),
    Verb.UNREGISTER: ({"things": (Thing("a", 3),)},),
    Verb.WEIGHT: ({"things": (Thing("a", 3),), "weights": (("a", 5), ("-b", 1))},),
    Verb.REGISTER: ({"server": SERVER}, {"server": replace(SERVER, id="-x")}),
    Verb.SUBMIT: ({"task": REQUEST}, {"task": TaskRequest(type="a")}),
    Verb.CANCEL: ({"things": (TASK, TASK), "reason": "enough"}, {"matching": "state:failed since:1h", "reason": "x"}),
    Verb.RETRY: ({"things": (TASK,)}, {"things": (TASK,), "reason": "x"}, {"matching": 'error:"it\'s"', "reason": "x"}),
    Verb.SWITCH: ({"things": (Thing("default", 4),), "algorithm": "p2c"},),
    Verb.UNDO: ({"things": (Thing("default", 4),)},),
    Verb.ACKNOWLEDGE: ({"things": (Thing("no-leader/default"),), "reason": "I know"},),
}


def test_every_act_is_here() -> None:
    assert set(MORE) == set(Verb)


@pytest.mark.parametrize(("verb", "more"), [(verb, more) for verb, all_ in MORE.items() for more in all_])
def test_the_command_line_takes_what_the_cockpit_shows(verb: Verb, more: dict[str, object], tmp_path: Path) -> None:
    """Exit code 5: understood as a whole, known to write, and refused before anybody was asked."""
    line = command_of(Act(verb=verb, operation="o", **more))  # type: ignore[arg-type]
    words = shlex.split(line)
    runner = CliRunner(env={"POINTSMAN_CONTEXTS": str(tmp_path / "none"), "POINTSMAN_URL": "nats://127.0.0.1:9"})
    done = runner.invoke(pointsman, ["--read-only", *words[1:]])
    assert done.exit_code == 5, (line, done.output)
