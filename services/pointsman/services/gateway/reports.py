"""The query parameters of the statistics routes, and the verb's argument that they make."""

from typing import Annotated

from msgspec import Meta, field

from pointsman.contracts.base import Request, encode
from pointsman.contracts.statistics import Date, StatisticsQuery
from pointsman.services.gateway.route import Incoming

EpochMs = Annotated[int, Meta(ge=0, le=253_402_300_799_000)]


class RangeQuery(Request):
    """A day, or from and to in ms since the epoch."""

    date: Date | None = None
    from_ms: EpochMs | None = field(name="from", default=None)
    to_ms: EpochMs | None = field(name="to", default=None)


class DateQuery(Request):
    date: Date | None = None


def period(incoming: Incoming) -> bytes:
    match incoming.query:
        case RangeQuery(date=date, from_ms=from_ms, to_ms=to_ms):
            return encode(StatisticsQuery(date=date, from_ms=from_ms, to_ms=to_ms))
        case DateQuery(date=date):
            return encode(StatisticsQuery(date=date, server_id=incoming.id or None))
        case _:
            return encode(StatisticsQuery())
