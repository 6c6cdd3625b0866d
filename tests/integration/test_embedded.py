"""The embedded broker and database: on real processes, killed and started again on the same data."""

import asyncio
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import asyncpg
import psutil
import pytest

from pointsman.client import nats_bus
from pointsman.client.bus import BusDown
from pointsman.client.nats_bus import NatsBus
from pointsman.services.runtime.embedded import account, child, folder, ports, postgres_home
from pointsman.services.runtime.embedded.kept import Kept
from pointsman.services.runtime.embedded.nats import Nats
from tests.support.systems import NatsSettings, Stores, embedded

WITHIN_S = 30.0
DROP_AND_RUN = """
import asyncio, os, sys
from pathlib import Path
import asyncpg.connect_utils, asyncpg.protocol, concurrent.futures.thread, encodings.idna, getpass, ssl, stringprep
from tests.support.systems import embedded
os.setgroups([]), os.setgid(65534), os.setuid(65534)
async def main():
    async with embedded(Path(sys.argv[1])) as stores:
        print(os.stat(f"/proc/{stores.postgres.pid}").st_uid, stores.nats.pid is not None)
asyncio.run(main())
"""


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder every user can enter, which pytest's own is not."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o711)
        yield Path(name)


async def connected(stores: Stores) -> NatsBus:
    found: NatsSettings = stores.nats_settings
    return await nats_bus.connect(found.url, name="test", user=found.user, password=found.password)


async def restarted(kept: Kept, old: int | None) -> None:
    await eventually(lambda: kept.pid not in (None, old))
    await asyncio.wait_for(kept.launcher.ready(), WITHIN_S)


def descendants() -> set[int]:
    return {process.pid for process in psutil.Process().children(recursive=True)}


async def query(stores: Stores, sql: str) -> object:
    connection = await asyncpg.connect(stores.dsn)
    try:
        return await connection.fetchval(sql)
    finally:
        await connection.close()


async def test_both_stores_start_and_leave_nothing_behind(tmp_path: Path) -> None:
    before = descendants()
    async with embedded(tmp_path) as stores:
        bus = await connected(stores)
        await bus.barrier()
        await bus.close()
        assert await query(stores, "SHOW fsync") == "on"
        assert await query(stores, "SHOW listen_addresses") == ""
        left = descendants() - before
        assert {stores.nats.pid, stores.postgres.pid} <= left
    assert descendants() - before == set()
    assert not any(psutil.pid_exists(pid) for pid in left)


async def test_a_killed_broker_comes_back_at_the_same_address(tmp_path: Path) -> None:
    async with embedded(tmp_path) as stores:
        bus = await connected(stores)
        came_back = asyncio.Event()
        bus.on_reconnect(came_back.set)
        old = stores.nats.pid
        assert old is not None
        os.kill(old, 9)
        await restarted(stores.nats, old)
        await asyncio.wait_for(came_back.wait(), WITHIN_S)
        await bus.barrier()
        await bus.close()


async def test_a_killed_database_comes_back_with_its_data(tmp_path: Path) -> None:
    async with embedded(tmp_path) as stores:
        await query(stores, "CREATE TABLE kept AS SELECT 7 AS n")
        old = stores.postgres.pid
        assert old is not None
        os.kill(old, 9)
        await restarted(stores.postgres, old)
        assert await query(stores, "SELECT n FROM kept") == 7


async def test_data_outlive_a_stop(open_folder: Path) -> None:
    async with embedded(open_folder) as stores:
        await query(stores, "CREATE TABLE kept AS SELECT 7 AS n")
    async with embedded(open_folder) as stores:
        assert await query(stores, "SELECT n FROM kept") == 7


async def test_strangers_are_refused(tmp_path: Path) -> None:
    async with embedded(tmp_path) as stores:
        with pytest.raises(BusDown):
            await nats_bus.connect(stores.nats_settings.url, name="x", user="pointsman", password="wrong")
        stranger = stores.dsn.replace("pointsman:", "pointsman:wrong", 1)
        with pytest.raises(asyncpg.InvalidPasswordError):
            await asyncpg.connect(stranger)


async def test_a_second_owner_is_told_who_holds_the_folder(tmp_path: Path) -> None:
    async with embedded(tmp_path) as stores:
        with pytest.raises(folder.FolderInUse, match=rf"in use by process {stores.nats.pid} \(nats-server"):
            await folder.locked(tmp_path / "data" / "lock", within_s=0.2)


async def test_no_secret_can_be_read_by_others(tmp_path: Path) -> None:
    async with embedded(tmp_path):
        files = [path for path in (tmp_path / "data").rglob("*") if path.is_file()]
        assert {"lock", "postgres.password", "nats.conf", "identity.json"} <= {path.name for path in files}
        entered = [path for path in files if "jetstream" not in path.parts and "data" not in path.parts[-2:]]
        assert [path for path in entered if path.suffix in {".password", ".conf", ".json"} and _is_open(path)] == []


def _is_open(path: Path) -> bool:
    return bool(path.stat().st_mode & 0o077)


async def test_a_taken_port_is_given_up_before_the_broker_starts(tmp_path: Path) -> None:
    home = folder.make(tmp_path / "data")
    wanted = int(Nats(home).url.rpartition(":")[2])
    with ports._bound("127.0.0.1", wanted) as listener:
        listener.listen()
        assert Nats(home).url != f"nats://127.0.0.1:{wanted}"


async def test_a_port_that_is_taken_just_before_the_broker_starts_is_given_up(tmp_path: Path) -> None:
    broker = Nats(folder.make(tmp_path / "data"))
    taken = broker.url
    with ports._bound("127.0.0.1", int(taken.rpartition(":")[2])) as listener:
        listener.listen()
        kept = Kept(broker)
        kept.start()
        try:
            await kept.ready(within_s=10)
            assert broker.url != taken
        finally:
            await kept.stop()


async def test_a_program_that_cannot_start_says_why(tmp_path: Path) -> None:
    class Broken:
        name = "broken"
        log = tmp_path / "broken.log"

        async def program(self) -> child.Program:
            return child.Program(argv=("/bin/sh", "-c", "echo no such luck; exit 3"), log=self.log, env={})

        async def ready(self) -> None:
            await asyncio.Event().wait()

    kept = Kept(Broken())
    kept.start()
    await eventually(lambda: "no such luck" in child.last_lines(Broken.log))
    with pytest.raises(RuntimeError, match="no such luck"):
        await kept.ready(within_s=0.1)
    await kept.stop()


async def test_a_child_dies_with_its_parent(tmp_path: Path) -> None:
    """The parent spawns a shell that would sleep for ever, and is killed."""
    code = (
        "import asyncio,sys\nfrom pathlib import Path\nfrom pointsman.services.runtime.embedded import child\n"
        "async def main():\n"
        "    p=await child.spawn(child.Program(argv=('/bin/sleep','1000'),log=Path(sys.argv[1]),env={}))\n"
        "    print(p.pid,flush=True); await p.wait()\n"
        "asyncio.run(main())"
    )
    parent = await asyncio.create_subprocess_exec(
        sys.executable, "-c", code, str(tmp_path / "log"), stdout=subprocess.PIPE
    )
    assert parent.stdout is not None
    grandchild = psutil.Process(int(await parent.stdout.readline()))
    parent.kill()
    await parent.wait()
    await eventually(lambda: not grandchild.is_running() or grandchild.status() == psutil.STATUS_ZOMBIE)


async def eventually(is_so: Callable[[], bool]) -> None:
    async with asyncio.timeout(WITHIN_S):
        while not is_so():
            await asyncio.sleep(0.01)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_started_by_root_the_database_is_nobody_and_no_folder_is_opened(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    modes = [parent.stat().st_mode for parent in tmp_path.parents]
    home = postgres_home.prepare(folder.make(tmp_path / "data"))
    assert home.root.stat().st_uid == account.for_database().uid != 0
    assert not home.root.is_relative_to(tmp_path)
    assert postgres_home.prepare(tmp_path / "data").root == home.root
    assert [parent.stat().st_mode for parent in tmp_path.parents] == modes
    home.sockets.rmdir()
    home.root.rmdir()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_it_also_runs_without_root(open_folder: Path) -> None:
    os.chown(open_folder, 65534, 65534)
    done = subprocess.run(
        [sys.executable, "-c", DROP_AND_RUN, str(open_folder)],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        check=False,
    )
    assert (done.returncode, done.stdout.split()) == (0, ["65534", "True"]), done.stderr


async def test_the_data_folder_may_have_any_name(tmp_path: Path) -> None:
    home = tmp_path / 'it\'s a "dir", \\ $HOME é'
    home.mkdir()
    async with embedded(home) as stores:
        bus = await connected(stores)
        await bus.close()
        assert await query(stores, "SHOW fsync") == "on"
