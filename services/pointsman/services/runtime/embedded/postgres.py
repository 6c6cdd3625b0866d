"""The embedded database: Postgres from the wheel, on a socket only, with a generated password."""

import os
import shutil
import signal
from pathlib import Path
from string import Template
from urllib.parse import quote

import asyncpg

from pointsman.services.runtime.embedded import child, folder, postgres_home
from pointsman.services.runtime.embedded.polling import until

USER = "pointsman"
DATABASE = "pointsman"
PROBE_EVERY_S = 0.03
PROBE_TIMEOUT_S = 5.0
LEFTOVERS_WITHIN_S = 10.0

CONFIG = Template("""\
listen_addresses = ''
unix_socket_directories = '$sockets'
unix_socket_permissions = 0700
password_encryption = 'scram-sha-256'
fsync = on
synchronous_commit = on
full_page_writes = on
shared_buffers = '64MB'
work_mem = '8MB'
maintenance_work_mem = '64MB'
max_connections = 60
max_worker_processes = 4
max_parallel_workers = 2
max_logical_replication_workers = 0
autovacuum_max_workers = 2
io_method = 'sync'
wal_level = 'minimal'
max_wal_senders = 0
max_wal_size = '512MB'
checkpoint_timeout = '15min'
timezone = 'UTC'
log_timezone = 'UTC'
log_line_prefix = '%m [%p] '
lc_messages = 'C'
""")


class Postgres:
    """Launches the database of `data_dir`. The data folder must be locked by the caller."""

    name = "postgres"

    def __init__(self, data_dir: Path, *, keeps: tuple[int, ...] = ()) -> None:
        self._home = postgres_home.prepare(data_dir)
        self._keeps = keeps
        self._life: int | None = None
        self._password = folder.kept(self._home.password_file)

    @property
    def dsn(self) -> str:
        return self._dsn(DATABASE)

    @property
    def log(self) -> Path:
        return self._home.log

    @property
    def root(self) -> Path:
        """The folder that holds the data, which may be outside the data folder."""
        return self._home.root

    async def program(self) -> child.Program:
        """Wait until the last server's processes are gone, then say how to start the next one."""
        self._release()
        self._life = await folder.locked(self._home.root / "life.lock", within_s=LEFTOVERS_WITHIN_S)
        if not self._home.data.exists():
            await self._create()
        (self._home.data / "postmaster.pid").unlink(missing_ok=True)
        folder.write_private(self._home.data / "postgresql.conf", CONFIG.substitute(sockets=self._home.sockets))
        self._own(self._home.data / "postgresql.conf")
        return self._program("postgres", "-D", str(self._home.data), keeps=(*self._keeps, self._life))

    async def ready(self) -> None:
        """Returns once our database answers."""
        await until(self._answers, every_s=PROBE_EVERY_S)
        self._release()

    def _release(self) -> None:
        """Let go of the lock: from now on only the server's processes hold it, as long as one of them lives."""
        if self._life is not None:
            os.close(self._life)
            self._life = None

    async def _create(self) -> None:
        draft, password_file = self._home.root / "data.new", self._home.root / "password"
        shutil.rmtree(draft, ignore_errors=True)
        folder.write_private(password_file, self._password)
        self._own(password_file)
        try:
            await self._initdb(draft, password_file)
        finally:
            password_file.unlink()
        draft.rename(self._home.data)

    async def _initdb(self, target: Path, password_file: Path) -> None:
        program = self._program(
            "initdb",
            f"--pgdata={target}",
            f"--username={USER}",
            f"--pwfile={password_file}",
            "--auth=scram-sha-256",
            "--encoding=UTF8",
            "--locale=C",
            "--locale-provider=builtin",
            "--builtin-locale=C.UTF-8",
            "--data-checksums",
            "--no-instructions",
            keeps=self._keeps,
        )
        process = await child.spawn(program)
        if await process.wait() != 0:
            raise RuntimeError(f"initdb failed:\n{child.last_lines(self._home.log)}")

    def _program(self, name: str, *arguments: str, keeps: tuple[int, ...]) -> child.Program:
        return child.Program(
            argv=(str(self._home.binaries / name), *arguments),
            log=self._home.log,
            env={"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"},
            keeps=keeps,
            account=self._home.account,
            stop_signal=signal.SIGINT,
        )

    def _own(self, path: Path) -> None:
        if not self._home.account.is_current:
            os.chown(path, self._home.account.uid, self._home.account.gid)

    async def _answers(self) -> bool:
        try:
            connection = await asyncpg.connect(self._dsn("postgres"), timeout=PROBE_TIMEOUT_S)
        except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
            return False
        try:
            await _ensure_database(connection)
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
            return False
        finally:
            await connection.close(timeout=PROBE_TIMEOUT_S)
        return True

    def _dsn(self, database: str) -> str:
        return f"postgresql://{USER}:{self._password}@/{database}?host={quote(str(self._home.sockets), safe='/')}"


async def _ensure_database(connection: "asyncpg.Connection[asyncpg.Record]") -> None:
    if not await connection.fetchval("SELECT true FROM pg_database WHERE datname = $1", DATABASE):
        await connection.execute(f"CREATE DATABASE {DATABASE}")
