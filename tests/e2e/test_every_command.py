"""Every command there is, on a running system, over NATS and REST: each form of its answer, and how it ends."""

import asyncio
import csv
import json
import os
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import msgspec
import pytest
import pytest_asyncio
import yaml

from pointsman.cli.acting import Plan
from pointsman.cli.checking import Verdict
from pointsman.cli.context import Row as ContextRow
from pointsman.cli.context import Value
from pointsman.cli.finding_of import Finding
from pointsman.cli.main import pointsman
from pointsman.contracts.alerts import AlertList, ListedAlert
from pointsman.contracts.balancer import AlgorithmAnswer
from pointsman.contracts.bulk import MaintainManyAnswer
from pointsman.contracts.explain import Explanation
from pointsman.contracts.server import RegisterAnswer, Server, ServerChanged, ServerPage
from pointsman.contracts.statistics import (
    FleetStatistics,
    HourlyStatistics,
    LoadBalancerStatistics,
    ServerStatistics,
    TaskStatistics,
    TypesStatistics,
)
from pointsman.contracts.steering import (
    LimitEntry,
    LimitPage,
    PoolPage,
    PoolPlan,
    PoolView,
    Removed,
    TypePage,
    TypeView,
)
from pointsman.contracts.task import ActAnswer, Task, TaskRequest
from pointsman.services.runtime.settings import Row as SettingRow
from tests.e2e.conftest import Fleet
from tests.e2e.test_cli import WAYS, Shell, shell_by
from tests.e2e.things import Process, Things
from tests.support.rest import Rest
from tests.support.system_up import SystemUp

FORMS = ("table", "wide", "json", "jsonl", "yaml", "name", "csv")
NO_TASK = "task_" + "0" * 32
STALE = "--if-match=999999999"


@dataclass(frozen=True)
class Case:
    """A command with what it is given. `shape` of its JSON, `plan` of that of a dry run; `missing`: what is not there."""

    given: str
    shape: Any
    plan: Any = None
    missing: str = ""


@dataclass(frozen=True)
class Lines:
    """A command whose answer is a line for each event; `follows` means it does not end."""

    given: str
    follows: bool = False
    missing: str = ""


CASES: dict[str, Case | Lines] = {
    "alert acknowledge": Case("{alert}", ListedAlert, missing="no-such-alert"),
    "alert list": Case("", AlertList),
    "balancer get": Case("", LoadBalancerStatistics),
    "balancer switch": Case("round-robin --pool {pool}", AlgorithmAnswer, PoolPlan),
    "balancer undo": Case("--pool {changed}", PoolView, Plan),
    "events": Lines("--task {ended}", missing=f"--task {NO_TASK}"),
    "limit clear": Case("type {limited}", Removed, Plan, missing="type nothing-limits-it"),
    "limit list": Case("", LimitPage),
    "limit set": Case("type {limited} --max-concurrent 7", LimitEntry, Plan),
    "pool get": Case("{pool}", PoolView, missing="nowhere"),
    "pool list": Case("", PoolPage),
    "pool set": Case("{pool} --max-backlog {number}", PoolView, Plan),
    "pool undo": Case("{changed}", PoolView, Plan),
    "server activate": Case("{held} --yes", MaintainManyAnswer, MaintainManyAnswer, missing="nobody --yes"),
    "server drain": Case("{active} --yes", MaintainManyAnswer, MaintainManyAnswer, missing="nobody --yes"),
    "server get": Case("{server}", Server, missing="-- -nobody"),
    "server list": Case("--pool {pool}", ServerPage),
    "server maintenance": Case("{active} --yes", MaintainManyAnswer, MaintainManyAnswer, missing="nobody --yes"),
    "server register": Case("{unknown} --at {url} --pool {pool}", RegisterAnswer, Plan),
    "server remove": Case("{known} --now --yes", MaintainManyAnswer, MaintainManyAnswer, missing="nobody --yes"),
    "server watch": Lines("--pool {pool}", follows=True),
    "server weight": Case(
        "{server}={number}", tuple[ServerChanged, ...], tuple[ServerChanged, ...], missing="nobody=3"
    ),
    "stats day": Case("", TaskStatistics),
    "stats hour": Case("", HourlyStatistics),
    "stats server": Case("{server}", ServerStatistics),
    "stats servers": Case("", FleetStatistics),
    "stats types": Case("", TypesStatistics),
    "task cancel": Case("{waiting}", ActAnswer, Plan, missing=NO_TASK),
    "task explain": Case("{waits}", Explanation, missing=NO_TASK),
    "task get": Case("{ended}", Task, missing=NO_TASK),
    "task list": Case("pool:{pool}", tuple[Task, ...]),
    "task retry": Case("{cancelled}", ActAnswer, Plan, missing=NO_TASK),
    "task submit": Case("e2e --pool {pool}", Task, TaskRequest),
    "task tail": Lines("pool:{pool}", follows=True),
    "task trace": Case("{ended}", Task, missing=NO_TASK),
    "task wait": Case("{ended}", Task, missing=NO_TASK),
    "task watch": Lines("{ended}", missing=NO_TASK),
    "type declare": Case("{declared} --max-attempts {attempts}", TypeView, Plan),
    "type get": Case("{declared}", TypeView, missing="nothing-declares-it"),
    "type list": Case("", TypePage),
    "type remove": Case("{declared}", Removed, Plan, missing="nothing-declares-it"),
    "type undo": Case("{declared}", TypeView, Plan, missing="nothing-declares-it"),
}
"""Commands with -o that ask a system."""
OF_CONTEXTS = {"context get": tuple[Value, ...], "context list": tuple[ContextRow, ...]}
OWN_FORM = {
    "check cluster": ("--format json", Verdict),
    "check gateway": ("--format json", Verdict),
    "check queue": ("--format json", Verdict),
    "check server": ("{server} --format json", Verdict),
    "doctor": ("--json", tuple[Finding, ...]),
    "settings": ("--json", tuple[SettingRow, ...]),
    "task result": ("{ended}", dict[str, Any]),
}
"""Commands that print JSON in a way of their own."""
WITHOUT_DATA = {
    *("backup", "cheat", "completion", "context add", "context previous", "context remove", "context select", "demo"),
    *("migrate", "record", "restore", "serve", "token", "tui", "up", "webhook-secret"),
}
"""Commands that answer no data: they run something, or print a text or a secret."""


def walked(command: click.Command, *path: str) -> Iterator[tuple[str, click.Command]]:
    if not isinstance(command, click.Group):
        yield " ".join(path), command
        return
    context = click.Context(command)
    for name in command.list_commands(context):
        found = command.get_command(context, name)
        assert found is not None
        yield from walked(found, *path, name)


COMMANDS = dict(walked(pointsman))
WRITES = sorted(name for name in CASES if getattr(COMMANDS[name], "impact", "") == "rw")
GUARDED = sorted(name for name in CASES if any("--if-match" in param.opts for param in COMMANDS[name].params))


async def test_every_command_is_looked_at_here() -> None:
    """A new command wants a case."""
    assert set(COMMANDS) == {*CASES, *OF_CONTEXTS, *OWN_FORM, *WITHOUT_DATA}
    in_any_form = {name for name, command in COMMANDS.items() if any("--output" in one.opts for one in command.params)}
    assert in_any_form == {*CASES, *OF_CONTEXTS}
    dry = {name for name, command in COMMANDS.items() if any("--dry-run" in one.opts for one in command.params)}
    assert dry == {name for name, case in CASES.items() if isinstance(case, Case) and case.plan}


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def fleet(admin: Rest) -> AsyncIterator[Fleet]:
    """One for all tests here: none of them needs its server to itself."""
    async with AsyncExitStack() as stack:
        fleet = Fleet(admin, stack)
        yield fleet
        await fleet.close()


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def things(admin: Rest, fleet: Fleet) -> Things:
    found = Things(admin, fleet)
    await found.prepare()
    return found


def decoded(printed: str, shape: Any, what: object) -> Any:
    """As its struct says it, to the last field."""
    answer = msgspec.json.decode(printed, type=shape)
    assert json.loads(msgspec.json.encode(answer)) == json.loads(printed), what
    return json.loads(printed)


def check_form(form: str, told: str, what: object) -> None:
    lines = told.splitlines()
    match form:
        case "jsonl":
            assert all(isinstance(json.loads(line), dict) for line in lines), what
        case "yaml":
            assert isinstance(yaml.safe_load(told), dict | list), what
        case "name":
            assert all(line and line == line.strip() and '"' not in line for line in lines), what
        case "csv":
            head, *rows = list(csv.reader(lines))
            assert head == [name.lower() for name in head] and all(len(row) == len(head) for row in rows), what
        case _:
            assert told.strip(), what


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", [name for name, case in CASES.items() if isinstance(case, Case)])
async def test_an_answer_is_what_the_contract_says_in_every_form(
    name: str, way: str, things: Things, system: SystemUp
) -> None:
    case, shell = CASES[name], await shell_by(way, system)
    assert isinstance(case, Case)
    for form in FORMS:
        for shape, more in ((case.shape, ()), (case.plan, ("--dry-run",))):
            if shape is None:
                continue
            arguments = ("-o", form, *name.split(), *await things.words(case.given), *more)
            told = await shell.says(*arguments)
            if form == "json":
                decoded(told, shape, arguments)
            else:
                check_form(form, told, arguments)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.missing])
async def test_what_is_not_there_is_3(name: str, way: str, things: Things, system: SystemUp) -> None:
    shell = await shell_by(way, system)
    await shell.run(*name.split(), *await things.words(CASES[name].missing), expect=3)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", GUARDED)
async def test_what_has_changed_since_is_4(name: str, way: str, things: Things, system: SystemUp) -> None:
    case, shell = CASES[name], await shell_by(way, system)
    given = case.given.replace("{unknown}", "{known}")
    await shell.run(*name.split(), *await things.words(given), STALE, expect=4)


@pytest.mark.parametrize("name", WRITES)
async def test_who_may_not_write_gets_5(name: str, things: Things, system: SystemUp) -> None:
    viewer, words = await shell_by("rest", system, "viewer"), await things.words(CASES[name].given)
    refused = await viewer.run(*name.split(), *words, expect=5)
    assert "role required" in refused.stderr
    admin = await shell_by("rest", system)
    refused = await admin.run("--read-only", *name.split(), *words, expect=5)
    assert name in refused.stderr


@pytest.mark.parametrize("way", WAYS)
async def test_a_wait_in_vain_is_6_and_a_failure_is_1(
    way: str, admin: Rest, fleet: Fleet, things: Things, system: SystemUp
) -> None:
    shell = await shell_by(way, system)
    vain = ("--timeout", "300ms")
    await shell.run("task", "wait", *await things.words("{waits}"), *vain, expect=6)
    await shell.run("task", "result", *await things.words("{waits}"), "--wait", *vain, expect=6)
    await shell.run(*await things.words("task submit e2e --pool {pool} --capability none --wait"), *vain, expect=6)
    failed = (await admin.done(fleet.task("error", maxAttempts=1)))["id"]
    for arguments in (("task", "wait", failed), ("task", "watch", failed), ("task", "result", failed)):
        await shell.run(*arguments, expect=1)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", OWN_FORM)
async def test_json_of_a_form_of_its_own(name: str, way: str, things: Things, system: SystemUp) -> None:
    given, shape = OWN_FORM[name]
    if name in ("doctor", "settings"):
        shell = Shell(POINTSMAN_DATA_DIR=str(system.data_dir))
    elif name == "check gateway":
        shell = await shell_by("rest", system)
    else:
        shell = await shell_by(way, system)
    done = await shell.run(*name.split(), *await things.words(given), expect=None)
    answer = decoded(done.stdout, shape, name)
    assert done.exit_code == (answer["code"] if shape is Verdict else 0), done.output


@pytest.mark.parametrize("name", OF_CONTEXTS)
async def test_contexts_in_every_form(name: str, tmp_path: Path, system: SystemUp) -> None:
    shell = Shell(POINTSMAN_CONTEXTS=str(tmp_path / "contexts.toml"))
    await shell.run("context", "add", "here", "--data-dir", str(system.data_dir))
    for form in FORMS:
        told = await shell.says("-o", form, *name.split())
        assert told.strip()
        if form == "json":
            decoded(told, OF_CONTEXTS[name], name)
        else:
            check_form(form, told, name)
    await shell.run("context", "get", "nowhere", expect=3)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", [name for name, case in CASES.items() if isinstance(case, Lines) and not case.follows])
async def test_events_are_lines_in_every_form_that_lines_have(
    name: str, way: str, things: Things, system: SystemUp
) -> None:
    shell, words = await shell_by(way, system), await things.words(CASES[name].given)
    for form in ("json", "jsonl"):
        for line in (await shell.says("-o", form, *name.split(), *words)).splitlines():
            assert json.loads(line)["taskId"] in words
    assert set((await shell.says("-o", "name", *name.split(), *words)).split()) == {words[-1]}
    for form in ("yaml", "csv"):
        await shell.run("-o", form, *name.split(), *words, expect=2)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", [name for name, case in CASES.items() if isinstance(case, Lines) and case.follows])
async def test_what_follows_tells_json_and_ends_by_an_interrupt(
    name: str, way: str, admin: Rest, fleet: Fleet, things: Things, system: SystemUp
) -> None:
    following = await Process.begin(system, way, "-o", "jsonl", *name.split(), *await things.words(CASES[name].given))
    ending = asyncio.create_task(_busy(admin, fleet))
    try:
        assert isinstance(json.loads(await following.line()), dict)
    finally:
        ending.cancel()
    following.send(signal.SIGINT)
    assert (await following.ended())[0] == 130


async def _busy(admin: Rest, fleet: Fleet) -> None:
    while True:
        await admin.done(fleet.task())


@pytest.mark.parametrize("name", CASES)
async def test_nobody_reads_on(name: str, admin: Rest, fleet: Fleet, things: Things, system: SystemUp) -> None:
    unread, written = os.pipe()
    os.close(unread)
    words = await things.words(CASES[name].given)
    done = await Process.begin(system, "nats", "-o", "json", *name.split(), *words, stdout=written)
    os.close(written)
    ending = asyncio.create_task(_busy(admin, fleet)) if name == "task tail" else None
    try:
        assert await done.ended() == (141, "")
    finally:
        if ending is not None:
            ending.cancel()
