"""The archiver: gathers records from HISTORY, commits them to Postgres in batches, acknowledges what is committed."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

import structlog

from pointsman.client.bus import Bus, BusDown, Message
from pointsman.contracts.subjects import CONSUMER_HISTORY, STREAM_HISTORY
from pointsman.services.history.rules import SOURCE, Rows, Stored, Unarchivable, day_of, origin_revision, rows_of
from pointsman.services.history.store import DAILY_TABLES, DatabaseAway, HistoryStore
from pointsman.services.history.webhooks import Announcer
from pointsman.services.runtime.clock import Clock
from pointsman.services.runtime.puller import Puller

log = structlog.get_logger()

BATCH_MAX = 1_000
GATHER_S = 0.1
RETRY_FIRST_S, RETRY_MAX_S = 0.1, 5.0
DAYS_AHEAD = 3
ACK, AGAIN = b"+ACK", b'-NAK {"delay":1000000000}'


@dataclass(frozen=True, slots=True)
class Taken:
    """A message with what it becomes; `rows` is None for an empty one (`reason` is empty) and for one to be buried."""

    message: Message
    stored: Stored
    rows: Rows | None = None
    reason: str = ""


class Archiver:
    """One writer. Messages wait, un-acknowledged and within the puller's window, for as long as Postgres is away.

    They are made into rows as they come, while Postgres is busy with those before.
    """

    def __init__(
        self, bus: Bus, store: HistoryStore, clock: Clock, announcer: Announcer, committed: Callable[[], None]
    ) -> None:
        self._bus = bus
        self._store = store
        self._clock = clock
        self._on_commit = committed
        self._announcer = announcer
        self._waiting: asyncio.Queue[Taken] = asyncio.Queue()
        self._taken: list[Taken] = []
        self.puller = Puller(bus, STREAM_HISTORY, CONSUMER_HISTORY, self._take, clock)
        self.trouble = ""
        """Why Postgres takes nothing, empty when it took what was tried last."""
        self.last_commit: int | None = None
        self.committed = 0
        self.buried = 0

    async def step(self) -> None:
        """Archive one batch; what is taken and not archived, for a stop or a bug, goes back and comes again."""
        try:
            await self._gather()
            await self._commit(self._taken)
            await self._announcer.announced([taken.message for taken in self._taken])
            await self._answer(ACK)
        finally:
            await self._answer(AGAIN)

    async def hand_back(self) -> None:
        """Leave what waits to another writer; only after `step` and the puller have ended."""
        while not self._waiting.empty():
            self._taken.append(self._waiting.get_nowait())
        await self._answer(AGAIN)

    async def ensure_days_ahead(self) -> None:
        """Partitions of the days to come, so that no write has to wait for one."""
        today = day_of(self._clock.now_ms())
        days = range(today, today + DAYS_AHEAD + 1)
        with suppress(*DatabaseAway):
            await self._store.ensure_days((table, day) for table in DAILY_TABLES for day in days)

    def _take(self, message: Message) -> None:
        self._announcer.note(message)
        self._waiting.put_nowait(taken_of(message))

    async def _gather(self) -> None:
        self._taken.append(await self._waiting.get())
        with suppress(TimeoutError):
            async with asyncio.timeout(GATHER_S):
                while len(self._taken) < BATCH_MAX:
                    self._taken.append(await self._waiting.get())

    async def _commit(self, batch: list[Taken]) -> None:
        """Try until Postgres has it."""
        delay_s = RETRY_FIRST_S
        while True:
            try:
                self.buried += await self._write(batch)
                break
            except DatabaseAway as error:
                self._note_failure(error, len(batch))
            await asyncio.sleep(delay_s)
            delay_s = min(RETRY_MAX_S, 2 * delay_s)
        self._note_commit(len(batch))

    async def _write(self, batch: list[Taken]) -> int:
        now_ms = self._clock.now_ms()
        wrong = [taken for taken in batch if taken.reason]
        for taken in wrong:
            await self._store.bury(taken.stored, taken.reason, now_ms=now_ms)
        rows = [taken.rows for taken in batch if taken.rows is not None]
        return len(wrong) + await self._store.write(rows, now_ms=now_ms)

    async def _answer(self, word: bytes) -> None:
        """A lost word only brings the message again, later."""
        messages, self._taken = [taken.message for taken in self._taken], []
        self.puller.release(len(messages), sum(len(message.data) for message in messages))
        with suppress(BusDown):
            for message in messages:
                await self._bus.publish(message.reply, word)

    def _note_failure(self, error: Exception, messages: int) -> None:
        is_new, self.trouble = not self.trouble, str(error) or type(error).__name__
        if is_new:
            log.warning("archive is away, records wait", error=self.trouble, messages=messages)

    def _note_commit(self, messages: int) -> None:
        if self.trouble:
            log.info("archive is back")
        self.trouble, self.last_commit = "", self._clock.now_ms()
        self.committed += messages
        self._on_commit()


def taken_of(message: Message) -> Taken:
    stored = stored_of(message)
    if not message.data:
        return Taken(message, stored)
    try:
        return Taken(message, stored, rows_of(stored))
    except Unarchivable as error:
        return Taken(message, stored, reason=str(error))


def stored_of(message: Message) -> Stored:
    revision = origin_revision(message.headers.get(SOURCE, ""))
    return Stored(subject=message.subject, revision=revision, data=message.data)
