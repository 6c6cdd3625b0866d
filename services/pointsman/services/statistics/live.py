"""What others know at this moment: the balancer its counts, the history how far it is, the registry a server's age."""

import msgspec

from pointsman.client.bus import Bus, BusError
from pointsman.client.call import answer_of, identity
from pointsman.contracts.actor import Actor
from pointsman.contracts.balancer import BalancerStatus
from pointsman.contracts.errors import PointsmanError
from pointsman.contracts.history import HistoryStatus
from pointsman.contracts.server import ServerConfig
from pointsman.contracts.subjects import BUCKET_SERVERS, token, verb
from pointsman.services.runtime.kv import KvBucket
from pointsman.services.statistics.facts import Archive

ANSWER_S = 1.0


_BALANCER = msgspec.json.Decoder(BalancerStatus)
_ARCHIVE = msgspec.json.Decoder(HistoryStatus)
_SERVER = msgspec.json.Decoder(ServerConfig)


class Live:
    """Everything here may be None: whoever knows is away."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._servers = KvBucket(bus, BUCKET_SERVERS)

    async def balancer(self, actor: Actor) -> BalancerStatus | None:
        return await self._ask(verb("balancer", "status"), actor, _BALANCER)

    async def archive(self, actor: Actor) -> HistoryStatus | None:
        return await self._ask(verb("history", "status"), actor, _ARCHIVE)

    async def archived(self, actor: Actor, now: int) -> Archive:
        """How far the archive is, and whether its database is there."""
        told = await self.archive(actor)
        if told is None:
            return Archive(now, answers=False)
        return Archive(now, is_away=not told.connected, backlog=told.backlog, lag_ms=told.lag_ms)

    async def registered_at(self, server_id: str) -> int | None:
        try:
            entry = await self._servers.get(f"config.{token(server_id)}")
        except BusError:
            return None
        return _SERVER.decode(entry.data).registered_at if entry and entry.data else None

    async def _ask[T](self, subject: str, actor: Actor, decoder: msgspec.json.Decoder[T]) -> T | None:
        try:
            answer = await self._bus.request(subject, b"{}", headers=identity(actor), timeout_s=ANSWER_S)
            return decoder.decode(answer_of(answer).data)
        except (BusError, PointsmanError):
            return None
