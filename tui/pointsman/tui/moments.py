"""The seconds that can be looked at again: packed whole frames, from what came and from what was fetched. Pure."""

import zlib
from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterable

import msgspec

from pointsman.contracts.frames import Flow, Frame, News, decode_frame, encode_frame
from pointsman.tui.model import FLOWS_KEPT, SECOND_MS, Model, whole_frame

SECONDS_MAX = 3_600
BYTES_MAX = 32 << 20
COMPRESSION = 1
FAR_MS = 5 * SECOND_MS


class Moments:
    """At most an hour of seconds and `BYTES_MAX`; the oldest go first. Times in ms since the epoch."""

    def __init__(self) -> None:
        self._packed: dict[int, bytes] = {}
        self._seconds: list[int] = []
        self._bytes = 0
        self._flows: dict[int, Flow] = {}
        self.incidents: list[int] = []

    def note(self, model: Model) -> None:
        """The model as of now, if its second has not been noted yet."""
        if not model.is_known or model.at is None or model.at // SECOND_MS in self._packed:
            return
        self._keep(model.at // SECOND_MS, zlib.compress(encode_frame(whole_frame(model)), COMPRESSION))
        self._flows[model.at // SECOND_MS] = model.flow

    def take(self, packed: bytes) -> Frame | None:
        """A fetched keyframe; None when it cannot be read."""
        try:
            frame = decode_frame(zlib.decompress(packed))
        except (zlib.error, msgspec.MsgspecError):
            return None
        second = frame.at // SECOND_MS
        if second not in self._packed:
            self._keep(second, packed)
        self._flows[second] = frame.flow
        self.note_incidents(frame.news)
        return frame

    def _keep(self, second: int, packed: bytes) -> None:
        self._packed[second] = packed
        self._bytes += len(packed)
        if self._seconds and second < self._seconds[-1]:
            insort(self._seconds, second)
        else:
            self._seconds.append(second)
        while len(self._seconds) > SECONDS_MAX or (self._bytes > BYTES_MAX and len(self._seconds) > 1):
            oldest = self._seconds.pop(0)
            self._bytes -= len(self._packed.pop(oldest))
            self._flows.pop(oldest, None)

    def note_incidents(self, news: Iterable[News]) -> None:
        for line in news:
            place = bisect_left(self.incidents, line.at)
            if place == len(self.incidents) or self.incidents[place] != line.at:
                self.incidents.insert(place, line.at)
        del self.incidents[: max(0, len(self.incidents) - SECONDS_MAX)]

    @property
    def size(self) -> int:
        """Of all that is kept, in bytes."""
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
        if second is None:
            return None
        model = Model()
        model.fold(decode_frame(zlib.decompress(self._packed[second])))
        told = set(model.news)
        known = [line for line in news if line.at <= at and line not in told]
        model.news.extendleft(reversed(known))
        place = bisect_right(self._seconds, second)
        model.flows.clear()
        for earlier in self._seconds[max(0, place - FLOWS_KEPT) : place]:
            if earlier in self._flows:
                model.flows.append((earlier, self._flows[earlier]))
        return model

    def flows_before(self, second: int) -> list[tuple[int, Flow]]:
        """What is known of the seconds before, in order."""
        return [(known, self._flows[known]) for known in self._seconds if known < second and known in self._flows]

    def incident_after(self, at: int) -> int | None:
        place = bisect_right(self.incidents, at + SECOND_MS - 1)
        return self.incidents[place] if place < len(self.incidents) else None

    def incident_before(self, at: int) -> int | None:
        place = bisect_left(self.incidents, at // SECOND_MS * SECOND_MS)
        return self.incidents[place - 1] if place else None
