"""Fold the four buckets the leader lives by into its model."""

from collections.abc import Callable

import msgspec

from pointsman.client.bus import Bus
from pointsman.contracts.limits import KeySettings, Kind, PoolSettings, TypeSettings, in_force
from pointsman.contracts.record import TaskHead
from pointsman.contracts.server import ServerAdmin, ServerConfig, ServerHealth
from pointsman.contracts.subjects import (
    BUCKET_LEASES,
    BUCKET_SERVERS,
    BUCKET_SETTINGS,
    BUCKET_TASKS,
    from_token,
    key_name,
    stream_of,
)
from pointsman.services.balancer.model import Model
from pointsman.services.balancer.settings_book import SettingsBook
from pointsman.services.runtime.clock import Clock
from pointsman.services.runtime.follow import Followed, Follower
from pointsman.services.runtime.live_settings import Stored, followed_setting
from pointsman.services.runtime.task_store import decode_lease

_HEAD = msgspec.json.Decoder(TaskHead)
_CONFIG = msgspec.json.Decoder(ServerConfig)
_ADMIN = msgspec.json.Decoder(ServerAdmin)
_HEALTH = msgspec.json.Decoder(ServerHealth)


class Folding:
    """`changed` is called after each fold; `replayed` when the leases are about to be read anew.

    `relaxed`: the tasks' stream may lose its tail as the leases' may, and is read anew after every reconnect too.
    """

    def __init__(
        self,
        bus: Bus,
        model: Model,
        clock: Clock,
        *,
        relaxed: bool,
        changed: Callable[[], None],
        replayed: Callable[[], None],
    ) -> None:
        self.book = SettingsBook()
        self._model = model
        self._clock = clock
        self._changed = changed
        self._replayed = replayed
        self.servers = Follower(bus, stream_of(BUCKET_SERVERS), self._on_server)
        self.settings = Follower(bus, stream_of(BUCKET_SETTINGS), self._on_setting)
        self.tasks = Follower(bus, stream_of(BUCKET_TASKS), self._on_task, replay=relaxed)
        self.leases = Follower(bus, stream_of(BUCKET_LEASES), self._on_lease, replay=True, on_replay=self._on_replay)

    @property
    def is_complete(self) -> bool:
        return all(one.is_caught_up for one in (self.servers, self.settings, self.tasks, self.leases))

    async def start(self) -> None:
        """Read everything there is, tasks before their leases."""
        for follower in (self.settings, self.servers, self.tasks, self.leases):
            await follower.start()
            await follower.caught_up()

    async def refresh(self) -> None:
        """Read on until everything the stream leaders have now is folded in."""
        for follower in (self.settings, self.servers, self.tasks, self.leases):
            await follower.refresh()

    async def stop(self) -> None:
        for follower in (self.leases, self.tasks, self.servers, self.settings):
            await follower.stop()

    def _on_task(self, message: Followed) -> None:
        if not message.deleted:
            head = _HEAD.decode(message.data)
            now, now_s = self._clock.now_ms(), self._clock.monotonic_s()
            self._model.fold_task(head, message.sequence, message.data, now, now_s)
            self._changed()

    def _on_lease(self, message: Followed) -> None:
        task_id = key_name(message.subject)
        entry = self._model.entries.get(task_id)
        if message.deleted or (entry is not None and message.sequence <= entry.lease_revision):
            return
        now, now_s = self._clock.now_ms(), self._clock.monotonic_s()
        self._model.fold_lease(task_id, decode_lease(message.data), message.sequence, now, now_s)
        self._changed()

    def _on_replay(self) -> None:
        self._model.begin_replay()
        self._replayed()

    def _on_server(self, message: Followed) -> None:
        kind, _, token = key_name(message.subject).partition(".")
        server_id, fleet = from_token(token), self._model.fleet
        data = None if message.deleted else message.data
        match kind:
            case "config" if data is not None:
                fleet.configure(_CONFIG.decode(data))
            case "config":
                fleet.remove(server_id)
            case "admin":
                fleet.set_admin(server_id, _ADMIN.decode(data) if data else None)
            case "health":
                fleet.set_health(server_id, _HEALTH.decode(data) if data else None)
            case _:
                return
        self._changed()

    def _on_setting(self, message: Followed) -> None:
        stored = followed_setting(message)
        if stored is not None:
            self.fold_setting(stored)

    def fold_setting(self, stored: Stored) -> None:
        """What was read or written; older than what is known, it changes nothing."""
        if not self.book.fold(stored):
            return
        pools, now_s = self._model.pools, self._clock.monotonic_s()
        match stored.settings, stored.kind:
            case None, Kind.POOL:
                pools.set_pool(stored.name, None, now_s)
            case None, Kind.TYPE:
                pools.set_type(stored.name, None, now_s)
            case None, Kind.KEY:
                pools.set_key(stored.name, None, now_s)
            case PoolSettings() as settings, _:
                pools.set_pool(stored.name, in_force(settings), now_s)
            case TypeSettings() as settings, _:
                pools.set_type(stored.name, in_force(settings), now_s)
            case KeySettings() as settings, _:
                pools.set_key(stored.name, in_force(settings), now_s)
        self._changed()
