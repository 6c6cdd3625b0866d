"""All settings as this replica has read them: what lists are made from; what decides is the bucket."""

from collections.abc import Iterator

from pointsman.contracts.limits import Kind, PoolSettings, in_force
from pointsman.services.runtime.live_settings import REMOVED_TTL_S, Stored


class SettingsBook:
    def __init__(self) -> None:
        self._stored: dict[tuple[Kind, str], Stored] = {}

    def fold(self, stored: Stored) -> bool:
        """Whether it is news."""
        place = stored.kind, stored.name
        held = self._stored.get(place)
        if stored.revision <= (held.revision if held is not None else 0):
            return False
        self._stored[place] = stored
        return True

    def pool(self, name: str) -> tuple[PoolSettings | None, int]:
        stored = self._stored.get((Kind.POOL, name))
        if stored is None or not isinstance(stored.settings, PoolSettings):
            return None, 0
        return stored.settings, stored.revision

    def held(self, kind: Kind) -> Iterator[Stored]:
        """Those in force."""
        return (one for one in self._stored.values() if one.kind is kind and in_force(one.settings) is not None)

    def count(self, kind: Kind, now: int) -> int:
        """How many records of a kind the bucket holds, those removed lately included."""
        since = now - REMOVED_TTL_S * 1000
        records = (one.settings for one in self._stored.values() if one.kind is kind and one.settings is not None)
        return sum(not record.removed or record.updated_at > since for record in records)
