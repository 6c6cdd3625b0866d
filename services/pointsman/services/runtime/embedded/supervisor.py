"""The whole system on one machine: starts broker, database and services in order, keeps them, stops them in order."""

import asyncio
import os
import signal
from collections.abc import Callable
from ipaddress import ip_network
from pathlib import Path

import msgspec
import structlog

from pointsman.services.runtime.embedded import answering, child, folder, ports, runfile, store_watch
from pointsman.services.runtime.embedded.kept import FALLS_MAX, DidNotStart, Kept, Launcher
from pointsman.services.runtime.embedded.nats import Nats
from pointsman.services.runtime.embedded.polling import until
from pointsman.services.runtime.embedded.postgres import Postgres
from pointsman.services.runtime.embedded.service import GROUPS, ServiceGroup, python
from pointsman.services.runtime.settings import SECRET_FILE, Settings

log = structlog.get_logger()

LEFTOVERS_WITHIN_S = 30.0
STORES_WITHIN_S = 60.0
READY_WITHIN_S = 120.0
PROBE_EVERY_S = 0.1
LOOPBACK = ("127.0.0.0/8", "::1/128")


class PortInUse(RuntimeError):
    """The gateway cannot listen where it should."""


async def up(settings: Settings, data_dir: Path, *, announce: Callable[[str], None]) -> None:
    """Run until SIGTERM or SIGINT. `announce` gets the line `ready URL` once every service answers.

    Raises folder.FolderInUse, PortInUse, DidNotStart.
    """
    home = folder.make(data_dir)
    lock = await folder.locked(home / "lock", within_s=0 if runs(home) else LEFTOVERS_WITHIN_S)
    try:
        await _until_signal(System(settings, home, keeps=(lock,)), announce)
    finally:
        os.close(lock)


def runs(home: Path) -> bool:
    """Whether a supervisor that is up has the folder; what one that was killed left behind soon ends by itself."""
    try:
        note = runfile.read(home)
    except msgspec.DecodeError:
        return False
    return note is not None and note.supervisor_pid in dict(folder.holders(home / "lock"))


async def _until_signal(system: "System", announce: Callable[[str], None]) -> None:
    loop, stopping = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    asked, starting = asyncio.create_task(stopping.wait()), asyncio.create_task(system.start())
    try:
        await asyncio.wait({asked, starting}, return_when="FIRST_COMPLETED")
        if starting.done():
            announce(f"ready {starting.result()}")
            await asyncio.wait({asked, *system.loops}, return_when="FIRST_COMPLETED")
            system.raise_if_broken()
    finally:
        asked.cancel()
        starting.cancel()
        await asyncio.wait({asked, starting})
        await system.stop()


class System:
    """Broker, database and services over one locked data folder."""

    def __init__(self, settings: Settings, data_dir: Path, *, keeps: tuple[int, ...]) -> None:
        self._asked = settings
        self._home = data_dir
        self._keeps = keeps
        self._stores: list[Kept] = []
        self._services: list[Kept] = []
        self._pids: dict[str, int] = {}
        self._settings: Settings | None = None
        self._watching: asyncio.Task[None] | None = None
        self.loops: set[asyncio.Task[None]] = set()

    async def start(self) -> str:
        """Start everything; returns the gateway's URL once every service answers."""
        runfile.remove(self._home)
        _refuse_taken_port(self._asked)
        broker, database = Nats(self._home, keeps=self._keeps), Postgres(self._home, keeps=self._keeps)
        self._stores = [self._kept(broker), self._kept(database)]
        await asyncio.gather(*(store.ready(within_s=STORES_WITHIN_S) for store in self._stores))
        port = self._asked.port or ports.free(self._asked.host)
        self._settings = settled(self._asked, self._home, broker, database, port)
        _warn_of_egress(self._settings)
        self._note()
        await self._migrate(self._settings)
        self._services = [self._kept(self._group(names, self._settings)) for names in GROUPS]
        await self._all_answer(self._settings)
        self._watching = asyncio.create_task(store_watch.watch(self._stores[0], self._settings, self._home))
        return self._settings.base_url

    async def stop(self) -> None:
        """Services first, all at once; then the database; the broker last."""
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.wait({self._watching})
        await asyncio.gather(*(service.stop() for service in self._services))
        for store in reversed(self._stores):
            await store.stop()
        runfile.remove(self._home)

    def raise_if_broken(self) -> None:
        for loop in self.loops:
            if loop.done():
                loop.result()

    def _kept(self, launcher: Launcher) -> Kept:
        kept = Kept(launcher, self._on_start)
        self.loops.add(kept.start())
        return kept

    def _on_start(self, name: str, pid: int) -> None:
        self._pids = {**self._pids, name: pid}
        log.info("program started", program=name, pid=pid)
        if self._settings is not None:
            self._note()

    def _note(self) -> None:
        assert self._settings is not None
        runfile.write(self._home, self._settings, supervisor_pid=os.getpid(), pids=self._pids)

    def _group(self, names: tuple[str, ...], settings: Settings) -> ServiceGroup:
        return ServiceGroup(names, settings, self._home / "logs", keeps=self._keeps)

    async def _migrate(self, settings: Settings) -> None:
        target = self._home / "logs" / "migrate.log"
        program = python("-m", "pointsman.cli.main", "migrate", settings=settings, log=target, keeps=self._keeps)
        process = await child.spawn(program)
        try:
            if await process.wait() != 0:
                raise DidNotStart(f"migrate failed:\n{child.last_lines(target)}")
        finally:
            await child.stop(process, program)

    async def _all_answer(self, settings: Settings) -> None:
        silent: tuple[str, ...] = ()

        async def are_ready() -> bool:
            nonlocal silent
            if fallen := [kept for kept in self._services if kept.falls >= FALLS_MAX]:
                raise DidNotStart(fallen[0].complaint())
            silent = await answering.silent(settings)
            return not silent

        try:
            async with asyncio.timeout(READY_WITHIN_S):
                await until(are_ready, every_s=PROBE_EVERY_S)
        except TimeoutError:
            tails = (
                kept.complaint() for kept, names in zip(self._services, GROUPS, strict=True) if {*names} & {*silent}
            )
            said = f"not ready after {READY_WITHIN_S:.0f} s: no answer from {', '.join(silent)}"
            raise DidNotStart("\n".join([said, *tails])) from None


def settled(asked: Settings, home: Path, broker: Nats, database: Postgres, port: int) -> Settings:
    """The settings every process of this system runs with."""
    secret_file = home / SECRET_FILE
    secret = asked.jwt_secret or folder.kept(secret_file)
    return msgspec.structs.replace(
        asked,
        port=port,
        nats_url=broker.url,
        nats_user=broker.user,
        nats_password=broker.password,
        nats_password_file="",
        nats_creds_file="",
        nats_monitor_url=broker.monitor_url,
        postgres_dsn=database.dsn,
        postgres_dsn_file="",
        jwt_secret=secret,
        jwt_secret_file=asked.jwt_secret_file if asked.jwt_secret else str(secret_file),
        egress_allow=asked.egress_allow or LOOPBACK,
        replicas=1,
        data_dir=str(home),
    )


def _warn_of_egress(settings: Settings) -> None:
    if any(ip_network(network).is_loopback for network in settings.egress_allow):
        log.warning(
            "LOOPBACK IS OPEN: tasks are sent to servers on this machine's own addresses; close it with egress_allow",
            egress_allow=settings.egress_allow,
        )


def _refuse_taken_port(settings: Settings) -> None:
    try:
        ports.free(settings.host)
    except OSError as error:
        raise PortInUse(f"cannot listen on host {settings.host}: {error.strerror}") from error
    if settings.port and not ports.is_free(settings.port, settings.host):
        raise PortInUse(f"port {settings.port} on {settings.host} is in use; `--port 0` takes a free one")
