"""Tasks as they change, from the republish of their records: so many a second as a reader can follow, the rest is counted."""

from collections.abc import Callable
from time import monotonic

import msgspec

from pointsman.client.bus import Bus, Message, Subscription
from pointsman.contracts.record import Lease
from pointsman.contracts.subjects import view_lease, view_task
from pointsman.tui.sighting import SeenRecord, Sighting, of_lease, of_record

EVERY = "*"
SHOWN_PER_S = 200
READ_PER_S = 2_000
WINDOW_S = 1.0

_RECORD = msgspec.json.Decoder(SeenRecord)
_LEASE = msgspec.json.Decoder(Lease)


class Budget:
    """So many in each second; times are of one monotonic clock."""

    def __init__(self, per_s: int) -> None:
        self._per_s = per_s
        self._since = float("-inf")
        self._spent = 0

    def may(self, now: float) -> bool:
        if now - self._since >= WINDOW_S:
            self._since, self._spent = now, 0
        self._spent += 1
        return self._spent <= self._per_s


class Tail:
    """`tell` gets sightings and says whether it has a use for them; those count against what is shown in a second.

    `dropped` counts, since the start, what was not read or not told because there was too much.
    """

    def __init__(
        self,
        tell: Callable[[Sighting], None],
        wants: Callable[[Sighting], bool],
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._tell = tell
        self._wants = wants
        self._clock = clock
        self._read = Budget(READ_PER_S)
        self._shown = Budget(SHOWN_PER_S)
        self._subscriptions: list[Subscription] = []
        self._bus: Bus | None = None
        self.with_payload = False
        self.dropped = 0

    @property
    def is_open_on(self) -> Bus | None:
        return self._bus

    async def open(self, bus: Bus) -> None:
        """Raises BusError."""
        await self.close()
        self._bus = bus
        for subject, handler in ((view_task(EVERY), self._on_task), (view_lease(EVERY), self._on_lease)):
            self._subscriptions.append(await bus.subscribe(subject, handler))

    async def close(self) -> None:
        subscriptions, self._subscriptions, self._bus = self._subscriptions, [], None
        for subscription in subscriptions:
            await subscription.unsubscribe()

    def abandon(self) -> None:
        """The bus is gone, and what was subscribed with it."""
        self._subscriptions, self._bus = [], None

    async def _on_task(self, message: Message) -> None:
        if message.data and self._may_read():
            self._take(of_record(_RECORD.decode(message.data), with_payload=self.with_payload))

    async def _on_lease(self, message: Message) -> None:
        if message.data and self._may_read():
            self._take(of_lease(message.subject.rpartition(".")[2], _LEASE.decode(message.data)))

    def _may_read(self) -> bool:
        if self._read.may(self._clock()):
            return True
        self.dropped += 1
        return False

    def _take(self, seen: Sighting) -> None:
        if not self._wants(seen):
            return
        if self._shown.may(self._clock()):
            self._tell(seen)
        else:
            self.dropped += 1
