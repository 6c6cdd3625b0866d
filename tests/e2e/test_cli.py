"""The command line on a running system, over NATS and over REST: what it prints, and how it ends."""

import asyncio
import json
import signal
from asyncio.subprocess import PIPE
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner, Result

from pointsman.cli.checking import Verdict
from pointsman.cli.main import pointsman
from pointsman.contracts.alerts import AlertList
from pointsman.contracts.explain import Explanation
from pointsman.contracts.server import Server, ServerPage
from pointsman.contracts.statistics import (
    FleetStatistics,
    HourlyStatistics,
    LoadBalancerStatistics,
    ServerStatistics,
    TaskStatistics,
    TypesStatistics,
)
from pointsman.contracts.steering import LimitPage, PoolPage, PoolView, TypePage
from pointsman.contracts.task import Task
from tests.e2e.conftest import Fleet
from tests.support.rest import Rest
from tests.support.system_up import COMMAND, SystemUp, eventually

COMMAND_S_MAX = 60.0
WAYS = ("nats", "rest")


class Shell:
    """One user at one system; commands run in this process, each in a thread of its own."""

    def __init__(self, *place: str, **env: str) -> None:
        self._place = place
        self._env = {"POINTSMAN_CONTEXTS": "/nowhere", "USER": "olga"} | env

    async def run(self, *arguments: str, stdin: str = "", expect: int | None = 0) -> Result:
        runner = CliRunner(env=self._env)
        invoke: Callable[[], Result] = lambda: runner.invoke(pointsman, [*self._place, *arguments], input=stdin)  # noqa: E731
        done = await asyncio.wait_for(asyncio.to_thread(invoke), COMMAND_S_MAX)
        assert expect is None or done.exit_code == expect, (arguments, done.exit_code, done.output, done.exception)
        return done

    async def says(self, *arguments: str, stdin: str = "") -> str:
        return (await self.run(*arguments, stdin=stdin)).stdout

    async def json(self, *arguments: str) -> Any:
        return json.loads(await self.says(*arguments, "-o", "json"))


async def shell_by(way: str, system: SystemUp, *roles: str) -> Shell:
    if way == "nats":
        return Shell("--data-dir", str(system.data_dir))
    return Shell("--url", system.url, POINTSMAN_TOKEN=await system.token("olga", *(roles or ("admin",))))


@pytest.mark.parametrize("way", WAYS)
async def test_every_answer_is_what_the_contract_says(way: str, admin: Rest, fleet: Fleet, system: SystemUp) -> None:
    server = await fleet.server()
    ended, waiting = await admin.done(fleet.task()), await admin.accepted(fleet.task(capabilities=["none"]))
    shell = await shell_by(way, system)
    shapes: dict[tuple[str, ...], Any] = {
        ("server", "list"): ServerPage,
        ("server", "get", server.id): Server,
        ("task", "list", f"pool:{fleet.pool}"): list[Task],
        ("task", "get", ended["id"]): Task,
        ("task", "trace", ended["id"]): Task,
        ("task", "explain", waiting): Explanation,
        ("task", "wait", ended["id"]): Task,
        ("balancer", "get"): LoadBalancerStatistics,
        ("pool", "list"): PoolPage,
        ("pool", "get", fleet.pool): PoolView,
        ("limit", "list"): LimitPage,
        ("type", "list"): TypePage,
        ("stats", "day"): TaskStatistics,
        ("stats", "hour"): HourlyStatistics,
        ("stats", "types"): TypesStatistics,
        ("stats", "servers"): FleetStatistics,
        ("stats", "server", server.id): ServerStatistics,
        ("alert", "list"): AlertList,
    }
    for arguments, shape in shapes.items():
        printed = await shell.says(*arguments, "-o", "json")
        answer = msgspec.json.decode(printed, type=shape)
        assert json.loads(msgspec.json.encode(answer)) == json.loads(printed), arguments
        for form in ("table", "wide", "jsonl", "yaml", "name", "csv"):
            told = await shell.says(*arguments, "-o", form)
            assert told.strip() or form in ("jsonl", "name"), (arguments, form)
    verdict = msgspec.json.decode(
        (await shell.run("check", "server", server.id, "--format", "json")).stdout, type=Verdict
    )
    assert (verdict.state, verdict.code) == ("OK", 0)
    await admin.call("POST", f"/api/task/{waiting}/cancel", {}, expect=(200,))


@pytest.mark.parametrize("way", WAYS)
async def test_each_end_has_its_exit_code(way: str, admin: Rest, fleet: Fleet, system: SystemUp) -> None:
    server = await fleet.server()
    shell = await shell_by(way, system)
    failed = await admin.done(fleet.task("error", maxAttempts=1))
    waiting = await admin.accepted(fleet.task(capabilities=["none"]))
    await shell.run("task", "wait", failed["id"], "--for", "state=failed")
    await shell.run("task", "wait", failed["id"], "--for", "state=ended")
    await shell.run("task", "wait", failed["id"], expect=1)
    await shell.run("task", "watch", failed["id"], expect=1)
    refused = await shell.run("task", "result", failed["id"], expect=1)
    assert (refused.stdout, "is FAILED" in refused.stderr) == ("", True)
    await shell.run("task", "result", waiting, expect=4)
    await shell.run("task", "wait", waiting, "--timeout", "200ms", expect=6)
    await shell.run("task", "cancel", failed["id"], expect=4)
    for arguments in (("server", "get", "nobody"), ("task", "get", "task_" + "0" * 32), ("pool", "get", "nowhere")):
        await shell.run(*arguments, expect=3)
    await shell.run("server", "drain", "nobody", "--yes", expect=3)
    await shell.run("server", "drain", server.id, "--if-match", "1", "--yes", expect=4)
    await shell.run("server", "weight", f"{server.id}=2", "--if-match", "1", expect=4)
    await shell.run("server", "drain", server.id, expect=2)
    await shell.run("check", "server", "nobody", expect=2)
    await shell.run("task", "cancel", waiting, "--dry-run")
    assert (await admin.task(waiting))["status"] == "PENDING"
    await shell.run("task", "cancel", waiting, "--reason", "enough")
    assert (await admin.task(waiting))["status"] == "CANCELLED"


async def test_who_may_not_is_told_so(fleet: Fleet, system: SystemUp) -> None:
    server = await fleet.server()
    viewer = await shell_by("rest", system, "viewer")
    await viewer.run("server", "get", server.id)
    refused = await viewer.run("server", "drain", server.id, "--yes", expect=5)
    assert "role required" in refused.stderr
    nobody = Shell("--url", system.url)
    await nobody.run("server", "list", expect=5)
    stranger = Shell("--url", system.nats[0])
    await stranger.run("server", "list", expect=5)
    await nobody.run("check", "cluster", expect=3)


@pytest.mark.parametrize("way", WAYS)
async def test_a_server_goes_its_whole_way(way: str, fleet: Fleet, system: SystemUp) -> None:
    known = await fleet.server()
    shell = await shell_by(way, system)
    name = f"{fleet.pool}-by-{way}"
    register = (
        "server",
        "register",
        name,
        "--at",
        known.backend.endpoints["predict"].rpartition("/")[0],
        "--pool",
        fleet.pool,
    )
    assert "maxConcurrent" in await shell.says(*register, "--max-concurrent", "3", "--dry-run")
    made = await shell.json(*register, "--max-concurrent", "3", "--sync")
    assert made["credential"] and made["serverId"] == name
    assert (await shell.json("server", "get", name))["maxConcurrent"] == 3
    plan = await shell.json("server", "weight", f"{name}=9", "--dry-run")
    assert (plan[0]["before"]["weight"], plan[0]["after"]["weight"], plan[0]["dryRun"]) == (1, 9, True)
    await shell.run("server", "weight", name, "9", "--idempotency-key", f"w-{way}")
    assert (await shell.json("server", "get", name))["weight"] == 9
    plan = await shell.json("server", "drain", "--pool", fleet.pool, "--dry-run")
    assert {one["serverId"] for one in plan["servers"]} == {known.id, name}
    await shell.run("server", "maintenance", name, "--reason", "fan", "--yes")
    assert (await shell.json("server", "get", name))["reason"] == "fan"
    await shell.run("server", "resume", name, "--yes")
    assert (await shell.json("server", "show", name))["wanted"] == "ACTIVE"
    assert name in (await shell.says("server", "ls", "--pool", fleet.pool, "-o", "name")).split()
    await shell.run("server", "unregister", name, "--now", "--yes")
    await shell.run("server", "get", name, expect=3)


@pytest.mark.parametrize("way", WAYS)
async def test_a_file_of_tasks_may_be_submitted_again_and_again(
    way: str, admin: Rest, fleet: Fleet, system: SystemUp, tmp_path: Path
) -> None:
    await fleet.server(maxConcurrent=50)
    shell = await shell_by(way, system)
    file = tmp_path / "tasks.jsonl"
    lines = [json.dumps(fleet.task(payload={"n": number})) for number in range(60)]
    lines[7], lines[40] = '{"type":"UPPER"}', json.dumps({"type": "e2e", "priority": 99})
    file.write_text("\n".join(lines))
    checked = await shell.run("task", "submit", "-f", str(file), "--dry-run", expect=1)
    assert "58 are well formed, 2 refused" in checked.stderr
    for _ in range(2):
        done = await shell.run("task", "submit", "-f", str(file), "--in-flight", "8", expect=1)
        assert "58 accepted, 2 refused" in done.stderr
        assert "line 8: type: " in done.stderr and "line 41: priority: " in done.stderr

    async def all_are_there() -> bool:
        listed = await shell.says("task", "ls", f"pool:{fleet.pool}", "state:done", "--limit", "100", "-o", "name")
        return len(set(listed.split())) == 58

    await eventually(all_are_there, "each line is one task", within_s=30)
    good = "\n".join(line for number, line in enumerate(lines) if number not in (7, 40))
    mark = tmp_path / "mark"
    again = await shell.run("task", "submit", "-f", "-", "--resume", str(mark), stdin=good)
    assert ("58 accepted" in again.stderr, mark.exists()) == (True, False)
    one = json.dumps(fleet.task() | {"idempotencyKey": f"{fleet.pool}-mine"})
    answer = json.loads((await shell.run("task", "submit", "-f", "-", "-o", "json", stdin=one)).stdout)
    assert answer == {"accepted": 1, "refused": 0}


@pytest.mark.parametrize("way", WAYS)
async def test_one_task_is_submitted_waited_for_and_told(way: str, fleet: Fleet, system: SystemUp) -> None:
    await fleet.server()
    shell = await shell_by(way, system)
    given = ("task", "submit", "e2e", "--pool", fleet.pool, "--payload", '{"n": 1.50}', "--label", "a=b", "--wait")
    task = await shell.json(*given, "--idempotency-key", f"{fleet.pool}-once")
    assert (task["status"], task["labels"]) == ("COMPLETED", {"a": "b"})
    assert (await shell.json(*given, "--idempotency-key", f"{fleet.pool}-once"))["id"] == task["id"]
    assert json.loads(await shell.says("task", "result", task["id"])) == task["result"]
    events = [json.loads(line) for line in (await shell.says("task", "watch", task["id"], "-o", "jsonl")).splitlines()]
    assert [event["event"] for event in events] == ["submitted", "assigned", "attempt-ended", "completed"]
    assert "█" in await shell.says("task", "trace", task["id"], "--width", "80")
    assert (await shell.says("task", "trace", task["id"], "--ascii", "--width", "80")).isascii()


async def test_what_happened_is_told_from_a_moment_on(admin: Rest, fleet: Fleet, system: SystemUp) -> None:
    await fleet.server()
    ended = await admin.done(fleet.task())
    shell = await shell_by("nats", system)
    told = [
        json.loads(line)
        for line in (await shell.says("events", "--since", "1m", "--no-follow", "-o", "jsonl")).splitlines()
    ]
    mine = [event["event"] for event in told if event.get("taskId") == ended["id"]]
    assert mine[-1] == "completed"
    cursor = told[-1]["cursor"]
    assert await shell.says("events", "--since", cursor, "--no-follow", "-o", "name") in ("", f"{ended['id']}\n")


async def test_many_tasks_are_cancelled_by_a_job(admin: Rest, fleet: Fleet, system: SystemUp) -> None:
    shell = await shell_by("rest", system)
    waiting = [await admin.accepted(fleet.task(capabilities=["none"])) for _ in range(3)]
    await eventually(lambda: _counts(shell, fleet.pool, 3), "the archive has them")
    await shell.run("task", "cancel", "--matching", f"pool:{fleet.pool}", expect=2)
    job = await shell.json("task", "cancel", "--matching", f"pool:{fleet.pool}", "--reason", "done", "--yes")
    assert (job["status"], job["succeeded"]) == ("DONE", 3)
    job = await shell.json("task", "retry", *waiting[:2], "--reason", "once more", "--yes")
    assert (job["status"], job["succeeded"]) == ("DONE", 2)
    await shell.run("task", "cancel", *waiting[:2], "--yes")


async def _counts(shell: Shell, pool: str, count: int) -> bool:
    return bool((await shell.json("task", "cancel", "--matching", f"pool:{pool}", "--dry-run"))["total"] == count)


async def test_a_shell_completes_the_names_of_the_running_system(fleet: Fleet, system: SystemUp) -> None:
    server = await fleet.server()

    async def offered(*words: str) -> list[str]:
        env = {"_POINTSMAN_COMPLETE": "bash_complete", "COMP_WORDS": " ".join(words), "COMP_CWORD": str(len(words) - 1)}
        process = await asyncio.create_subprocess_exec(
            *COMMAND,
            env={"PATH": "/usr/bin", "POINTSMAN_DATA_DIR": str(system.data_dir)} | env,
            stdout=PIPE,
            stderr=PIPE,
        )
        told, said = await asyncio.wait_for(process.communicate(), COMMAND_S_MAX)
        assert said == b"", said
        return [line.rpartition(",")[2] for line in told.decode().split()]

    assert await offered("pointsman", "server", "drain", server.id[:-1]) == [server.id]
    assert fleet.pool in await offered("pointsman", "pool", "get", fleet.pool)
    assert "least-connections" in await offered("pointsman", "balancer", "switch", "least")


@pytest.mark.parametrize("way", WAYS)
async def test_watching_in_a_pipe_tells_what_changes_and_ends_by_an_interrupt(
    way: str, fleet: Fleet, system: SystemUp
) -> None:
    server = await fleet.server()
    place = ("--data-dir", str(system.data_dir)) if way == "nats" else ("--url", system.url)
    env = {"PATH": "/usr/bin", "POINTSMAN_TOKEN": await system.token("olga", "admin")}
    process = await asyncio.create_subprocess_exec(
        *COMMAND, *place, "server", "watch", "--pool", fleet.pool, "--every", "0.2", env=env, stdout=PIPE, stderr=PIPE
    )
    assert process.stdout is not None

    async def told() -> str:
        assert process.stdout is not None
        return str(json.loads(await asyncio.wait_for(process.stdout.readline(), COMMAND_S_MAX))["wanted"])

    assert await told() == "ACTIVE"
    shell = await shell_by(way, system)
    await shell.run("server", "maintenance", server.id, "--yes")
    while await told() != "MAINTENANCE":
        pass
    process.send_signal(signal.SIGINT)
    assert await asyncio.wait_for(process.wait(), COMMAND_S_MAX) == 130
