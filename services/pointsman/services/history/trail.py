"""The audit trail in Postgres: drains AUDIT into an append-only table, and finds entries."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress

import msgspec
import structlog

from pointsman.client.bus import Bus, BusDown, Message
from pointsman.contracts.actor import Actor, Role
from pointsman.contracts.errors import forbidden, invalid, unavailable
from pointsman.contracts.facets import clean
from pointsman.contracts.filter_values import moment
from pointsman.contracts.search import PAGE_DEFAULT, AuditEntry, AuditPage, AuditQuery
from pointsman.contracts.subjects import CONSUMER_AUDIT, STREAM_AUDIT
from pointsman.contracts.task import EPOCH_MS_MAX
from pointsman.services.history.cursor import Cursors, Position
from pointsman.services.history.loops import ACK, stored_of
from pointsman.services.history.query import Arguments, like
from pointsman.services.history.store import DatabaseAway, HistoryStore, Pool, is_row_fault
from pointsman.services.runtime.clock import Clock
from pointsman.services.runtime.puller import Puller

log = structlog.get_logger()

RETRY_S = 1.0
READERS = (Role.ADMIN, Role.OPERATOR)
COLUMNS = AuditEntry.__struct_fields__
NAMES = ("who", "what", "target")
INSERT = f"""
INSERT INTO audit ({", ".join(COLUMNS)}) VALUES ({", ".join(f"${number + 1}" for number in range(len(COLUMNS)))})
ON CONFLICT (id) DO NOTHING
"""  # noqa: S608 - names of our own columns
_ENTRY = msgspec.json.Decoder(AuditEntry)


class AuditWriter:
    """Entries wait in the stream for as long as Postgres is away; one that it refuses is set aside."""

    def __init__(self, bus: Bus, pool: Pool, clock: Clock) -> None:
        self._bus = bus
        self._pool = pool
        self._letters = HistoryStore(pool)
        self._clock = clock
        self._waiting: asyncio.Queue[Message] = asyncio.Queue()
        self._is_away = False
        self.puller = Puller(bus, STREAM_AUDIT, CONSUMER_AUDIT, self._waiting.put_nowait, clock)

    async def step(self) -> None:
        """Archive one entry and acknowledge it; one that is not acknowledged comes again."""
        message = await self._waiting.get()
        try:
            while True:
                if await self._is_kept(message):
                    break
                await asyncio.sleep(RETRY_S)
            with suppress(BusDown):
                await self._bus.publish(message.reply, ACK)
        finally:
            self.puller.release(1, len(message.data))

    async def _is_kept(self, message: Message) -> bool:
        try:
            await self._pool.execute(INSERT, *row_of(_ENTRY.decode(message.data)))
        except msgspec.MsgspecError as error:
            return await self._buried(message, error)
        except (*DatabaseAway, ValueError, OverflowError) as error:
            if is_row_fault(error):
                return await self._buried(message, error)
            if not self._is_away:
                log.warning("audit trail is away, entries wait", error=str(error) or type(error).__name__)
            self._is_away = True
            return False
        if self._is_away:
            log.info("audit trail is back")
        self._is_away = False
        return True

    async def _buried(self, message: Message, error: Exception) -> bool:
        try:
            await self._letters.bury(stored_of(message), str(error), now_ms=self._clock.now_ms())
        except DatabaseAway:
            return False
        return True


class AuditReader:
    def __init__(self, pool: Pool, cursors: Cursors, clock: Clock) -> None:
        self._pool = pool
        self._cursors = cursors
        self._clock = clock

    async def page(self, query: AuditQuery, actor: Actor) -> AuditPage:
        """Raises 400, 403, and 503 while Postgres is away."""
        if not actor.has(*READERS):
            raise forbidden("Admin or operator role required")
        fingerprint = self._cursors.fingerprint(repr(msgspec.structs.replace(query, limit=None, cursor=None)))
        arguments, limit = Arguments(), query.limit or PAGE_DEFAULT
        condition = _condition(query, arguments)
        if query.cursor is not None:
            position = self._cursors.read(query.cursor, fingerprint)
            condition += f" AND (at, id) < ({arguments.add(position.at)}, {arguments.add(position.id)})"
        statement = (
            f"SELECT {', '.join(COLUMNS)} FROM audit WHERE {condition}"  # noqa: S608
            f" ORDER BY at DESC, id DESC LIMIT {arguments.add(limit + 1)}"
        )
        try:
            rows = await self._pool.fetch(statement, *arguments.values)
        except DatabaseAway as error:
            raise unavailable("the audit trail (Postgres) is not reachable") from error
        entries = tuple(_entry(dict(row)) for row in rows[:limit])
        last = entries[-1] if len(rows) > limit else None
        cursor = self._cursors.write(Position(fingerprint, 0, 0, last.at, last.id)) if last else None
        return AuditPage(entries=entries, cursor=cursor, as_of=self._clock.now_ms())


def _condition(query: AuditQuery, arguments: Arguments) -> str:
    parts = [
        f"at >= {arguments.add(_moment(query.from_ms, 'from', 0))}",
        f"at < {arguments.add(_moment(query.to_ms, 'to', EPOCH_MS_MAX))}",
    ]
    for name in NAMES:
        value = getattr(query, name)
        if value is not None:
            parts.append(f"{name} LIKE {arguments.add(like(clean(value)))}")
    for name in ("outcome", "request_id"):
        value = getattr(query, name)
        if value is not None:
            parts.append(f"{name} = {arguments.add(clean(value))}")
    return " AND ".join(parts)


def _moment(text: str | None, field: str, default: int) -> int:
    if text is None:
        return default
    at = moment(text)
    if at is None:
        raise invalid(field, "neither ms since the epoch nor a date such as 2026-01-31T12:00:00Z")
    return at


def row_of(entry: AuditEntry) -> Sequence[object]:
    values = dict(zip(COLUMNS, msgspec.structs.astuple(entry), strict=True))
    for name in ("who", "what", "target", "request_id", "detail"):
        values[name] = clean(values[name])
    for name in ("before", "after"):
        values[name] = clean_json(bytes(values[name]))
    values["roles"] = list(entry.roles)
    return list(values.values())


def clean_json(data: bytes) -> str:
    """As text that a jsonb column takes: without NUL."""
    return encode_text(_cleaned(msgspec.json.decode(data)))


def encode_text(value: object) -> str:
    return msgspec.json.encode(value).decode()


def _cleaned(value: object) -> object:
    match value:
        case str():
            return clean(value)
        case list():
            return [_cleaned(inner) for inner in value]
        case dict():
            return {clean(name): _cleaned(inner) for name, inner in value.items()}
        case _:
            return value


def _entry(row: dict[str, object]) -> AuditEntry:
    raw = {name: msgspec.Raw(str(row[name]).encode()) for name in ("before", "after")}
    return AuditEntry(**{**row, **raw, "roles": tuple(row["roles"])})  # type: ignore[arg-type]
