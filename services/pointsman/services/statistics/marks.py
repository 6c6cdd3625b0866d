"""The marks by which operators say that they know of an alert: followed, written by compare-and-set, gone with the alert."""

import msgspec
import structlog

from pointsman.client.bus import Bus
from pointsman.contracts.alerts import AlertMark, mark_key
from pointsman.contracts.base import encode
from pointsman.contracts.errors import PointsmanError
from pointsman.contracts.ids import new_operation_id
from pointsman.contracts.subjects import BUCKET_ALERTS, key_name, stream_of
from pointsman.services.runtime.follow import Followed, Follower
from pointsman.services.runtime.kv import KvBucket, RevisionMoved
from pointsman.services.statistics.alert_book import Name

log = structlog.get_logger()

ROUNDS_MAX = 10
REMOVED_TTL_S = 1
_MARK = msgspec.json.Decoder(AlertMark)


class Marks:
    """`by_name` is as this replica has heard."""

    def __init__(self, bus: Bus) -> None:
        self.by_name: dict[Name, AlertMark] = {}
        self._names: dict[str, Name] = {}
        self._bucket = KvBucket(bus, BUCKET_ALERTS)
        self._follower = Follower(bus, stream_of(BUCKET_ALERTS), self._fold)

    async def start(self) -> None:
        await self._follower.start()
        await self._follower.caught_up()

    async def stop(self) -> None:
        await self._follower.stop()

    async def put(self, name: Name, mark: AlertMark | None) -> None:
        """None removes it. The last who writes has the say; 503 when others write all the time."""
        key = mark_key(*name)
        for _ in range(ROUNDS_MAX):
            entry = await self._bucket.get(key, latest=True)
            if mark is None and (entry is None or not entry.data):
                return
            try:
                await self._write(key, mark, entry.revision if entry is not None else 0)
            except RevisionMoved:
                continue
            self._keep(key, name, mark)
            return
        raise PointsmanError(503, "the alert is being marked by others; try again", retry_after_s=1)

    async def _write(self, key: str, mark: AlertMark | None, revision: int) -> None:
        data, ttl_s = (encode(mark), None) if mark is not None else (b"", REMOVED_TTL_S)
        await self._bucket.update(key, data, revision=revision, operation=new_operation_id(), ttl_s=ttl_s)

    def _fold(self, entry: Followed) -> None:
        key = key_name(entry.subject)
        if entry.deleted:
            self._keep(key, self._names.get(key), None)
            return
        try:
            mark = _MARK.decode(entry.data)
        except msgspec.MsgspecError as error:
            log.error("alert mark not understood", key=key, error=str(error))
            return
        self._keep(key, (mark.kind, mark.subject), mark)

    def _keep(self, key: str, name: Name | None, mark: AlertMark | None) -> None:
        if name is not None and mark is not None:
            self._names[key], self.by_name[name] = name, mark
        elif name is not None:
            self._names.pop(key, None)
            self.by_name.pop(name, None)
