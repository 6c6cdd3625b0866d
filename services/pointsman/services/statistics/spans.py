"""Which rollups make up a range, and which edges of it none covers: pure. Times in ms since the epoch, UTC."""

from collections.abc import Iterable, Iterator

import msgspec

from pointsman.contracts.task import DAY_MS

MINUTE_MS = 60_000
HOUR_MS = 3_600_000
MINUTE, HOUR, DAY = 1, 60, 1_440
"""Widths of rollups in minutes."""


class Range(msgspec.Struct, frozen=True, kw_only=True):
    """[start, end) in ms since the epoch."""

    start: int
    end: int

    @property
    def is_empty(self) -> bool:
        return self.start >= self.end


class Piece(msgspec.Struct, frozen=True, order=True):
    """One rollup: so many minutes from `at` on."""

    width: int
    at: int


class Pieces(msgspec.Struct, frozen=True, kw_only=True):
    """`rollups` cover `inner`; `edges` are the rest of the range, each shorter than the finest rollup."""

    rollups: tuple[Piece, ...]
    inner: Range
    edges: tuple[Range, ...]


def pieces_of(span: Range, *widths: int) -> Pieces:
    """As few rollups of these widths, widest first, as cover the range."""
    unit = widths[-1] * MINUTE_MS
    inner = Range(start=ceiling(span.start, unit), end=span.end - span.end % unit)
    if inner.is_empty:
        return Pieces(rollups=(), inner=Range(start=0, end=0), edges=(span,))
    edges = (Range(start=span.start, end=inner.start), Range(start=inner.end, end=span.end))
    return Pieces(
        rollups=tuple(sorted(_cover(inner, widths))),
        inner=inner,
        edges=tuple(edge for edge in edges if not edge.is_empty),
    )


def day_before(span: Range, now_ms: int) -> Range:
    """The same range 24 hours earlier; of one that has not passed, up to the running minute."""
    end = min(span.end, ceiling(now_ms + 1, MINUTE_MS))
    return Range(start=span.start - DAY_MS, end=max(span.start, end) - DAY_MS)


def ceiling(at_ms: int, unit_ms: int) -> int:
    return at_ms + -at_ms % unit_ms


def _cover(span: Range, widths: Iterable[int]) -> Iterator[Piece]:
    if span.is_empty:
        return
    width, *finer = widths
    unit = width * MINUTE_MS
    start, end = ceiling(span.start, unit), span.end - span.end % unit
    if start >= end:
        yield from _cover(span, finer)
        return
    yield from (Piece(width, at) for at in range(start, end, unit))
    if finer:
        yield from _cover(Range(start=span.start, end=start), finer)
        yield from _cover(Range(start=end, end=span.end), finer)
