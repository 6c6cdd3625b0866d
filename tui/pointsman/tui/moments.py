"""The seconds that can be looked at again: packed whole frames, of what came, of what was fetched, or in a file."""

import zlib
from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterable
from typing import Protocol

import msgspec

from pointsman.contracts.frames import Flow, Frame, News, decode_frame, encode_frame
from pointsman.contracts.task import EPOCH_MS_MAX
from pointsman.tui.model import FLOWS_KEPT, NEWS_KEPT, SECOND_MS, Model, whole_frame

SECONDS_MAX = 3_600
BYTES_MAX = 32 << 20
UNPACKED_BYTES_MAX = 16 << 20
COMPRESSION = 6
FAR_MS = 5 * SECOND_MS


class Place(Protocol):
    """Where a packed frame lies that is not held in memory."""

    def read(self) -> bytes:
        """Raises OSError."""


class Moments:
    """At most so many seconds and, in memory, `BYTES_MAX`; the oldest go first. Times in ms since the epoch."""

    def __init__(self, seconds_max: int = SECONDS_MAX) -> None:
        self._seconds_max = seconds_max
        self._packed: dict[int, bytes | Place] = {}
        self._seconds: list[int] = []
        self._bytes = 0
        self._flows: dict[int, Flow] = {}
        self._news: dict[int, tuple[News, ...]] = {}
        self.incidents: list[int] = []

    def note(self, model: Model) -> None:
        """The model as of now, if its second has not been noted yet."""
        if not model.is_known or model.at is None or model.at // SECOND_MS in self._packed:
            return
        self._keep(model.at // SECOND_MS, zlib.compress(encode_frame(whole_frame(model)), COMPRESSION))
        self._flows[model.at // SECOND_MS] = model.flow

    def take(self, packed: bytes, place: Place | None = None) -> Frame | None:
        """A fetched keyframe, or one that lies at `place`; None when it cannot be read."""
        frame = unpacked(packed)
        if frame is None:
            return None
        second = frame.at // SECOND_MS
        if second not in self._packed:
            self._keep(second, packed if place is None else place)
        self._flows[second] = frame.flow
        if frame.news:
            self._news[second] = frame.news
        self.note_incidents(frame.news)
        return frame

    def _keep(self, second: int, packed: bytes | Place) -> None:
        self._packed[second] = packed
        self._bytes += _held(packed)
        if self._seconds and second < self._seconds[-1]:
            insort(self._seconds, second)
        else:
            self._seconds.append(second)
        while len(self._seconds) > self._seconds_max or (self._bytes > BYTES_MAX and len(self._seconds) > 1):
            oldest = self._seconds.pop(0)
            self._bytes -= _held(self._packed.pop(oldest))
            self._flows.pop(oldest, None)
            self._news.pop(oldest, None)

    def note_incidents(self, news: Iterable[News]) -> None:
        for line in news:
            place = bisect_left(self.incidents, line.at)
            if place == len(self.incidents) or self.incidents[place] != line.at:
                self.incidents.insert(place, line.at)
        del self.incidents[: max(0, len(self.incidents) - self._seconds_max)]

    @property
    def size(self) -> int:
        """Of all that is kept in memory, in bytes."""
        return self._bytes

    @property
    def newest(self) -> int | None:
        return self._seconds[-1] * SECOND_MS if self._seconds else None

    def has(self, at: int) -> bool:
        """Whether something within the last seconds before that moment is here."""
        second = self._second_at(at)
        return second is not None and at - second * SECOND_MS <= FAR_MS

    def _second_at(self, at: int) -> int | None:
        place = bisect_right(self._seconds, at // SECOND_MS)
        return self._seconds[place - 1] if place else None

    def model_at(self, at: int, news: Iterable[News]) -> Model | None:
        """The cluster as it was at that moment, with the flows before it for the charts; None when nothing is known of it."""
        second = self._second_at(at)
        frame = None if second is None else self._frame_of(second)
        if second is None or frame is None:
            return None
        model = Model()
        model.fold(frame)
        model.news.clear()
        place = bisect_right(self._seconds, second)
        model.news.extend(self._told_until(max(at, frame.at), place, (*news, *frame.news)))
        model.flows.clear()
        for earlier in self._seconds[max(0, place - FLOWS_KEPT) : place]:
            if earlier in self._flows:
                model.flows.append((earlier, self._flows[earlier]))
        return model

    def _frame_of(self, second: int) -> Frame | None:
        kept = self._packed[second]
        try:
            return unpacked(kept if isinstance(kept, bytes) else kept.read())
        except OSError:
            return None

    def _told_until(self, at: int, place: int, news: Iterable[News]) -> list[News]:
        """The newest of these and of what was taken of the first `place` seconds, by time."""
        found = {line for line in news if line.at <= at}
        for second in reversed(self._seconds[:place]):
            if len(found) >= NEWS_KEPT:
                break
            found.update(line for line in self._news.get(second, ()) if line.at <= at)
        return sorted(found, key=lambda line: line.at)[-NEWS_KEPT:]

    def flows_before(self, second: int) -> list[tuple[int, Flow]]:
        """What is known of the seconds before, in order."""
        return [(known, self._flows[known]) for known in self._seconds if known < second and known in self._flows]

    def incident_after(self, at: int) -> int | None:
        place = bisect_right(self.incidents, at + SECOND_MS - 1)
        return self.incidents[place] if place < len(self.incidents) else None

    def incident_before(self, at: int) -> int | None:
        place = bisect_left(self.incidents, at // SECOND_MS * SECOND_MS)
        return self.incidents[place - 1] if place else None


def unpacked(packed: bytes) -> Frame | None:
    """A whole frame that was kept; None when it cannot be read, or is larger than any that is told."""
    try:
        opened = zlib.decompressobj()
        frame = decode_frame(opened.decompress(packed, UNPACKED_BYTES_MAX))
    except (zlib.error, msgspec.MsgspecError, RecursionError):
        return None
    return frame if opened.eof and frame.full and 0 <= frame.at <= EPOCH_MS_MAX else None


def _held(packed: bytes | Place) -> int:
    """Of it in memory, in bytes."""
    return len(packed) if isinstance(packed, bytes) else 0
