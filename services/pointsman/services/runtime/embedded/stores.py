"""Broker and database of a data folder without any service, for commands that need both to stand still."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec

from pointsman.services.runtime.embedded import folder
from pointsman.services.runtime.embedded.kept import Kept
from pointsman.services.runtime.embedded.nats import Nats
from pointsman.services.runtime.embedded.postgres import Postgres
from pointsman.services.runtime.settings import Settings

LOCK_WITHIN_S = 5.0
READY_WITHIN_S = 60.0


@asynccontextmanager
async def stores_only(settings: Settings, data_dir: Path) -> AsyncIterator[Settings]:
    """The settings that reach them. Raises folder.FolderInUse while a system runs there, DidNotStart."""
    home = folder.make(data_dir)
    lock = await folder.locked(home / "lock", within_s=LOCK_WITHIN_S)
    broker, database = Nats(home, keeps=(lock,)), Postgres(home, keeps=(lock,))
    kept = Kept(broker), Kept(database)
    try:
        for store in kept:
            store.start()
        for store in kept:
            await store.ready(within_s=READY_WITHIN_S)
        yield msgspec.structs.replace(
            settings,
            nats_url=broker.url,
            nats_user=broker.user,
            nats_password=broker.password,
            nats_creds_file="",
            postgres_dsn=database.dsn,
            replicas=1,
        )
    finally:
        for store in reversed(kept):
            await store.stop()
        os.close(lock)
