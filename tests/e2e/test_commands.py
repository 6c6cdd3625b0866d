"""The command line on a running system: tasks, a backup, and the backup on another data folder."""

import asyncio
import contextlib
import json
import subprocess
from pathlib import Path

from tests.e2e.conftest import Fleet
from tests.support.rest import Rest
from tests.support.system_up import COMMAND, REPOSITORY, SystemUp, eventually, short_folder

COMMAND_S_MAX = 90.0


async def run(*arguments: str, data_dir: Path, expect: int = 0) -> str:
    done = await asyncio.to_thread(
        subprocess.run,
        (*COMMAND, *arguments, "--data-dir", str(data_dir)),
        cwd=REPOSITORY,
        capture_output=True,
        timeout=COMMAND_S_MAX,
    )
    assert done.returncode == expect, (done.stdout.decode(), done.stderr.decode())
    return (done.stdout + done.stderr).decode()


async def test_tasks_are_listed_read_cancelled_and_retried(admin: Rest, fleet: Fleet, system: SystemUp) -> None:
    await fleet.server()
    ended = await admin.done(fleet.task(labels={"for": "command"}))
    waiting = await admin.accepted(fleet.task(capabilities=["none"]))

    async def both_are_there() -> bool:
        listed = json.loads(await run("task", "list", f"pool:{fleet.pool}", "-o", "json", data_dir=system.data_dir))
        assert [task["id"] for task in listed] == [waiting, ended["id"]]
        return [task["status"] for task in listed] == ["PENDING", "COMPLETED"]

    await eventually(both_are_there, "the list has both")
    only = await run("task", "list", "labels.for:command", "-o", "jsonl", "--status", "done", data_dir=system.data_dir)
    assert [json.loads(line)["id"] for line in only.splitlines()] == [ended["id"]]
    assert "PENDING" in await run("task", "list", f"pool:{fleet.pool}", "--limit", "1", data_dir=system.data_dir)
    shown = json.loads(await run("task", "get", ended["id"], "-o", "json", data_dir=system.data_dir))
    assert (shown["result"], shown["payload"]) == (ended["result"], ended["payload"])
    await run("task", "cancel", waiting, "--reason", "enough", data_dir=system.data_dir)
    assert (await admin.task(waiting))["status"] == "CANCELLED"
    await run("task", "retry", waiting, data_dir=system.data_dir)
    assert (await admin.task(waiting))["generation"] == 2
    assert "there are id, type" in await run("task", "list", "colour:red", data_dir=system.data_dir, expect=2)
    await run("task", "cancel", waiting, data_dir=system.data_dir)

    async def is_written_down() -> bool:
        entries = (await admin.call("GET", f"/api/audit?target={waiting}", expect=(200,))).body["entries"]
        return [entry["what"] for entry in entries] == ["task.cancel", "task.retry", "task.cancel"]

    await eventually(is_written_down, "each act is in the trail")


async def test_a_backup_comes_back_on_another_data_folder(admin: Rest, fleet: Fleet, system: SystemUp) -> None:
    await fleet.server()
    ended = await admin.done(fleet.task())
    waiting = await admin.accepted(fleet.task(capabilities=["none"]))
    with short_folder() as folder:
        backup = folder / "backup"
        assert "backup is in" in await run("backup", str(backup), data_dir=system.data_dir)
        assert "not empty" in await run("backup", str(backup), data_dir=system.data_dir, expect=1)
        assert "runs" in await run("restore", str(backup), data_dir=system.data_dir, expect=1)
        other = SystemUp(folder / "other", {})
        said = await run("restore", str(backup), data_dir=other.data_dir)
        assert "open tasks accepted anew" in said
        try:
            await other.start()
            async with other.client("ada", "admin") as rest:
                assert (await rest.task(waiting))["status"] == "PENDING"
                assert (await rest.task(ended["id"]))["result"] == ended["result"]
                servers = (await rest.call("GET", "/api/servers", expect=(200,))).body["servers"]
                assert {server["pool"] for server in servers} >= {fleet.pool}
            await other.stop()
        finally:
            with contextlib.suppress(Exception):
                other.end()
