"""Real stores for integration tests: the embedded broker and database on a temporary folder, nothing else."""

import contextlib
import os
import shutil
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from pointsman.services.runtime.embedded import folder
from pointsman.services.runtime.embedded.kept import Kept
from pointsman.services.runtime.embedded.nats import Nats
from pointsman.services.runtime.embedded.postgres import Postgres
from pointsman.services.runtime.settings import Settings

READY_WITHIN_S = 30.0


@dataclass(frozen=True)
class NatsSettings:
    """Arguments of `nats_bus.connect`, save the name."""

    url: str
    user: str
    password: str


@dataclass(frozen=True)
class Stores:
    """Both are started again by themselves when a test kills them."""

    nats_settings: NatsSettings
    dsn: str
    nats: Kept
    postgres: Kept
    settings: Settings


@contextlib.contextmanager
def frozen(pid: int) -> Iterator[None]:
    """A database that answers nobody, with its connections left open: the worst kind of away."""
    postmaster = psutil.Process(pid)
    processes = [postmaster, *postmaster.children(recursive=True)]
    for process in processes:
        process.suspend()
    try:
        yield
    finally:
        for process in processes:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.resume()


@asynccontextmanager
async def embedded(tmp_path: Path) -> AsyncIterator[Stores]:
    home = folder.make(tmp_path / "data")
    lock = await folder.locked(home / "lock", within_s=READY_WITHIN_S)
    nats, postgres = Nats(home, keeps=(lock,)), Postgres(home, keeps=(lock,))
    kept = Kept(nats), Kept(postgres)
    try:
        for store in kept:
            store.start()
        for store in kept:
            await store.ready(within_s=READY_WITHIN_S)
        yield _stores(nats, postgres, *kept)
    finally:
        for store in reversed(kept):
            await store.stop()
        os.close(lock)
        forget(home, postgres)


def forget(home: Path, postgres: Postgres) -> None:
    """A database that had to live outside the test's folder goes with the test."""
    if not postgres.root.is_relative_to(home):
        shutil.rmtree(postgres.root)


def _stores(nats: Nats, postgres: Postgres, kept_nats: Kept, kept_postgres: Kept) -> Stores:
    return Stores(
        nats_settings=NatsSettings(url=nats.url, user=nats.user, password=nats.password),
        dsn=postgres.dsn,
        nats=kept_nats,
        postgres=kept_postgres,
        settings=Settings(
            nats_url=nats.url,
            nats_user=nats.user,
            nats_password=nats.password,
            nats_monitor_url=nats.monitor_url,
            postgres_dsn=postgres.dsn,
            jwt_secret="a secret of the tests, long enough for HS256",
            egress_allow=("127.0.0.0/8", "::1/128"),
        ),
    )
