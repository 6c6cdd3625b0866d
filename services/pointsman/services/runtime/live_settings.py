"""Live settings in their bucket: what a record stands for, and the compare-and-set by which it is edited."""

from collections.abc import Callable
from dataclasses import dataclass

import msgspec

from pointsman.contracts.base import encode
from pointsman.contracts.errors import PointsmanError
from pointsman.contracts.ids import new_operation_id
from pointsman.contracts.limits import KeySettings, Kind, PoolSettings, Settings, TypeSettings
from pointsman.contracts.subjects import from_hex_token, from_token, hex_token, key_name, token
from pointsman.services.runtime.follow import Followed
from pointsman.services.runtime.kv import Bucket, RevisionMoved

ROUNDS_MAX = 10
REMOVED_TTL_S = 30 * 86_400
BUSY = "the setting is being changed by others; try again"

_DECODERS: dict[Kind, msgspec.json.Decoder[Settings]] = {
    Kind.POOL: msgspec.json.Decoder(PoolSettings),
    Kind.TYPE: msgspec.json.Decoder(TypeSettings),
    Kind.KEY: msgspec.json.Decoder(KeySettings),
}


@dataclass(frozen=True, slots=True)
class Stored:
    """The settings of one pool, type or key as stored, and what wrote them; None and 0 when there never were any."""

    kind: Kind
    name: str
    settings: Settings | None
    revision: int
    operation: str = ""


Change = Callable[[Stored], Settings | None]
"""What to write in place of what is stored; None: nothing. May raise to refuse."""


def setting_key(kind: Kind, name: str) -> str:
    """The key of the bucket; the key of a concurrency key is in hex, as it may hold any character."""
    return f"{kind}.{hex_token(name) if kind is Kind.KEY else token(name)}"


def followed_setting(message: Followed) -> Stored | None:
    """What a message of the bucket's stream says; None when it is of no kind that is known here."""
    kind_name, _, rest = key_name(message.subject).partition(".")
    if kind_name not in Kind:
        return None
    kind = Kind(kind_name)
    name = from_hex_token(rest) if kind is Kind.KEY else from_token(rest)
    settings = None if message.deleted else _DECODERS[kind].decode(message.data)
    return Stored(kind, name, settings, message.sequence)


class SettingsStore:
    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket

    async def get(self, kind: Kind, name: str) -> Stored:
        """As the stream leader has it."""
        entry = await self._bucket.get(setting_key(kind, name), latest=True)
        if entry is None:
            return Stored(kind, name, None, 0)
        settings = _DECODERS[kind].decode(entry.data) if entry.data else None
        return Stored(kind, name, settings, entry.revision, entry.operation)

    async def edit(self, kind: Kind, name: str, change: Change, operation: str = "") -> Stored:
        """What is stored after the change; a change that lost a race is decided anew. 503 when it loses too often.

        Asked again under the operation that wrote last, it changes nothing: the answer was lost, not the change.
        """
        for _ in range(ROUNDS_MAX):
            stored = await self.get(kind, name)
            if operation and stored.operation == operation:
                return stored
            settings = change(stored)
            if settings is None:
                return stored
            try:
                return Stored(kind, name, settings, await self._put(stored, settings, operation))
            except RevisionMoved:
                continue
        raise PointsmanError(503, BUSY, retry_after_s=1)

    async def _put(self, stored: Stored, settings: Settings, operation: str) -> int:
        """What was removed is kept for a while, for its history."""
        return await self._bucket.update(
            setting_key(stored.kind, stored.name),
            encode(settings),
            revision=stored.revision,
            operation=operation or new_operation_id(),
            ttl_s=REMOVED_TTL_S if settings.removed else None,
        )
