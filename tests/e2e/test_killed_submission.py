"""A file of tasks whose submission is killed in the middle and begun again."""

import json
import signal
from pathlib import Path

import pytest

from tests.e2e.conftest import Fleet
from tests.e2e.test_cli import WAYS, Shell, shell_by
from tests.e2e.things import Process
from tests.support.rest import Rest
from tests.support.system_up import SystemUp, eventually

COUNT = 600


@pytest.mark.parametrize("way", WAYS)
async def test_no_line_is_lost_and_none_is_submitted_twice(
    way: str, admin: Rest, fleet: Fleet, system: SystemUp, tmp_path: Path
) -> None:
    file, mark = tmp_path / "tasks.jsonl", tmp_path / "mark"
    tasks = (fleet.task(labels={"line": str(number)}, capabilities=["none"]) for number in range(COUNT))
    file.write_text("".join(json.dumps(task) + "\n" for task in tasks))
    given = ("task", "submit", "-f", str(file), "--resume", str(mark))
    shell = await shell_by(way, system)
    killed = await Process.begin(system, way, *given, "--in-flight", "2")
    await eventually(lambda: _told(shell, fleet.pool, 20), "some are submitted")
    killed.send(signal.SIGKILL)
    assert (await killed.ended())[0] == -signal.SIGKILL
    assert len(await _ids(shell, fleet.pool)) < COUNT
    for _ in range(2):
        done = await shell.run(*given, "--in-flight", "16")
        assert f"{COUNT} accepted, 0 refused" in done.stderr
    await eventually(lambda: _told(shell, fleet.pool, COUNT), "each line is a task", within_s=60)
    places = [int(json.loads(line)["labels"]["line"]) for line in await _listed(shell, fleet.pool, "jsonl")]
    assert sorted(places) == list(range(COUNT))
    await shell.run("task", "cancel", "--matching", f"pool:{fleet.pool}", "--yes")


async def _told(shell: Shell, pool: str, count: int) -> bool:
    return len(await _ids(shell, pool)) >= count


async def _ids(shell: Shell, pool: str) -> set[str]:
    return set(await _listed(shell, pool, "name"))


async def _listed(shell: Shell, pool: str, form: str) -> list[str]:
    return (await shell.says("task", "list", f"pool:{pool}", "--limit", str(2 * COUNT), "-o", form)).splitlines()
