"""Stores changes of health, each by compare-and-set, and tells a record of ours from one that somebody else wrote."""

import asyncio
from collections.abc import Callable

import structlog

from pointsman.client.bus import BusError
from pointsman.contracts.base import encode
from pointsman.contracts.errors import PointsmanError
from pointsman.contracts.ids import new_operation_id
from pointsman.contracts.server import ServerHealth
from pointsman.contracts.subjects import token
from pointsman.services.runtime.kv import Bucket, RevisionMoved

log = structlog.get_logger()

CONCURRENCY_MAX = 32


class HealthWriter:
    """`latest` gives what should be stored of a server now, None when nothing is."""

    def __init__(self, bucket: Bucket, latest: Callable[[str], ServerHealth | None]) -> None:
        self._bucket = bucket
        self._latest = latest
        self._revisions: dict[str, int] = {}
        self._writing: dict[str, ServerHealth] = {}
        self._room = asyncio.Semaphore(CONCURRENCY_MAX)

    def begin(self, server_id: str, revision: int) -> None:
        self._revisions[server_id] = revision

    def forget(self, server_id: str) -> None:
        self._revisions.pop(server_id, None)

    def clear(self) -> None:
        self._revisions.clear()

    def is_writing(self, server_id: str) -> bool:
        return server_id in self._writing

    def is_foreign(self, server_id: str, stored: ServerHealth, revision: int) -> bool:
        return revision > self._revisions.get(server_id, 0) and stored != self._writing.get(server_id)

    async def write(self, server_id: str) -> bool:
        """Whether the latest state is stored; what somebody else wrote in between comes back through the bucket."""
        async with self._room:
            health, revision = self._latest(server_id), self._revisions.get(server_id)
            if health is None or revision is None:
                return True
            self._writing[server_id] = health
            try:
                return await self._put(server_id, health, revision)
            except (PointsmanError, BusError) as error:
                log.warning("health not stored", server=server_id, error=str(error))
                return False
            finally:
                del self._writing[server_id]

    async def _put(self, server_id: str, health: ServerHealth, revision: int) -> bool:
        key = f"health.{token(server_id)}"
        try:
            stored = await self._bucket.update(key, encode(health), revision=revision, operation=new_operation_id())
        except RevisionMoved:
            entry = await self._bucket.get(key, latest=True)
            if (entry is None or not entry.data) and server_id in self._revisions:
                self._revisions[server_id] = entry.revision if entry else 0
            return False
        if server_id in self._revisions:
            self._revisions[server_id] = stored
        return True
