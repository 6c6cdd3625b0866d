"""Leadership by a lease key with TTL: renewed every 1.5 s, lost after 5 s, and a leader doubts itself after 4 s.

A leader that hears nothing may still renew once: with that, another leads 7 s later at the latest."""

import asyncio
from collections.abc import Callable

import msgspec
import structlog

from pointsman.client.bus import BusError
from pointsman.contracts.base import Record, encode
from pointsman.contracts.errors import PointsmanError
from pointsman.contracts.ids import new_operation_id
from pointsman.contracts.subjects import BUCKET_LEADERS
from pointsman.services.runtime.context import Context
from pointsman.services.runtime.kv import Bucket, KvBucket, RevisionMoved
from pointsman.services.runtime.loop import Background

log = structlog.get_logger()

RENEW_S = 1.5
TTL_S = 5
CONFIRMED_S = 4.0
OVERDUE_S = 2 * RENEW_S
LOOK_OVERDUE_S = 0.1


class LeaderRecord(Record):
    holder: str
    since: int


_RECORD = msgspec.json.Decoder(LeaderRecord)


class Leadership:
    """One contender for the lease `name`. `is_leader` is safe to ask at any moment: it reads the monotonic clock."""

    def __init__(
        self,
        context: Context,
        name: str,
        *,
        on_change: Callable[[bool], None] = lambda _: None,
        bucket: Bucket | None = None,
    ) -> None:
        self._clock = context.clock
        self._holder = context.instance
        self._name = name
        self._on_change = on_change
        self._bucket = bucket or KvBucket(context.bus, BUCKET_LEADERS)
        self._background = Background()
        self._revision = 0
        self._confirmed_s = float("-inf")
        self._told = False
        self._epoch = 0
        self._rival = 0
        self._rival_s = float("inf")

    @property
    def epoch(self) -> int:
        """The revision at which this term began: grows with every change of leader."""
        return self._epoch

    def is_leader(self) -> bool:
        return self._revision > 0 and self._clock.monotonic_s() - self._confirmed_s < CONFIRMED_S

    async def start(self) -> None:
        self._background.run(self._contend(), f"leadership {self._name}")

    async def stop(self) -> None:
        """Give the lease up at once, so that a standby takes over without waiting."""
        await self._background.stop()
        revision, self._revision = self._revision, 0
        if revision:
            try:
                await self._bucket.update(self._name, b"", revision=revision, operation=new_operation_id(), ttl_s=1)
            except (RevisionMoved, PointsmanError, BusError):
                log.info("leadership was already gone", lease=self._name)

    async def _contend(self) -> None:
        while True:
            try:
                async with asyncio.timeout(TTL_S):
                    await self._step()
            except (BusError, PointsmanError, TimeoutError) as error:
                log.warning("leadership not confirmed", lease=self._name, error=str(error) or "timeout")
                self._rival_s = float("inf")
            if self._revision and not self.is_leader():
                self._revision = 0
            self._tell()
            await asyncio.sleep(self._pause_s())

    def _pause_s(self) -> float:
        """A standby looks closely once the leader's renewal is overdue, so that it follows as the lease expires."""
        if self._revision:
            return RENEW_S
        return LOOK_OVERDUE_S if self._clock.monotonic_s() - self._rival_s > OVERDUE_S else RENEW_S / 2

    async def _step(self) -> None:
        asked_s = self._clock.monotonic_s()
        try:
            self._revision = await (self._renew() if self._revision else self._acquire())
        except RevisionMoved:
            self._revision = 0
        if self._revision:
            self._confirmed_s = asked_s

    async def _renew(self) -> int:
        return await self._write(self._revision)

    async def _acquire(self) -> int:
        """Take a lease that is absent, was given up or is our own; 0 while somebody else holds it."""
        entry = await self._bucket.get(self._name)
        if entry is not None and entry.data and _RECORD.decode(entry.data).holder != self._holder:
            self._see_rival(entry.revision)
            return 0
        self._epoch = await self._write(entry.revision if entry else 0)
        return self._epoch

    def _see_rival(self, revision: int) -> None:
        if revision != self._rival or self._rival_s == float("inf"):
            self._rival, self._rival_s = revision, self._clock.monotonic_s()

    async def _write(self, revision: int) -> int:
        record = LeaderRecord(holder=self._holder, since=self._clock.now_ms())
        return await self._bucket.update(
            self._name, encode(record), revision=revision, operation=new_operation_id(), ttl_s=TTL_S
        )

    def _tell(self) -> None:
        leads = self.is_leader()
        if leads != self._told:
            self._told = leads
            log.info("leadership won" if leads else "leadership lost", lease=self._name, epoch=self._epoch)
            self._on_change(leads)
