"""Server records in the `servers` bucket, each under compare-and-set; a deleted one is an empty value that expires."""

from dataclasses import dataclass

import msgspec

from pointsman.contracts.base import encode
from pointsman.contracts.ids import new_operation_id
from pointsman.contracts.server import ServerAdmin, ServerConfig, ServerHealth, ServerSecret
from pointsman.contracts.subjects import token
from pointsman.services.runtime.kv import Bucket, RevisionMoved

DELETED_TTL_S = 86_400
ROUNDS_MAX = 10


@dataclass(frozen=True, slots=True)
class Stored[T]:
    """A record, its revision and the operation that wrote it; `value` is None where the key is absent or deleted."""

    value: T | None
    revision: int
    operation: str = ""


class ServerStore:
    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket

    async def config(self, server_id: str) -> Stored[ServerConfig]:
        return await self._get("config", server_id, ServerConfig)

    async def secret(self, server_id: str) -> Stored[ServerSecret]:
        return await self._get("secret", server_id, ServerSecret)

    async def admin(self, server_id: str) -> Stored[ServerAdmin]:
        return await self._get("admin", server_id, ServerAdmin)

    async def health(self, server_id: str) -> Stored[ServerHealth]:
        return await self._get("health", server_id, ServerHealth)

    async def put_config(self, config: ServerConfig, revision: int, operation: str = "") -> int:
        """Raises RevisionMoved, as all of these. A caller that may ask twice names its operation."""
        return await self._put("config", config.id, config, revision, operation)

    async def put_secret(self, server_id: str, secret: ServerSecret, revision: int) -> int:
        return await self._put("secret", server_id, secret, revision)

    async def put_admin(self, server_id: str, admin: ServerAdmin, revision: int, operation: str = "") -> int:
        return await self._put("admin", server_id, admin, revision, operation)

    async def put_health(self, server_id: str, health: ServerHealth, revision: int) -> int:
        return await self._put("health", server_id, health, revision)

    async def delete(self, server_id: str, config_revision: int, operation: str = "") -> None:
        """Take the server out: its configuration first, by compare-and-set, then whatever is left of it."""
        await self._delete("config", server_id, config_revision, operation)
        for kind in ("admin", "health", "secret"):
            await self._delete_any(kind, server_id)

    async def forget_orders(self, server_id: str) -> None:
        """What a removal that broke off has left: an order of then must not hold for the server of now."""
        for kind in ("admin", "health"):
            await self._delete_any(kind, server_id)

    async def _delete_any(self, kind: str, server_id: str) -> None:
        for _ in range(ROUNDS_MAX):
            entry = await self._bucket.get(_key(kind, server_id), latest=True)
            if entry is None or not entry.data:
                return
            try:
                await self._delete(kind, server_id, entry.revision)
            except RevisionMoved:
                continue
            return

    async def _delete(self, kind: str, server_id: str, revision: int, operation: str = "") -> None:
        await self._bucket.update(
            _key(kind, server_id),
            b"",
            revision=revision,
            operation=operation or new_operation_id(),
            ttl_s=DELETED_TTL_S,
        )

    async def _get[T](self, kind: str, server_id: str, shape: type[T]) -> Stored[T]:
        entry = await self._bucket.get(_key(kind, server_id), latest=True)
        if entry is None:
            return Stored(None, 0)
        value = msgspec.json.decode(entry.data, type=shape) if entry.data else None
        return Stored(value, entry.revision, entry.operation)

    async def _put(self, kind: str, server_id: str, record: msgspec.Struct, revision: int, operation: str = "") -> int:
        return await self._bucket.update(
            _key(kind, server_id), encode(record), revision=revision, operation=operation or new_operation_id()
        )


def _key(kind: str, server_id: str) -> str:
    return f"{kind}.{token(server_id)}"
